//! Tests of what one client may take from others.

use super::*;
use crate::shares::ClientId;

pub(super) fn client(number: u64) -> Option<ClientId> {
    Some(ClientId::from_digest(number << 32))
}

pub(super) fn enter_as(
    flights: &Table,
    client: Option<ClientId>,
    seconds: u64,
) -> Entered<u64, ()> {
    let rules = JoinRules {
        client,
        ..rules(seconds)
    };
    flights.enter(key(), Some(1), rules, |_| JoinDecision::Join, None, stream)
}

pub(super) fn lead_as(flights: &Table, client: Option<ClientId>, seconds: u64) -> Leader<u64, ()> {
    match enter_as(flights, client, seconds) {
        Entered::Leader(leader) => {
            let _ = leader.begin_call(at(seconds));
            leader
        }
        _ => panic!("it leads a flight"),
    }
}

pub(super) fn follows(flights: &Table, client: Option<ClientId>, seconds: u64) -> bool {
    matches!(enter_as(flights, client, seconds), Entered::Follower(_))
}

#[tokio::test(start_paused = true)]
async fn others_wait_once_for_a_client_whose_call_hangs() {
    let flights = Table::default();
    let _hangs = lead_as(&flights, client(1), 0);
    assert!(follows(&flights, client(2), 7));
    tokio::time::advance(Duration::from_secs(3)).await;
    // The next one is led by the same client, since its time is over.
    let next = lead_as(&flights, client(1), 10);
    assert!(follows(&flights, client(1), 11), "its own request");
    assert!(follows(&flights, None, 11), "that of an unknown client");
    let other = lead_as(&flights, client(2), 11);
    assert!(follows(&flights, client(3), 12) && follows(&flights, client(1), 12));
    drop((next, other));
    // For ten minutes.
    for (seconds, is_followed) in [(609, false), (610, true)] {
        let own = lead_as(&flights, client(1), seconds);
        let leads = || drop(lead_as(&flights, client(3), seconds));
        match is_followed {
            true => assert!(follows(&flights, client(3), seconds)),
            false => leads(),
        }
        own.publish(FlightOutcome::Shared(Arc::new(())));
    }
}

/// Its own requests follow it, and what it calls next is not waited for.
#[tokio::test(start_paused = true)]
async fn a_call_that_makes_way_for_another_one_of_its_client_has_held_up_others() {
    let flights = Table::default();
    let hangs = lead_as(&flights, client(1), 0);
    assert!(follows(&flights, client(2), 0));
    tokio::time::advance(Duration::from_secs(5)).await;
    // It may not join: a write has come between.
    let rules = JoinRules {
        client: client(1),
        ..rules(5)
    };
    let next = flights.enter(
        key(),
        Some(2),
        rules,
        |_| JoinDecision::Refuse,
        None,
        stream,
    );
    let Entered::Leader(next) = next else {
        panic!("it leads a flight")
    };
    let _ = next.begin_call(at(5));
    assert!(follows(&flights, client(1), 6));
    assert!(!follows(&flights, client(2), 6));
    drop((hangs, next));
}

/// Whatever the outcome: it has failed, or was refused. Those who have waited long may
/// have left because of that.
#[tokio::test(start_paused = true)]
async fn others_wait_once_for_a_client_whose_call_brings_nothing() {
    let refused = FlightOutcome::Refused {
        kind: RequestKind::Plain,
        is_private: false,
    };
    let shared = FlightOutcome::Shared(Arc::new(()));
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Other {
        Waits,
        HasLeft,
        NeverCame,
    }
    for (outcome, other, is_avoided, is_avoided_if_late) in [
        (FlightOutcome::Vacant, Other::Waits, true, true),
        (FlightOutcome::Vacant, Other::HasLeft, false, true),
        (FlightOutcome::Vacant, Other::NeverCame, false, false),
        (refused.clone(), Other::Waits, true, true),
        (refused.clone(), Other::HasLeft, false, true),
        (refused, Other::NeverCame, false, false),
        (shared, Other::Waits, false, false),
        (FlightOutcome::Exempt, Other::Waits, true, true),
        (FlightOutcome::Exempt, Other::HasLeft, false, true),
    ] {
        for (milliseconds, is_avoided) in [(1000, is_avoided), (1001, is_avoided_if_late)] {
            let (flights, outcome) = (Table::default(), outcome.clone());
            let leader = lead_as(&flights, client(1), 0);
            let came = other != Other::NeverCame;
            let mut follower = came.then(|| enter_as(&flights, client(2), 1));
            assert!(matches!(follower, None | Some(Entered::Follower(_))));
            tokio::time::advance(Duration::from_millis(milliseconds)).await;
            follower.take_if(|_| other == Other::HasLeft);
            let case = format!("{outcome:?} after {milliseconds} ms, {other:?}");
            match outcome {
                FlightOutcome::Shared(_) => leader.publish(outcome),
                FlightOutcome::Exempt => leader.exempt(),
                _ => leader.close_with(outcome),
            }
            drop(leader);
            let _next = lead_as(&flights, client(1), 2);
            assert_eq!(follows(&flights, client(2), 3), !is_avoided, "{case}");
        }
    }
}

