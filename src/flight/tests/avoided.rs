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

/// It is found behind that of a client that avoids it, and has its place again afterwards.
#[tokio::test(start_paused = true)]
async fn a_flight_that_a_client_avoids_is_there_for_the_others() {
    let flights = Table::default();
    for number in [1, 3] {
        hold_up(&flights, number, 5).await;
    }
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
        .map(|number| lead_as(&flights, client(number), 599))
        .collect();
    assert_eq!(flights.len(), 5, "the current one, and four behind it");
    drop(all);
    assert_eq!(flights.len(), 0);
}

/// A write has come: what the earlier flight brings may be older.
#[tokio::test(start_paused = true)]
async fn a_flight_that_is_too_old_for_a_request_is_not_found_again() {
    let flights = Table::default();
    hold_up(&flights, 1, 5).await;
    hold_up(&flights, 3, 5).await;
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

/// Calls without a fence: the next one waits for the one that goes on, not for none.
#[tokio::test(start_paused = true)]
async fn a_flight_without_a_fence_comes_after_the_one_that_has_its_place_again() {
    let flights = Table::default();
    for number in [1, 3] {
        hold_up(&flights, number, 5).await;
    }
    let lead = |number| {
        let rules = JoinRules {
            client: client(number),
            ..rules(10)
        };
        let join = |_: &u64| JoinDecision::Join;
        match flights.enter(key(), None, rules, join, None, stream) {
            Entered::Leader(leader) => leader,
            _ => panic!("it leads a flight"),
        }
    };
    let goes_on = lead(1);
    let _ = goes_on.begin_call(at(10));
    let later = lead(2);
    assert!(!later.has_predecessor(), "it does not wait for that client");
    let _ = later.begin_call(at(10));
    drop(later);
    assert!(lead(3).has_predecessor());
}
