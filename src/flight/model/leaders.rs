//! Models for loom of leaders that leave, are replaced or are abandoned while others enter.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::{WokenFlag, enter, key, now, ready, rules, stream};
use crate::backend::JoinDecision;
use crate::flight::follower::Follower;
use crate::flight::{BodyReader, Entered, FlightOutcome, Flights, Leader};
use crate::semantics::request_kind::RequestKind;

type Table = Flights<usize, ()>;

fn lead(flights: &Table, fence: usize) -> Leader<usize, ()> {
    match enter(flights, Some(fence), None, |_| JoinDecision::Refuse) {
        Entered::Leader(leader) => {
            let _ = leader.begin_call(now());
            leader
        }
        _ => panic!("no flight may be joined"),
    }
}

fn follow(flights: &Table) -> Option<Follower<usize, ()>> {
    match enter(flights, Some(0), None, |_| JoinDecision::Join) {
        Entered::Follower(follower) => Some(follower),
        _ => None,
    }
}

/// A future that was polled once.
struct Polled<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    output: Option<T>,
    woken: Arc<WokenFlag>,
}

impl<T> Polled<T> {
    fn new(future: impl Future<Output = T> + 'static) -> Self {
        let mut future: Pin<Box<dyn Future<Output = T>>> = Box::pin(future);
        let woken = Arc::<WokenFlag>::default();
        let waker = woken.clone().into();
        let output = match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        };
        Self {
            future,
            output,
            woken,
        }
    }

    /// The output, once all other threads have ended: the future must have been woken for it.
    fn finish(self) -> T {
        self.output.unwrap_or_else(|| {
            assert!(self.woken.is_set(), "not woken");
            ready(self.future)
        })
    }
}

type Waiting = Polled<(FlightOutcome<()>, Option<BodyReader>)>;

/// Joins a flight, if there is one, and begins to wait for its outcome.
fn follow_and_wait(flights: &Table) -> Option<Waiting> {
    follow(flights).map(|follower| Polled::new(follower.wait()))
}

/// Asserts that a follower gets an outcome.
fn assert_outcome(waiting: Option<Waiting>) {
    if let Some(waiting) = waiting {
        let (_outcome, _) = waiting.finish();
    }
}

#[test]
fn a_leader_leaves_while_two_requests_enter() {
    for publishes in [false, true] {
        loom::model(move || {
            let flights = Table::default();
            let leader = lead(&flights, 1);
            let leaving = thread::spawn(move || {
                if publishes {
                    leader.publish(FlightOutcome::Shared(Arc::new(())));
                }
            });
            let table = flights.clone();
            let entering = thread::spawn(move || follow_and_wait(&table));
            let own = follow_and_wait(&flights);
            leaving.join().expect("no panic");
            assert_outcome(entering.join().expect("no panic"));
            assert_outcome(own);
            assert_eq!(flights.len(), 0, "no flight is leaked");
        });
    }
}

#[test]
fn a_leader_that_was_replaced_does_not_close_its_successors_flight() {
    loom::model(|| {
        let flights = Table::default();
        let replaced = lead(&flights, 1);
        let leaving = thread::spawn(move || drop(replaced));
        let table = flights.clone();
        let replacing = thread::spawn(move || {
            let successor = lead(&table, 2);
            let follower = follow_and_wait(&table);
            assert!(follower.is_some(), "the successor's flight is open");
            drop(successor);
            follower
        });
        let own = flights.join(key(), rules(None), |_| JoinDecision::Join, stream);
        let own = own.map(|follower| Polled::new(follower.wait()));
        leaving.join().expect("no panic");
        assert_outcome(replacing.join().expect("no panic"));
        assert_outcome(own);
        assert_eq!(flights.len(), 0, "no flight is leaked");
    });
}

/// Promise: one call per key. A request that looked up too early does not call again.
#[test]
fn a_fill_that_a_lookup_missed_is_counted_as_completed_since() {
    loom::model(|| {
        let flights = Table::default();
        let stored = Arc::new(AtomicBool::new(false));
        let filler = lead(&flights, 1);
        let filling = thread::spawn({
            let stored = stored.clone();
            move || {
                stored.store(true, Ordering::Relaxed);
                drop(filler);
            }
        });
        let completed_fills = flights.completed_fills(&key());
        let is_found = stored.load(Ordering::Relaxed);
        let entered = enter(&flights, Some(1), Some(completed_fills), |_| {
            JoinDecision::Join
        });
        if let Entered::Leader(_) = entered {
            assert!(is_found, "a second call for a response that is stored");
        }
        filling.join().expect("no panic");
    });
}

