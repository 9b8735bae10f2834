//! Models of the table for loom: requests and writes in all their interleavings, with the fences of
//! the memory backend.
//!
//! Built with `--cfg trc_loom` only. Start at [`explore`].

mod groups;
mod leaders;
mod places;
mod validations;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool as StdAtomicBool;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::follower::Follower;
use super::{
    BodyStream, Budget, BudgetLimits, BudgetShare, Entered, FlightOutcome, Flights, JoinRules,
    LetDowns, Place, PlaceLimit,
};
use crate::backend::{Backend, InvalidationTarget, JoinDecision, MemoryBackend, MemoryFence};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;

const WRITE_1: usize = 1;
const WRITE_2: usize = 2;

fn key() -> CacheKey {
    CacheKey::for_path("/a")
}

/// The output of a future that must not have to wait.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future is pending"),
    }
}

fn now() -> Moment {
    Moment::new(Duration::ZERO, SystemTime::UNIX_EPOCH)
}

/// Whether a waker was used. Its atomic is that of std: wakers are cloned and woken where loom
/// cannot switch threads.
#[derive(Default)]
struct WokenFlag(StdAtomicBool);

impl WokenFlag {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for WokenFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn place_limit(at_first: usize) -> PlaceLimit {
    PlaceLimit {
        at_first,
        doubling_time: Duration::from_secs(10),
    }
}

fn rules(completed_fills: Option<u64>) -> JoinRules {
    JoinRules {
        now: now(),
        not_before: None,
        completed_fills,
        takeover_timeout: Duration::MAX,
        fill_timeout: Duration::MAX,
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

/// Enters with a place.
fn enter_in<F: Copy, H>(
    flights: &Flights<F, H>,
    fence: Option<F>,
    place: Option<&mut Place<F, H>>,
) -> Entered<F, H> {
    flights.enter(
        key(),
        fence,
        rules(None),
        |_| JoinDecision::Join,
        place,
        stream,
    )
}

fn enter<F: Copy, H>(
    flights: &Flights<F, H>,
    fence: Option<F>,
    completed_fills: Option<u64>,
    decide: impl Fn(&F) -> JoinDecision,
) -> Entered<F, H> {
    let rules = rules(completed_fills);
    flights.enter(key(), fence, rules, decide, None, stream)
}

/// A cache and its origin. A set of writes is a number with a bit for each.
struct CacheModel {
    backend: MemoryBackend,
    flights: Flights<MemoryFence, usize>,
    /// The writes that are committed. A response is the set that its call has read.
    database: AtomicUsize,
    /// The writes whose answers were yielded: every later request has to see them.
    yielded: AtomicUsize,
}

/// A follower that has not waited yet.
struct Pending {
    /// The writes that were yielded when it started.
    yielded: usize,
    own: Option<MemoryFence>,
    follower: Follower<MemoryFence, usize>,
}

type Step = fn(&CacheModel) -> Option<Pending>;

impl CacheModel {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            backend: MemoryBackend::new(0),
            flights: Flights::default(),
            database: AtomicUsize::new(0),
            yielded: AtomicUsize::new(0),
        })
    }

    fn write<const WRITE: usize>(&self) -> Option<Pending> {
        self.database.fetch_or(WRITE, Ordering::Relaxed);
        let target = InvalidationTarget::Resource(*key().resource());
        ready(self.backend.invalidate(&target)).expect("memory answers");
        self.yielded.fetch_or(WRITE, Ordering::Release);
        None
    }

    fn request(&self) -> Option<Pending> {
        let yielded = self.yielded.load(Ordering::Acquire);
        let own = ready(self.backend.fence(None)).expect("memory answers");
        let own = own.expect("memory has fences");
        let join_decision = |fence: &_| self.backend.join_decision(key().resource(), fence, &own);
        let entered = enter(&self.flights, Some(own), None, join_decision);
        self.fill(yielded, Some(own), entered)
    }

    /// A request while the backend cannot be reached.
    fn request_without_fence(&self) -> Option<Pending> {
        let yielded = self.yielded.load(Ordering::Acquire);
        let entered = enter(&self.flights, None, None, |_| JoinDecision::Refuse);
        self.fill(yielded, None, entered)
    }

    fn fill(
        &self,
        yielded: usize,
        own: Option<MemoryFence>,
        entered: Entered<MemoryFence, usize>,
    ) -> Option<Pending> {
        match entered {
            Entered::Leader(leader) => {
                let _ = leader.begin_call(now());
                let response = self.database.load(Ordering::Relaxed);
                assert_not_older(response, yielded);
                leader.publish(FlightOutcome::Shared(Arc::new(response)));
                None
            }
            Entered::Follower(follower) => Some(Pending {
                yielded,
                own,
                follower,
            }),
            _ => unreachable!("the rules do not ask for this check, and no key is paced"),
        }
    }

    /// A write through another instance, which this one does not learn of.
    fn remote_write<const WRITE: usize>(&self) -> Option<Pending> {
        self.database.fetch_or(WRITE, Ordering::Relaxed);
        self.yielded.fetch_or(WRITE, Ordering::Release);
        None
    }

    /// Checks a follower's response, once all leaders have left.
    fn finish(&self, mut pending: Pending) {
        let flight_fence = pending.follower.take_flight_fence();
        match ready(pending.follower.wait()).0 {
            FlightOutcome::Shared(_) if !self.may_share(flight_fence, pending.own) => {}
            FlightOutcome::Shared(response) => assert_not_older(*response, pending.yielded),
            other => panic!("the leader had a response, and published {other:?}"),
        }
    }
}

fn assert_not_older(response: usize, yielded: usize) {
    assert_eq!(
        response & yielded,
        yielded,
        "a response older than a yielded write"
    );
}

/// Runs the steps in threads beside a request, in all interleavings up to a bound: a running thread
/// is preempted at most four times, or twice beside three other threads. All of them are too many.
fn explore<const N: usize>(beside: [Step; N]) {
    explore_with(CacheModel::request, beside);
}

fn explore_with<const N: usize>(own: Step, beside: [Step; N]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(if N > 2 { 2 } else { 4 });
    model.check(move || {
        let cache = CacheModel::new();
        let threads = beside.map(|step| {
            let cache = cache.clone();
            thread::spawn(move || step(&cache))
        });
        let own = own(&cache);
        let others = threads.map(|thread| thread.join().expect("no panic"));
        for pending in others.into_iter().chain([own]).flatten() {
            cache.finish(pending);
        }
        assert_eq!(cache.flights.len(), 0, "no flight is leaked");
    });
}

#[test]
fn two_requests_beside_a_write() {
    explore([CacheModel::request, CacheModel::write::<WRITE_1>]);
}

#[test]
fn two_requests_beside_two_writes() {
    explore([
        CacheModel::request,
        CacheModel::write::<WRITE_1>,
        CacheModel::write::<WRITE_2>,
    ]);
}

#[test]
fn three_requests_beside_a_write() {
    explore([
        CacheModel::request,
        CacheModel::request,
        CacheModel::write::<WRITE_1>,
    ]);
}

#[test]
fn without_fences_no_request_joins_a_call_that_has_begun() {
    let own = CacheModel::request_without_fence;
    explore_with(own, [own, CacheModel::remote_write::<WRITE_1>]);
    explore_with(own, [own, own, CacheModel::remote_write::<WRITE_1>]);
}

#[test]
fn with_and_without_a_fence_beside_a_write() {
    let own = CacheModel::request_without_fence;
    explore_with(own, [CacheModel::request, CacheModel::write::<WRITE_1>]);
}
