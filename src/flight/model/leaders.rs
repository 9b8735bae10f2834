//! Leaders that leave, are replaced or abandoned, while others enter and wait.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool as Flag;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::{at_once, enter, key, now, terms};
use crate::flight::follower::Follower;
use crate::flight::{Entered, Flights, Lead, Reader, Stage};

type Table = Arc<Flights<usize, ()>>;

fn lead(flights: &Table, fence: usize) -> Lead<usize, ()> {
    match enter(flights, Some(fence), None, |_| false) {
        Entered::Leads(lead) => {
            lead.begins(now());
            lead
        }
        Entered::Changed | Entered::Follows(_) => panic!("followed what may not be joined"),
    }
}

fn follow(flights: &Table) -> Option<Follower<()>> {
    match enter(flights, Some(0), None, |_| true) {
        Entered::Changed | Entered::Leads(_) => None,
        Entered::Follows(follower) => Some(follower),
    }
}

/// What a future came to that was polled once; or it waits, and whether it was woken since.
///
/// The flag is std's: a waker is cloned and woken where loom may not switch.
struct Asked<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    came_to: Option<T>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(Flag);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<T> Asked<T> {
    fn of(future: impl Future<Output = T> + 'static) -> Self {
        let mut future: Pin<Box<dyn Future<Output = T>>> = Box::pin(future);
        let woken = Arc::<Woken>::default();
        let came_to = match future
            .as_mut()
            .poll(&mut Context::from_waker(&woken.clone().into()))
        {
            Poll::Ready(came_to) => Some(came_to),
            Poll::Pending => None,
        };
        Self {
            future,
            came_to,
            woken,
        }
    }

    /// Once nobody else is there.
    fn end(self) -> T {
        self.came_to.unwrap_or_else(|| {
            assert!(self.woken.0.load(Ordering::Relaxed), "left asleep");
            at_once(self.future)
        })
    }
}

type Asks = Asked<(Stage<()>, Option<Reader>)>;

/// Follows, if there is somebody to follow, and asks what there is to be told.
fn ask(flights: &Table) -> Option<Asks> {
    follow(flights).map(|follower| Asked::of(follower.told()))
}

fn is_told(asks: Option<Asks>) {
    if let Some(asks) = asks {
        let (told, _) = asks.end();
        assert!(!matches!(told, Stage::Calling), "told nothing");
    }
}

#[test]
fn a_leader_leaves_while_two_enter() {
    for tells in [false, true] {
        loom::model(move || {
            let flights = Table::default();
            let leaver = lead(&flights, 1);
            let leaves = thread::spawn(move || {
                if tells {
                    leaver.tell(Stage::Shared(Arc::new(())));
                }
            });
            let table = flights.clone();
            let enters = thread::spawn(move || ask(&table));
            let own = ask(&flights);
            leaves.join().expect("it does not panic");
            is_told(enters.join().expect("it does not panic"));
            is_told(own);
            assert_eq!(flights.len(), 0, "no flight is leaked");
        });
    }
}

#[test]
fn a_leader_that_was_replaced_leaves_its_successor_alone() {
    loom::model(|| {
        let flights = Table::default();
        let replaced = lead(&flights, 1);
        let leaves = thread::spawn(move || drop(replaced));
        let table = flights.clone();
        let replaces = thread::spawn(move || {
            let successor = lead(&table, 2);
            let follower = ask(&table);
            assert!(follower.is_some(), "its flight is open until it leaves");
            drop(successor);
            follower
        });
        let own = flights.follow(key(), terms(None), |_| true);
        let own = own.map(|follower| Asked::of(follower.told()));
        leaves.join().expect("it does not panic");
        is_told(replaces.join().expect("it does not panic"));
        is_told(own);
        assert_eq!(flights.len(), 0, "no flight is leaked");
    });
}

/// Or two would call where one call is enough.
#[test]
fn a_fill_that_a_lookup_missed_counts_as_closed_since() {
    loom::model(|| {
        let flights = Table::default();
        let stored = Arc::new(AtomicBool::new(false));
        let filler = lead(&flights, 1);
        let fills = thread::spawn({
            let stored = stored.clone();
            move || {
                stored.store(true, Ordering::Relaxed);
                drop(filler);
            }
        });
        let closed = flights.closed(&key());
        let found = stored.load(Ordering::Relaxed);
        if let Entered::Leads(_) = enter(&flights, Some(1), Some(closed), |_| true) {
            assert!(found, "whoever leads now would call once more");
        }
        fills.join().expect("it does not panic");
    });
}

#[test]
fn nobody_is_in_a_flight_that_was_abandoned() {
    loom::model(|| {
        let flights = Table::default();
        let leader = lead(&flights, 1);
        let leaves = thread::spawn(move || {
            let mut abandoned = Box::pin(leader.abandoned());
            let mut cx = Context::from_waker(Waker::noop());
            let is_abandoned = abandoned.as_mut().poll(&mut cx).is_ready();
            drop(abandoned);
            (is_abandoned, leader)
        });
        let follower = follow(&flights);
        let (is_abandoned, leader) = leaves.join().expect("it does not panic");
        assert_ne!(
            is_abandoned,
            follower.is_some(),
            "abandoned with somebody in it, or kept for nobody"
        );
        drop(leader);
        assert_eq!(flights.len(), 0, "no flight is leaked");
    });
}

#[test]
fn the_last_to_leave_a_flight_wakes_whoever_waits_for_that() {
    loom::model(|| {
        let flights = Table::default();
        let leader = lead(&flights, 1);
        let follower = follow(&flights);
        let leaves = thread::spawn(move || drop(follower));
        let table = flights.clone();
        let comes_and_leaves = thread::spawn(move || drop(follow(&table)));
        let abandoned = Asked::of(async move { leader.abandoned().await });
        leaves.join().expect("it does not panic");
        comes_and_leaves.join().expect("it does not panic");
        abandoned.end();
        assert_eq!(flights.len(), 0, "no flight is leaked");
    });
}