#[test]
fn a_flight_that_was_abandoned_has_no_followers() {
    loom::model(|| {
        let flights = Table::default();
        let leader = lead(&flights, 1);
        let leaving = thread::spawn(move || {
            let mut abandoned = Box::pin(leader.wait_until_abandoned());
            let mut cx = Context::from_waker(Waker::noop());
            let is_abandoned = abandoned.as_mut().poll(&mut cx).is_ready();
            drop(abandoned);
            (is_abandoned, leader)
        });
        let follower = follow(&flights);
        let (is_abandoned, leader) = leaving.join().expect("no panic");
        assert_ne!(
            is_abandoned,
            follower.is_some(),
            "abandoned with a follower, or kept without one"
        );
        drop(leader);
        assert_eq!(flights.len(), 0, "no flight is leaked");
    });
}

#[test]
fn the_last_follower_to_leave_wakes_the_task_that_waits_for_it() {
    loom::model(|| {
        let flights = Table::default();
        let leader = lead(&flights, 1);
        let follower = follow(&flights);
        let leaving = thread::spawn(move || drop(follower));
        let table = flights.clone();
        let coming_and_leaving = thread::spawn(move || drop(follow(&table)));
        let abandoned = Polled::new(async move { leader.wait_until_abandoned().await });
        leaving.join().expect("no panic");
        coming_and_leaving.join().expect("no panic");
        abandoned.finish();
        assert_eq!(flights.len(), 0, "no flight is leaked");
    });
}

/// Enters a flight after another one has ended, and keeps its part in it.
fn enter_again(flights: &Table) -> Entered<usize, ()> {
    let entered = enter(flights, Some(1), None, |_| JoinDecision::Join);
    if let Entered::Leader(leader) = &entered {
        let _ = leader.begin_call(now());
    }
    entered
}

/// Promise: of the followers that a refusal does not concern one takes over, and the rest follow
/// it, with those that come meanwhile.
#[test]
fn one_follower_of_a_refused_flight_leads_the_next_one() {
    for is_exempt in [false, true] {
        loom::model(move || {
            let flights = Table::default();
            let leader = lead(&flights, 1);
            let followers = [follow_and_wait(&flights), follow_and_wait(&flights)];
            match is_exempt {
                true => leader.exempt(),
                false => leader.close_with(FlightOutcome::Refused {
                    kind: RequestKind::WithCookies,
                    is_private: false,
                }),
            }
            followers.into_iter().for_each(assert_outcome);
            let leaving = thread::spawn(move || drop(leader));
            let table = flights.clone();
            let other = thread::spawn(move || enter_again(&table));
            let own = enter_again(&flights);
            let parts = [own, other.join().expect("no panic")];
            leaving.join().expect("no panic");
            let is_leader = |part: &&Entered<_, _>| matches!(part, Entered::Leader(_));
            assert_eq!(parts.iter().filter(is_leader).count(), 1);
            drop(parts);
            assert_eq!(flights.len(), 0, "no flight is leaked");
        });
    }
}

/// A request may join while the leader learns that it is exempt.
#[test]
fn an_exempt_leader_leaves_while_two_requests_enter() {
    loom::model(|| {
        let flights = Table::default();
        let leader = lead(&flights, 1);
        let leaving = thread::spawn(move || leader.exempt());
        let table = flights.clone();
        let entering = thread::spawn(move || follow_and_wait(&table));
        let own = follow_and_wait(&flights);
        leaving.join().expect("no panic");
        assert_outcome(entering.join().expect("no panic"));
        assert_outcome(own);
        assert_eq!(flights.len(), 0, "no flight is leaked");
    });
}

/// A request may join while the leader, whose response is stored, closes its flight without an
/// outcome.
#[test]
fn a_flight_is_closed_unfollowed_while_a_request_enters() {
    loom::model(|| {
        let flights = Table::default();
        let leader = lead(&flights, 1);
        let leaving = thread::spawn(move || {
            if !leader.close_unfollowed(&key(), Duration::ZERO) {
                leader.publish(FlightOutcome::Shared(Arc::new(())));
            }
        });
        if let Some(waiting) = follow_and_wait(&flights) {
            leaving.join().expect("no panic");
            let (outcome, _) = waiting.finish();
            assert!(matches!(outcome, FlightOutcome::Shared(_)));
        } else {
            leaving.join().expect("no panic");
        }
        assert_eq!(flights.len(), 0, "no flight is leaked");
    });
}