/// A response that came late is shared all the same.
#[tokio::test(start_paused = true)]
async fn others_wait_once_for_a_client_whose_call_is_slow() {
    let call = async |flights: &Table, (number, others): (u64, &[u64]), took: u64| {
        let leader = lead_as(flights, client(number), 0);
        let joins =
            |other: &u64| matches!(enter_as(flights, client(*other), 0), Entered::Follower(_));
        assert!(others.iter().all(joins), "{number}");
        let took = Duration::from_millis(took);
        tokio::time::advance(took).await;
        leader.publish(FlightOutcome::Shared(Arc::new(())));
        // Nobody waits for a response that is there.
        assert!(follows(flights, client(7), 0), "{number}");
        leader.close_whole(Some(took));
    };
    for (took, took_by_other, is_avoided) in [
        (1000, None, false),
        (1001, None, true),
        (9000, None, true),
        // Whatever calls of others took: these may be of the same stranger.
        (9000, Some(50), true),
        (9000, Some(9000), true),
        (9000, Some(20_000), true),
    ] {
        let flights = Table::default();
        call(&flights, (1, &[2, 3]), took).await;
        if let Some(took) = took_by_other {
            call(&flights, (2, &[3]), took).await;
        }
        let _next = lead_as(&flights, client(1), 1);
        let case = format!("{took}, {took_by_other:?}");
        assert_eq!(follows(&flights, client(3), 1), !is_avoided, "{case}");
    }
    // Nobody was kept waiting.
    let flights = Table::default();
    call(&flights, (1, &[1]), 9000).await;
    let _next = lead_as(&flights, client(1), 1);
    assert!(follows(&flights, client(3), 1));
}

/// How many of these requests have one of eight places, or more later.
fn granted(places: &mut [Place<u64, ()>], seconds: u64) -> usize {
    let limit = PlaceLimit {
        at_first: 8,
        doubling_time: Duration::from_secs(10),
    };
    let mut cx = Context::from_waker(Waker::noop());
    let mut ask = |place: &mut Place<u64, ()>| place.poll(limit, at(seconds), &mut cx);
    let asked = places.iter_mut().map(&mut ask);
    asked.filter(|answer| *answer == Poll::Ready(true)).count()
}

#[test]
fn a_client_has_its_share_of_the_places() {
    let flights = Table::default();
    let place = |client| flights.place(key(), Precedence::ForAll, client);
    let mut of_first: Vec<_> = (0..30).map(|_| place(client(1))).collect();
    assert_eq!(granted(&mut of_first, 0), 4);
    let mut of_second: Vec<_> = (0..30).map(|_| place(client(2))).collect();
    assert_eq!(granted(&mut of_second, 1), 2);
    assert_eq!(granted(&mut [place(client(3))], 1), 1);
    // One that is given up goes to another client, not to the one with its share.
    assert_eq!(granted(&mut [place(None), place(None)], 1), 2);
    assert_eq!(
        (granted(&mut of_first, 2), granted(&mut of_second, 2)),
        (4, 2)
    );
    // Overdue calls count, too, of which there are always as many beside.
    assert_eq!(granted(&mut of_first, 9), 4);
    drop(of_second);
    assert_eq!(granted(&mut of_first, 9), 4);
}

/// Where requests have waited for longer in another queue, there are more places in all: also where
/// few of those are taken.
#[test]
fn a_client_has_its_share_of_the_places_of_a_queue() {
    for stay in [60, 1] {
        let flights = Table::default();
        let place = |client, precedence| flights.place(key(), precedence, client);
        let waiting = |number| place(client(number), Precedence::NotTried);
        let mut before: Vec<_> = (0..60).map(|number| waiting(100 + number / 20)).collect();
        assert_eq!(granted(&mut before, 0), 7);
        assert!(granted(&mut before, 29) > 16);
        before.truncate(stay);
        let mut all = [1, 2, 3].map(|number| -> Vec<_> {
            (0..30)
                .map(|_| place(client(number), Precedence::ForAll))
                .collect()
        });
        let got = all.each_mut().map(|own| granted(own, 29));
        assert_eq!(got, [4, 2, 1], "{stay}");
    }
}

