//! Tests of flights whose place a later one has.

use super::clients::{client, follows, lead_as};
use super::*;

/// Others wait for a call of a client in vain.
async fn hold_up(flights: &Table, number: u64, seconds: u64) {
    let hangs = lead_as(flights, client(number), 0);
    assert!(follows(flights, client(100), 0));
    tokio::time::advance(Duration::from_secs(seconds)).await;
    drop(hangs);
}

/// Two clients that are alike, since others have waited for them in vain.
async fn after_waits_in_vain() -> Table {
    let flights = Table::default();
    for number in [1, 3] {
        hold_up(&flights, number, 5).await;
    }
    flights
}

/// It is found behind that of a client that avoids it, and has its place again afterwards.
#[tokio::test(start_paused = true)]
async fn a_flight_that_a_client_avoids_is_there_for_the_others() {
    let flights = after_waits_in_vain().await;
    let avoided = lead_as(&flights, client(1), 10);
    for _ in 0..3 {
        let later = lead_as(&flights, client(2), 10);
        assert!(follows(&flights, client(4), 10), "the later one");
        assert_eq!(flights.len(), 2);
        drop(later);
        assert!(follows(&flights, client(3), 10), "it is alike");
        assert_eq!(flights.len(), 1);
    }
    // The later one ends after it.
    let later = lead_as(&flights, client(2), 10);
    drop(avoided);
    assert_eq!(flights.len(), 1);
    drop(later);
    assert_eq!(flights.len(), 0);
}

/// It has brought nothing in its time.
#[tokio::test(start_paused = true)]
async fn a_flight_whose_time_is_over_is_not_kept_for_others() {
    let flights = Table::default();
    hold_up(&flights, 1, 5).await;
    let avoided = lead_as(&flights, client(1), 10);
    let later = lead_as(&flights, client(2), 20);
    assert_eq!(flights.len(), 1);
    drop((avoided, later));
}

/// A client that follows neither does not take the place of both for ever.
#[tokio::test(start_paused = true)]
async fn few_flights_are_kept_for_those_who_do_not_avoid_them() {
    let flights = Table::default();
    let clients = [
        (1, 320),
        (2, 150),
        (3, 70),
        (4, 30),
        (5, 14),
        (6, 6),
        (7, 2),
    ];
    for (number, seconds) in clients {
        hold_up(&flights, number, seconds).await;
    }
    let all: Vec<_> = (1..8)
        .map(|number| {
            let rules = JoinRules {
                client: client(number),
                ..rules(599)
            };
            let join = |_: &u64| JoinDecision::Join;
            match flights.enter(key(), Some(number), rules, join, None, stream) {
                Entered::Leader(leader) => {
                    let _ = leader.begin_call(at(599));
                    leader
                }
                _ => panic!("it leads a flight"),
            }
        })
        .collect();
    assert_eq!(flights.len(), 5, "the current one, and four behind it");
    // The latest of those that a request may join.
    let rules = JoinRules {
        client: client(1),
        ..rules(599)
    };
    let ids = [6, 5, 7].map(|number| all[number - 1].flight.id);
    let decide = |refused: &[u64]| {
        let refused = refused.to_vec();
        move |fence: &u64| match refused.contains(fence) {
            true => JoinDecision::Refuse,
            false => JoinDecision::Join,
        }
    };
    for (refused, joined) in [(&[7][..], ids[0]), (&[7, 6], ids[1]), (&[], ids[2])] {
        let follower = flights.join(key(), rules, decide(refused), stream);
        let follower = follower.expect("a flight to join");
        assert_eq!(follower.flight_id(), joined, "{refused:?}");
    }
    drop(all);
    assert_eq!(flights.len(), 0);
}

/// A write has come: what the earlier flight brings may be older.
#[tokio::test(start_paused = true)]
async fn a_flight_that_is_too_old_for_a_request_is_not_found_again() {
    let flights = after_waits_in_vain().await;
    let _avoided = lead_as(&flights, client(1), 10);
    drop(lead_as(&flights, client(2), 10));
    let rules = JoinRules {
        client: client(3),
        ..rules(10)
    };
    let refuse = |_: &u64| JoinDecision::Refuse;
    let entered = flights.enter(key(), Some(2), rules, refuse, None, stream);
    assert!(matches!(entered, Entered::Leader(_)));
}

