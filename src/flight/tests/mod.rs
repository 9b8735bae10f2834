//! Tests of the table: leaders, followers, waiting calls, and entries left behind. Those of paced
//! calls are in `places`.

mod clients;
mod lineups;
mod others_wait;
mod places;
mod rivals;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use super::follower::Follower;
use super::*;
use crate::backend::JoinDecision;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::RequestKind;

/// Whether a request joins a flight if it joins those with its own fence only.
fn only_under(own: u64, flight: u64) -> JoinDecision {
    match flight == own {
        true => JoinDecision::Join,
        false => JoinDecision::Refuse,
    }
}

type Table = Flights<u64, ()>;

fn key() -> CacheKey {
    CacheKey::for_path("/a")
}

fn at(seconds: u64) -> Moment {
    Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH)
}

fn rules(seconds: u64) -> JoinRules {
    JoinRules {
        now: at(seconds),
        not_before: None,
        completed_fills: None,
        takeover_timeout: Duration::from_secs(10),
        fill_timeout: Duration::from_secs(30),
        only_answered: false,
        client: None,
        let_downs: LetDowns::default(),
    }
}

fn stream() -> BodyStream {
    BodyStream::new(BudgetShare::new(
        Arc::<Budget>::default(),
        BudgetLimits::UNLIMITED,
    ))
}

fn enter(flights: &Table, fence: u64, seconds: u64) -> Entered<u64, ()> {
    let decide = |flight: &u64| only_under(fence, *flight);
    flights.enter(key(), Some(fence), rules(seconds), decide, None, stream)
}

fn follow(flights: &Table) -> Follower<u64, ()> {
    match enter(flights, 1, 0) {
        Entered::Follower(follower) => follower,
        _ => panic!("there is a flight to join"),
    }
}

/// Leads a flight whose call has begun.
fn lead(flights: &Table, fence: u64, seconds: u64) -> Leader<u64, ()> {
    match enter(flights, fence, seconds) {
        Entered::Leader(leader) => {
            let _ = leader.begin_call(at(seconds));
            leader
        }
        _ => panic!("there is no flight to join"),
    }
}

fn refresh_rules(seconds: u64) -> RefreshRules {
    RefreshRules {
        join_rules: rules(seconds),
        own: Some(Refreshing {
            request: 0,
            cost: Duration::ZERO,
            is_working: false,
        }),
        have_hung: false,
    }
}

fn enter_without_fence(flights: &Table, seconds: u64) -> Entered<u64, ()> {
    flights.enter(
        key(),
        None,
        rules(seconds),
        |_| JoinDecision::Refuse,
        None,
        stream,
    )
}

/// Leads a flight without a fence whose call has not begun.
fn lead_without_fence(flights: &Table, seconds: u64) -> Leader<u64, ()> {
    match enter_without_fence(flights, seconds) {
        Entered::Leader(leader) => leader,
        _ => panic!("there is no flight to join"),
    }
}

/// The longest time that a leader waits for the flight before its own.
fn max_wait(leader: &Leader<u64, ()>) -> Option<Duration> {
    let first = leader.flight.predecessors.first();
    first.map(|predecessor| predecessor.max_wait)
}

/// A future that a test polls step by step.
struct Stepped<F>(Pin<Box<F>>);

impl<F: Future> Stepped<F> {
    fn new(future: F) -> Self {
        Self(Box::pin(future))
    }

