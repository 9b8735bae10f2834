//! The table of flights under loom, on the memory backend's fence: every interleaving of requests and writes.

mod leaders;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::follower::Follower;
use super::{Budget, Entered, Flights, Share, Stage, Stream, Terms};
use crate::backend::{Backend, MemoryBackend, MemoryFence, Target};
use crate::key::{CacheKey, DigestSeed, Resource};
use crate::semantics::moment::Moment;

const ONE: usize = 1;
const TWO: usize = 2;

fn key() -> CacheKey {
    let seed = DigestSeed::default();
    CacheKey::plain(Resource::new(&seed, "", "test.example", "/a"))
}

fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ready) => ready,
        Poll::Pending => panic!("left waiting"),
    }
}

fn now() -> Moment {
    Moment::new(Duration::ZERO, SystemTime::UNIX_EPOCH)
}

fn terms(closed: Option<u64>) -> Terms {
    Terms {
        now: now(),
        not_before: None,
        closed,
        patience: Duration::MAX,
        longest: Duration::MAX,
    }
}

fn enter<F: Copy, H>(
    flights: &Arc<Flights<F, H>>,
    fence: Option<F>,
    closed: Option<u64>,
    may_join: impl Fn(&F) -> bool,
) -> Entered<F, H> {
    let terms = terms(closed);
    let stream = || Stream::new(Share::new(Arc::<Budget>::default(), u64::MAX));
    flights.enter(key(), fence, terms, may_join, stream)
}

/// As in the model of the fence: the database holds the set of writes that were committed.
struct World {
    backend: MemoryBackend,
    flights: Arc<Flights<MemoryFence, usize>>,
    database: AtomicUsize,
    yielded: AtomicUsize,
}

/// One who follows, with the writes that were yielded when it began.
type Follows = (usize, Follower<usize>);
type Part = fn(&World) -> Option<Follows>;

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            backend: MemoryBackend::new(0),
            flights: Arc::default(),
            database: AtomicUsize::new(0),
            yielded: AtomicUsize::new(0),
        })
    }

    fn write<const WRITE: usize>(&self) -> Option<Follows> {
        self.database.fetch_or(WRITE, Ordering::Relaxed);
        let target = Target::Resource(*key().resource());
        at_once(self.backend.invalidate(&target)).expect("memory answers");
        self.yielded.fetch_or(WRITE, Ordering::Release);
        None
    }

    fn request(&self) -> Option<Follows> {
        let yielded = self.yielded.load(Ordering::Acquire);
        let own = at_once(self.backend.fence(None)).expect("memory answers");
        let own = own.expect("memory has fences");
        let may_join = |fence: &_| self.backend.may_join(key().resource(), fence, &own);
        self.takes_part(yielded, enter(&self.flights, Some(own), None, may_join))
    }

    /// The backend cannot be asked.
    fn request_without_fence(&self) -> Option<Follows> {
        let yielded = self.yielded.load(Ordering::Acquire);
        self.takes_part(yielded, enter(&self.flights, None, None, |_| false))
    }

    fn takes_part(&self, yielded: usize, entered: Entered<MemoryFence, usize>) -> Option<Follows> {
        match entered {
            Entered::Leads(lead) => {
                lead.begins(now());
                let sampled = self.database.load(Ordering::Relaxed);
                check(yielded, sampled);
                lead.tell(Stage::Shared(Arc::new(sampled)));
                None
            }
            Entered::Follows(follower) => Some((yielded, follower)),
            Entered::Changed => unreachable!("it did not ask for that"),
        }
    }

    /// A write through another instance, of which nobody here is told.
    fn remote_write<const WRITE: usize>(&self) -> Option<Follows> {
        self.database.fetch_or(WRITE, Ordering::Relaxed);
        self.yielded.fetch_or(WRITE, Ordering::Release);
        None
    }

    /// Once all leaders have left.
    fn end(&self, (yielded, follower): Follows) {
        match at_once(follower.told()).0 {
            Stage::Shared(sampled) => check(yielded, *sampled),
            other => panic!("a leader that had an answer told {other:?}"),
        }
    }
}

fn check(yielded: usize, sampled: usize) {
    assert_eq!(sampled & yielded, yielded, "older than what was yielded");
}

/// Runs these side by side with a request, in every interleaving.
///
/// All of theirs are too many: none takes the turn from a running thread more than four times, or twice where three run.
fn explore<const N: usize>(beside: [Part; N]) {
    explore_with(World::request, beside);
}

fn explore_with<const N: usize>(own: Part, beside: [Part; N]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(if N > 2 { 2 } else { 4 });
    model.check(move || {
        let world = World::new();
        let threads = beside.map(|part| {
            let world = world.clone();
            thread::spawn(move || part(&world))
        });
        let own = own(&world);
        let others = threads.map(|thread| thread.join().expect("it does not panic"));
        for follows in others.into_iter().chain([own]).flatten() {
            world.end(follows);
        }
        assert_eq!(world.flights.len(), 0, "no flight is leaked");
    });
}

#[test]
fn two_requests_beside_a_write() {
    explore([World::request, World::write::<ONE>]);
}

#[test]
fn two_requests_beside_two_writes() {
    explore([World::request, World::write::<ONE>, World::write::<TWO>]);
}

#[test]
fn three_requests_beside_a_write() {
    explore([World::request, World::request, World::write::<ONE>]);
}

#[test]
fn without_fences_nobody_joins_a_call_that_has_begun() {
    let own = World::request_without_fence;
    explore_with(own, [own, World::remote_write::<ONE>]);
    explore_with(own, [own, own, World::remote_write::<ONE>]);
}

#[test]
fn with_and_without_a_fence_beside_a_write() {
    let own = World::request_without_fence;
    explore_with(own, [World::request, World::write::<ONE>]);
}
