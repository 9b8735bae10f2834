//! Tests of whom a client's wait is held against, and for how long.

use super::clients::{client, enter_as, follows, lead_as, lead_without_fence};
use super::*;

/// A refresh and a flight for those who want a newer response take no place from those who wait.
#[tokio::test(start_paused = true)]
async fn a_call_that_keeps_its_place_makes_no_way() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Second {
        Displaces,
        IsBeside,
        IsRefresh,
    }
    for second in [Second::Displaces, Second::IsBeside, Second::IsRefresh] {
        let flights = Table::default();
        let first = lead_as(&flights, client(1), 0);
        let follower = enter_as(&flights, client(2), 0);
        tokio::time::advance(Duration::from_millis(10)).await;
        let rules = JoinRules {
            client: client(1),
            not_before: (second == Second::IsBeside).then(|| at(1)),
            ..rules(1)
        };
        let begun = match second {
            Second::IsRefresh => {
                let rules = RefreshRules {
                    join_rules: rules,
                    ..refresh_rules(1)
                };
                let begun = flights.lead_refresh(key(), 2, rules, || None);
                begun.expect("none is under way").0
            }
            _ => match flights.enter(
                key(),
                Some(2),
                rules,
                |_| JoinDecision::Refuse,
                None,
                stream,
            ) {
                Entered::Leader(leader) => leader,
                _ => panic!("it leads a flight"),
            },
        };
        drop((begun, follower, first));
        let _next = lead_as(&flights, client(1), 2);
        let is_noted = !follows(&flights, client(3), 3);
        assert_eq!(is_noted, second == Second::Displaces, "{second:?}");
    }
}

/// It is told by those that give it up, wherever it is listed by then.
#[tokio::test(start_paused = true)]
async fn a_displaced_call_is_noted_by_those_that_give_it_up() {
    let flights = Table::default();
    let hangs = lead_as(&flights, client(1), 0);
    let Entered::Follower(follower) = enter_as(&flights, client(2), 0) else {
        panic!("it follows")
    };
    let newer = |_: &u64| JoinDecision::Refuse;
    let rules_of_third = JoinRules {
        client: client(3),
        ..rules(1)
    };
    let entered = flights.enter(key(), Some(2), rules_of_third, newer, None, stream);
    let Entered::Leader(other) = entered else {
        panic!("it leads a flight")
    };
    other.publish(FlightOutcome::Shared(Arc::new(())));
    other.close_whole(None);
    tokio::time::advance(Duration::from_secs(9)).await;
    let wait = follower.others_wait().expect("it is of another client");
    flights.note_in_vain(&key(), [&*wait].into_iter());
    let next = lead_as(&flights, client(1), 9);
    assert!(!follows(&flights, client(4), 9));
    drop((next, follower, hangs, other));
}

/// The time that a call waits for that of another client is not its own client's.
#[tokio::test(start_paused = true)]
async fn a_call_without_a_fence_is_not_charged_with_its_wait_for_another_client() {
    for (number, is_charged) in [(1, true), (2, false)] {
        let flights = Table::default();
        // Client 5 has held up others for a moment: it follows those that have done so for a second.
        let failed = lead_as(&flights, client(5), 0);
        let follower = enter_as(&flights, client(6), 0);
        tokio::time::advance(Duration::from_millis(10)).await;
        failed.close_with(FlightOutcome::Vacant);
        drop((failed, follower));
        let hangs = lead_without_fence(&flights, client(1), 0);
        let _ = hangs.begin_call(at(0));
        let next = lead_without_fence(&flights, client(number), 0);
        assert!(next.has_predecessors());
        let follower = enter_as(&flights, client(3), 0);
        assert!(matches!(follower, Entered::Follower(_)));
        tokio::time::advance(Duration::from_secs(9)).await;
        hangs.publish(FlightOutcome::Shared(Arc::new(())));
        hangs.close_whole(None);
        let _ = next.begin_call(at(9));
        tokio::time::advance(Duration::from_millis(50)).await;
        next.close_with(FlightOutcome::Vacant);
        drop((hangs, next, follower));
        for (other, is_avoided) in [(5, is_charged), (4, true)] {
            let _next = lead_as(&flights, client(number), 10);
            let follows = follows(&flights, client(other), 10);
            assert_eq!(!follows, is_avoided, "{other} after {number}");
        }
    }
}