    /// Polls once; `None` if the future has to wait.
    fn poll(&mut self) -> Option<F::Output> {
        let mut cx = Context::from_waker(Waker::noop());
        match self.0.as_mut().poll(&mut cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}

#[test]
fn a_flight_is_closed_by_its_own_leader_only() {
    let flights = Flights::default();
    let first = lead(&flights, 1, 0);
    assert!(matches!(enter(&flights, 1, 0), Entered::Follower(_)));
    // Another fence, then a flight that is too old: both times a new flight replaces it.
    let second = lead(&flights, 2, 0);
    let third = lead(&flights, 2, 21);
    drop((first, second));
    assert!(matches!(enter(&flights, 2, 21), Entered::Follower(_)));
    drop(third);
    assert_eq!(flights.len(), 0, "no flight is leaked");
}

#[test]
fn a_flight_is_found_by_its_variants_key_too() {
    let flights = Flights::default();
    let variant = CacheKey::record(*key().resource());
    let lead_variant = || flights.lead_refresh(variant, 1, refresh_rules(0), || None);

    let leader = lead(&flights, 1, 0);
    leader.add_variant_key(variant);
    drop(leader);

    let earlier = lead_variant();
    assert!(lead_variant().is_none());
    let later = lead(&flights, 1, 0);
    later.add_variant_key(variant);
    drop(later);
    assert_eq!(flights.len(), 0, "the later flight replaced the earlier");
    drop(earlier);

    let earlier = lead(&flights, 1, 0);
    let later = lead_variant();
    earlier.add_variant_key(variant);
    drop(earlier);
    assert_eq!(flights.len(), 1, "the later flight keeps its place");
    drop(later);
}

/// As long as no rule is stored, a request does not know its variant.
#[test]
fn a_flight_of_a_variant_is_found_by_the_primary_key_but_not_by_other_variants() {
    let flights = Flights::default();
    let (variant, other) = (key().with_variant(7), key().with_variant(8));
    let lead_variant = || {
        let led = flights.lead_refresh(variant, 1, refresh_rules(0), || None);
        led.expect("no flight").0
    };
    let finds = |key| {
        flights
            .join(key, rules(0), |_| JoinDecision::Join, stream)
            .is_some()
    };

    let leader = lead_variant();
    assert_eq!([key(), variant, other].map(finds), [true, true, false]);
    leader.add_variant_key(variant);
    assert_eq!([key(), variant, other].map(finds), [true, true, false]);
    drop(leader);
    assert_eq!(flights.len(), 0, "it is leaked under no key");

    // A flight of the primary key comes first, if it may be joined.
    for (fence, expected) in [(1, 0), (2, 7)] {
        let of_primary = lead(&flights, fence, 0);
        let of_variant = lead_variant();
        let joined = flights.join(key(), rules(0), |flight| only_under(1, *flight), stream);
        let led = [(0, &of_primary), (7, &of_variant)];
        let led = led.map(|(variant, leader)| (leader.flight.id, variant));
        let joined = joined.expect("a flight").flight_id();
        assert!(led.contains(&(joined, expected)), "{joined} of {led:?}");
    }
    assert_eq!(flights.len(), 0);
}

#[test]
fn the_takeover_timeout_ends_with_the_response_head() {
    let flights = Flights::default();
    let leader = lead(&flights, 1, 0);
    assert!(matches!(enter(&flights, 1, 9), Entered::Follower(_)));
    assert!(
        flights
            .join(key(), rules(10), |_| JoinDecision::Join, stream)
            .is_none()
    );
    leader.publish(FlightOutcome::Shared(Arc::new(())));
    assert!(matches!(enter(&flights, 1, 29), Entered::Follower(_)));
    assert!(
        flights
            .join(key(), rules(29), |_| JoinDecision::Join, stream)
            .is_some()
    );
    assert!(
        flights
            .join(key(), rules(30), |_| JoinDecision::Join, stream)
            .is_none()
    );
}

/// Promise: concurrent misses without a fence make at most two calls.
#[test]
fn without_a_fence_only_a_call_that_has_not_begun_is_joined() {
    let flights = Flights::default();
    let running = lead_without_fence(&flights, 0);
    assert!(!running.has_predecessors(), "there was no flight");
    let joined = enter_without_fence(&flights, 0);
    assert!(matches!(joined, Entered::Follower(_)));
    assert!(matches!(enter(&flights, 1, 0), Entered::Follower(_)));
    let _ = running.begin_call(at(0));

    let next = lead_without_fence(&flights, 0);
    let joined = enter_without_fence(&flights, 0);
    assert!(matches!(joined, Entered::Follower(_)));
    assert_eq!(max_wait(&next), Some(Duration::from_secs(10)));
    let mut wait = Stepped::new(next.wait_for_predecessors());
    assert!(wait.poll().is_none());
    assert_eq!(flights.len(), 2);
    running.publish(FlightOutcome::Shared(Arc::new(())));
    assert!(wait.poll().is_some());
    drop(wait);

    let _ = next.begin_call(at(1));
    drop(running);
    assert_eq!(flights.len(), 1, "the next flight is the current one now");
    drop(lead_without_fence(&flights, 1));
    drop(next);
    assert_eq!(flights.len(), 0);
}

#[test]
fn with_a_fence_a_call_without_one_is_not_joined_once_it_has_begun() {
    let flights = Flights::default();
    let running = lead_without_fence(&flights, 0);
    let _ = running.begin_call(at(0));
    assert!(
        flights
            .join(key(), rules(0), |_| JoinDecision::Join, stream)
            .is_none()
    );
    let fenced = lead(&flights, 1, 0);
    assert!(!fenced.has_predecessors(), "it waits for no other");
    // A flight without a fence, which waits, does not hide the one that has a fence.
    let next = lead_without_fence(&flights, 0);
    assert!(next.has_predecessors());
    let follower = follow(&flights);
    fenced.publish(FlightOutcome::Shared(Arc::new(())));
    let outcome = Stepped::new(follower.wait()).poll();
    assert!(matches!(outcome, Some((FlightOutcome::Shared(_), _))));
    drop((running, fenced, next));
    assert_eq!(flights.len(), 0);
}

#[test]
fn a_leader_that_waits_for_another_flight_is_not_its_follower() {
    let flights = Flights::default();
    let running = lead_without_fence(&flights, 0);
    let _ = running.begin_call(at(0));
    let next = lead_without_fence(&flights, 4);
    assert!(!running.has_followers());
    let rest = Duration::from_secs(6);
    assert_eq!(max_wait(&next), Some(rest), "the rest of ten seconds");
    drop(next);
    let later = lead_without_fence(&flights, 10);
    assert!(!later.has_predecessors(), "the running call hangs");
    drop((running, later));
}

#[test]
fn only_calls_that_hang_double_the_takeover_timeout() {
    let flights = Flights::default();
    let mut running = lead_without_fence(&flights, 0);
    let _ = running.begin_call(at(0));
    for seconds in 1..5 {
        let next = lead_without_fence(&flights, seconds);
        running.publish(FlightOutcome::Vacant);
        let _ = next.begin_call(at(seconds));
        running = next;
    }
    let next = lead_without_fence(&flights, 5);
    assert_eq!(max_wait(&next), Some(Duration::from_secs(9)));
    let _ = next.begin_call(at(14));
    let later = lead_without_fence(&flights, 14);
    assert_eq!(max_wait(&later), Some(Duration::from_secs(20)));
}

#[test]
fn a_flight_that_was_abandoned_cannot_be_joined() {
    let flights = Flights::default();
    let leader = lead(&flights, 1, 0);
    let follower = follow(&flights);
    let mut abandoned = Stepped::new(leader.wait_until_abandoned());
    assert!(abandoned.poll().is_none());
    drop(follower);
    assert!(abandoned.poll().is_some());
    drop(abandoned);
    assert_eq!(flights.len(), 0);
}

#[test]
fn a_leader_dropped_without_an_outcome_leaves_the_flight_vacant() {
    let flights = Flights::default();
    let leader = lead(&flights, 1, 0);
    let follower = follow(&flights);
    assert!(leader.has_followers());
    drop(leader);
    let outcome = Stepped::new(follower.wait()).poll();
    assert!(matches!(outcome, Some((FlightOutcome::Vacant, _))));

    let leader = lead(&flights, 1, 0);
    let follower = follow(&flights);
    leader.publish(FlightOutcome::Refused {
        kind: RequestKind::Plain,
        is_private: false,
    });
    drop(leader);
    let outcome = Stepped::new(follower.wait()).poll();
    let Some((FlightOutcome::Refused { kind, .. }, _)) = outcome else {
        panic!("the first outcome counts");
    };
    assert_eq!(kind, RequestKind::Plain);
}

/// Promise: a request that is none of the cache's costs others neither waiting nor a lookup.
#[test]
fn an_exempt_leader_leaves_the_flight_and_no_lookup_is_outdated() {
    let flights = Flights::default();
    let leader = lead(&flights, 1, 0);
    let follower = follow(&flights);
    let completed_fills = flights.completed_fills(&leader.key());
    leader.exempt();
    let outcome = Stepped::new(follower.wait()).poll();
    assert!(matches!(outcome, Some((FlightOutcome::Exempt, _))));
    assert_eq!(flights.len(), 0);
    assert_eq!(flights.completed_fills(&leader.key()), completed_fills);
    // Only the first outcome counts.
    leader.close_with(FlightOutcome::Refused {
        kind: RequestKind::Plain,
        is_private: false,
    });
    assert_eq!(flights.len(), 0);
}

/// Wakes by adding its number to a list.
struct Listed(usize, Arc<std::sync::Mutex<Vec<usize>>>);

impl std::task::Wake for Listed {
    fn wake(self: Arc<Self>) {
        self.1.lock().expect("no panic").push(self.0);
    }
}

/// Promise: a client that sends a few requests at once does not lead several flights in a row.
#[test]
fn the_follower_in_the_middle_is_the_first_to_take_over() {
    for (outcome, expected) in [
        (
            FlightOutcome::Refused {
                kind: RequestKind::Plain,
                is_private: false,
            },
            [2, 3, 4, 0, 1],
        ),
        (FlightOutcome::Shared(Arc::default()), [0, 1, 2, 3, 4]),
    ] {
        let flights = Flights::default();
        let leader = lead(&flights, 1, 0);
        let woken = Arc::<std::sync::Mutex<Vec<usize>>>::default();
        let waiting: Vec<_> = (0..5)
            .map(|number| {
                let mut waiting = Box::pin(follow(&flights).wait());
                let waker = Waker::from(Arc::new(Listed(number, woken.clone())));
                let polled = waiting.as_mut().poll(&mut Context::from_waker(&waker));
                assert!(polled.is_pending());
                waiting
            })
            .collect();
        leader.publish(outcome);
        assert_eq!(*woken.lock().expect("no panic"), expected);
        drop(waiting);
    }
}

/// Promise: what a leader looked up before a write is not for a request that began after it.
#[test]
fn a_call_that_begins_knows_of_followers_under_another_fence() {
    for (follower_fence, is_under_fence) in [(Some(1), true), (Some(2), false), (None, false)] {
        let flights = Flights::default();
        let Entered::Leader(leader) = enter(&flights, 1, 0) else {
            panic!("there is no flight to join");
        };
        let entered = match follower_fence {
            Some(fence) => enter(&flights, fence, 0),
            None => enter_without_fence(&flights, 0),
        };
        let Entered::Follower(follower) = entered else {
            panic!("every request joins a call that has not begun");
        };
        // A follower that has left may have been replaced by one that waits for its outcome.
        drop(follower);
        assert_eq!(
            leader.begin_call(at(0)),
            is_under_fence,
            "{follower_fence:?}"
        );
    }
}

/// Promise: no follower waits for an outcome that does not come.
#[test]
fn a_flight_is_closed_unfollowed_only_where_no_request_waits() {
    let flights = Flights::default();
    let followed = lead(&flights, 1, 0);
    // One that has left may have been replaced by one that waits.
    drop(follow(&flights));
    assert!(!followed.close_unfollowed(&key(), Duration::ZERO));
    assert_eq!(flights.len(), 1);
    drop(followed);
    let paced = lead(&flights, 1, 0);
    for paced_key in [key(), CacheKey::for_path("/a").with_variant(7)] {
        let mut place = flights.place(paced_key, Precedence::ForAll, None);
        let limit = PlaceLimit {
            at_first: 1,
            doubling_time: Duration::from_secs(10),
        };
        let mut cx = Context::from_waker(Waker::noop());
        assert!(place.poll(limit, at(0), &mut cx).is_ready());
        assert!(!paced.close_unfollowed(&paced_key, Duration::ZERO));
        assert_eq!(flights.len(), 1);
    }
    drop(paced);
    let alone = lead(&flights, 1, 0);
    let before = flights.completed_fills(&key());
    assert!(alone.close_unfollowed(&key(), Duration::ZERO));
    let after = flights.completed_fills(&key());
    assert_eq!(
        (flights.len(), after),
        (0, before + 1),
        "it is looked up again"
    );
    drop(alone);
    assert_eq!(flights.completed_fills(&key()), after, "it ends once");
}
