//! Models for loom of fills whose origin confirms a stored response, whatever has changed: a weak
//! validator cannot tell.
//!
//! The backend reads token and entry in one step, as Redis does. Every stored response is stale, so
//! that every request wants it validated.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::{WRITE_1, WRITE_2, assert_not_older, enter, now, ready};
use crate::backend::JoinDecision;
use crate::flight::follower::Follower;
use crate::flight::{Entered, FlightOutcome, Flights};

/// The current token of the resource, and the response that is stored under it.
type Entry = (usize, Option<usize>);

struct StaleCache {
    entry: Mutex<Entry>,
    flights: Flights<usize, usize>,
    database: AtomicUsize,
    yielded: AtomicUsize,
    /// Whether a leader drops its validators where a request under another token has joined.
    drops_validators: bool,
}

type Pending = (usize, Follower<usize, usize>);
type Step = fn(&StaleCache) -> Option<Pending>;

impl StaleCache {
    fn new(drops_validators: bool) -> Arc<Self> {
        Arc::new(Self {
            entry: Mutex::new((0, Some(0))),
            flights: Flights::default(),
            database: AtomicUsize::new(0),
            yielded: AtomicUsize::new(0),
            drops_validators,
        })
    }

    fn write<const WRITE: usize>(&self) -> Option<Pending> {
        self.database.fetch_or(WRITE, Ordering::SeqCst);
        let mut entry = self.entry.lock().expect("no panic");
        *entry = (entry.0 + 1, None);
        drop(entry);
        self.yielded.fetch_or(WRITE, Ordering::SeqCst);
        None
    }

    fn request(&self) -> Option<Pending> {
        let yielded = self.yielded.load(Ordering::SeqCst);
        let (token, found) = *self.entry.lock().expect("no panic");
        let decide = |flight: &_| match *flight == token {
            true => JoinDecision::Join,
            false => JoinDecision::Refuse,
        };
        let leader = match enter(&self.flights, Some(token), None, decide) {
            Entered::Leader(leader) => leader,
            Entered::Follower(follower) => return Some((yielded, follower)),
            _ => unreachable!("the rules do not ask for this check, and no key is paced"),
        };
        let is_under_fence = leader.begin_call(now());
        let may_confirm = is_under_fence || !self.drops_validators;
        let response = match found {
            Some(found) if may_confirm => found,
            _ => self.database.load(Ordering::SeqCst),
        };
        assert_not_older(response, yielded);
        leader.publish(FlightOutcome::Shared(Arc::new(response)));
        let mut entry = self.entry.lock().expect("no panic");
        if entry.0 == token {
            entry.1 = Some(response);
        }
        None
    }

    fn finish(&self, (yielded, follower): Pending) {
        match ready(follower.wait()).0 {
            FlightOutcome::Shared(response) => assert_not_older(*response, yielded),
            other => panic!("the leader had a response, and published {other:?}"),
        }
    }
}

/// Runs the steps in threads beside a request, with a bound as in `explore`.
fn explore<const N: usize>(drops_validators: bool, beside: [Step; N]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(if N > 2 { 2 } else { 4 });
    model.check(move || {
        let cache = StaleCache::new(drops_validators);
        let threads = beside.map(|step| {
            let cache = cache.clone();
            thread::spawn(move || step(&cache))
        });
        let own = cache.request();
        let others = threads.map(|thread| thread.join().expect("no panic"));
        for pending in others.into_iter().chain([own]).flatten() {
            cache.finish(pending);
        }
        // A request that comes after everything.
        if let Some(late) = cache.request() {
            cache.finish(late);
        }
    });
}

#[test]
fn two_validations_beside_a_write() {
    explore(true, [StaleCache::request, StaleCache::write::<WRITE_1>]);
}

#[test]
fn two_validations_beside_two_writes() {
    explore(
        true,
        [
            StaleCache::request,
            StaleCache::write::<WRITE_1>,
            StaleCache::write::<WRITE_2>,
        ],
    );
}

#[test]
fn three_validations_beside_a_write() {
    explore(
        true,
        [
            StaleCache::request,
            StaleCache::request,
            StaleCache::write::<WRITE_1>,
        ],
    );
}

/// A request after the write joins a flight whose call has not begun, and gets what the leader had
/// found before the write.
#[test]
#[should_panic(expected = "a response older than a yielded write")]
fn validators_that_are_kept_for_every_follower_are_found_out() {
    explore(false, [StaleCache::request, StaleCache::write::<WRITE_1>]);
}