pub(super) fn lead_without_fence(
    flights: &Table,
    client: Option<ClientId>,
    seconds: u64,
) -> Leader<u64, ()> {
    let rules = JoinRules {
        client,
        ..rules(seconds)
    };
    match flights.enter(key(), None, rules, |_| JoinDecision::Refuse, None, stream) {
        Entered::Leader(leader) => leader,
        _ => panic!("it leads a flight"),
    }
}

/// As those that follow it.
#[tokio::test(start_paused = true)]
async fn a_call_without_a_fence_waits_once_for_that_of_a_client_that_hangs() {
    let flights = Table::default();
    let hang = |number, seconds| {
        let leader = lead_without_fence(&flights, client(number), seconds);
        let _ = leader.begin_call(at(seconds));
        leader
    };
    let first = hang(1, 0);
    let next = lead_without_fence(&flights, client(2), 1);
    assert!(next.wait_for_predecessors().await.is_empty());
    drop(next);
    // While it hangs on.
    assert!(!lead_without_fence(&flights, client(3), 9).has_predecessors());
    drop(first);
    let second = hang(1, 20);
    assert!(lead_without_fence(&flights, client(1), 21).has_predecessors());
    assert!(!lead_without_fence(&flights, client(2), 22).has_predecessors());
    drop(second);
    let _other = hang(4, 30);
    assert!(lead_without_fence(&flights, client(2), 31).has_predecessors());
}

/// As those that follow it.
#[tokio::test(start_paused = true)]
async fn a_call_without_a_fence_waits_once_for_those_of_a_client_that_are_slow() {
    let refused = FlightOutcome::Refused {
        kind: RequestKind::Plain,
        is_private: false,
    };
    let shared = FlightOutcome::Shared(Arc::new(()));
    for outcome in [shared, refused, FlightOutcome::Vacant] {
        let flights = Table::default();
        for (seconds, waits) in [(0, true), (10, false)] {
            let slow = lead_without_fence(&flights, client(1), seconds);
            let _ = slow.begin_call(at(seconds));
            let next = lead_without_fence(&flights, client(2), seconds + 1);
            assert_eq!(next.has_predecessors(), waits, "{outcome:?}");
            tokio::time::advance(Duration::from_secs(9)).await;
            match outcome.clone() {
                FlightOutcome::Shared(head) => {
                    slow.publish(FlightOutcome::Shared(head));
                    slow.close_whole(Some(Duration::from_secs(9)));
                }
                other => slow.close_with(other),
            }
        }
    }
}

/// Clients 1 and 2 were slow once, and client 3 was not; client 4 has brought nothing.
async fn after_slow_calls() -> Table {
    let flights = Table::default();
    for (number, took) in [(1, 3000), (2, 4000), (3, 50)] {
        let leader = lead_as(&flights, client(number), 0);
        assert!(follows(&flights, client(9), 0));
        let took = Duration::from_millis(took);
        tokio::time::advance(took).await;
        leader.publish(FlightOutcome::Shared(Arc::new(())));
        leader.close_whole(Some(took));
    }
    let leader = lead_as(&flights, client(4), 0);
    let follower = enter_as(&flights, client(9), 0);
    tokio::time::advance(Duration::from_secs(9)).await;
    leader.close_with(FlightOutcome::Vacant);
    drop((leader, follower));
    flights
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_slow_waits_for_others_that_were_but_for_none_that_hangs() {
    for (leads, expected) in [
        (1, [true, true, false]),
        (2, [true, true, false]),
        (3, [true, true, true]),
        (4, [false, false, false]),
    ] {
        for (number, waits) in (1..).zip(expected) {
            let flights = after_slow_calls().await;
            let _leader = lead_as(&flights, client(leads), 1);
            let case = format!("{leads}, {number}");
            assert_eq!(follows(&flights, client(number), 1), waits, "{case}");
        }
    }
}

/// So a page that is slow for all has one refresh at a time.
#[tokio::test(start_paused = true)]
async fn a_refresh_of_a_client_that_was_slow_waits_for_others_that_were() {
    for (begins, number, waits) in [(1, 2, true), (2, 1, true), (1, 3, false), (4, 1, false)] {
        let flights = after_slow_calls().await;
        let lead = |number: u64| {
            let rules = RefreshRules {
                join_rules: JoinRules {
                    client: client(number),
                    ..rules(1)
                },
                own: Some(Refreshing {
                    request: u32::try_from(number).expect("few"),
                    cost: Duration::from_millis(50),
                    is_working: false,
                }),
                have_hung: false,
            };
            flights.lead_refresh(key(), 1, rules, || None)
        };
        let _first = lead(begins).expect("there is none");
        assert_eq!(lead(number).is_none(), waits, "{begins}, {number}");
    }
}