/// Enters a flight without a fence, which no call that has begun is joined by.
fn enter_without_fence(flights: &Table, number: u64) -> Entered<u64, ()> {
    let rules = JoinRules {
        client: client(number),
        ..rules(10)
    };
    flights.enter(key(), None, rules, |_| JoinDecision::Join, None, stream)
}

fn lead_without_fence(flights: &Table, number: u64) -> Leader<u64, ()> {
    match enter_without_fence(flights, number) {
        Entered::Leader(leader) => leader,
        _ => panic!("it leads a flight"),
    }
}

/// A flight without a fence whose call has begun.
fn call_without_fence(flights: &Table, number: u64) -> Leader<u64, ()> {
    let leader = lead_without_fence(flights, number);
    let _ = leader.begin_call(at(10));
    leader
}

/// Calls without a fence: the next one waits for the one that goes on, not for none.
#[tokio::test(start_paused = true)]
async fn a_flight_without_a_fence_comes_after_the_one_that_has_its_place_again() {
    let flights = after_waits_in_vain().await;
    let _goes_on = call_without_fence(&flights, 1);
    let later = lead_without_fence(&flights, 2);
    assert!(
        !later.has_predecessors(),
        "it does not wait for that client"
    );
    let _ = later.begin_call(at(10));
    drop(later);
    assert!(lead_without_fence(&flights, 3).has_predecessors());
}

/// Not for the latest one alone, which may be a short one of a client that waits for nobody.
#[tokio::test(start_paused = true)]
async fn a_flight_without_a_fence_comes_after_all_that_its_client_does_not_avoid() {
    let flights = after_waits_in_vain().await;
    let goes_on = call_without_fence(&flights, 1);
    let short = call_without_fence(&flights, 2);
    let next = lead_without_fence(&flights, 3);
    let mut waits = Stepped::new(next.wait_for_predecessors());
    short.close_with(FlightOutcome::Vacant);
    assert!(waits.poll().is_none());
    goes_on.close_with(FlightOutcome::Vacant);
    assert_eq!(waits.poll().map(|outcomes| outcomes.len()), Some(2));
    drop(waits);
    let avoids = lead_without_fence(&flights, 2);
    assert!(!avoids.has_predecessors());
}

/// The next flight of a client that avoids the others does not hide that for which all wait.
#[tokio::test(start_paused = true)]
async fn a_next_flight_that_a_client_avoids_is_there_for_the_others() {
    let flights = after_waits_in_vain().await;
    let _goes_on = call_without_fence(&flights, 1);
    let next = lead_without_fence(&flights, 3);
    let short = call_without_fence(&flights, 2);
    let next_short = lead_without_fence(&flights, 2);
    assert!(next.has_predecessors() && next_short.has_predecessors());
    drop((short, next_short));
    let entered = enter_without_fence(&flights, 1);
    assert!(matches!(entered, Entered::Follower(_)));
    assert!(next.has_followers());
}

/// The call that one has not waited for is found again behind it, the one that it has waited for in
/// vain is not.
#[tokio::test(start_paused = true)]
async fn a_flight_is_hidden_by_one_that_has_not_waited_for_it() {
    for waits_in_vain in [false, true] {
        let flights = after_waits_in_vain().await;
        let goes_on = call_without_fence(&flights, 1);
        let first = call_without_fence(&flights, 2);
        // Client 2 waits for nobody but itself.
        let number = if waits_in_vain { 3 } else { 2 };
        let next = lead_without_fence(&flights, number);
        assert!(next.has_predecessors());
        drop(first);
        let _ = next.begin_call(at(10));
        drop(next);
        let last = lead_without_fence(&flights, 3);
        assert_ne!(last.has_predecessors(), waits_in_vain);
        drop(goes_on);
    }
}

/// Both are waited for at the same time, not one after the other.
#[tokio::test(start_paused = true)]
async fn a_flight_without_a_fence_waits_no_longer_for_two_than_for_one() {
    for one_ends in [false, true] {
        let flights = after_waits_in_vain().await;
        let (_first, second) = (
            call_without_fence(&flights, 1),
            call_without_fence(&flights, 2),
        );
        let next = lead_without_fence(&flights, 3);
        if one_ends {
            second.close_with(FlightOutcome::Vacant);
        }
        let began = tokio::time::Instant::now();
        let outcomes = next.wait_for_predecessors().await;
        assert_eq!(outcomes.len(), usize::from(one_ends));
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        let _ = next.begin_call(at(20));
        assert_eq!(next.flight.overtaken(), 1, "it has not waited with success");
    }
}
