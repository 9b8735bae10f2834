//! Models of the periods under loom: fills beside a write of unknown outcome that commits late, and
//! beside other writes that fail, with the fences of the memory backend.
//!
//! The store holds what a fill has read of the database. A stored response that lacks the late
//! commit, once that has happened, breaks the promise.
//!
//! Built with `--cfg trc_loom` only. Start at [`explore`].

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Mutex, MutexGuard};
use loom::thread;

use super::{MAX_EXACT, WriteGrace};
use crate::backend::{Backend, InvalidationTarget, JoinDecision, MemoryBackend, MemoryFence};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;

const GRACE: Duration = Duration::from_secs(5);
/// Within the period, and after its end.
const WITHIN: u64 = 1;
const AFTER: u64 = 7;

struct PeriodModel {
    backend: MemoryBackend,
    grace: WriteGrace,
    /// The version in the database, 0 or 1.
    database: AtomicUsize,
    /// Whether the late commit has happened, and the client of the write has its answer.
    is_promised: AtomicBool,
    /// The version that is stored.
    stored: Mutex<Option<usize>>,
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("memory answers at once"),
    }
}

fn at(seconds: u64) -> Moment {
    Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH)
}

fn target(path: &'static str) -> InvalidationTarget {
    InvalidationTarget::Resource(*CacheKey::for_path(path).resource())
}

impl PeriodModel {
    fn new() -> Self {
        Self {
            backend: MemoryBackend::new(0),
            grace: WriteGrace::default(),
            database: AtomicUsize::new(0),
            is_promised: AtomicBool::new(false),
            stored: Mutex::new(None),
        }
    }

    fn stored(&self) -> MutexGuard<'_, Option<usize>> {
        self.stored
            .lock()
            .expect("no thread panics under this lock")
    }

    fn begin(&self, path: &'static str, now: u64) {
        self.grace.begin(Some(&target(path)), at(now), GRACE);
    }

    /// Breaks the fences of the resource and removes its stored response.
    fn invalidate(&self) {
        let mut stored = self.stored();
        ready(self.backend.invalidate(&target("/a"))).expect("memory answers");
        *stored = None;
    }

    fn commit_late(&self) {
        self.database.store(1, Ordering::Relaxed);
        self.is_promised.store(true, Ordering::Release);
    }

    /// A write that is answered 503 and committed later.
    fn write(&self) {
        self.begin("/a", 0);
        self.invalidate();
        self.commit_late();
    }

    /// Begins its period after its invalidation.
    fn write_that_begins_late(&self) {
        self.invalidate();
        self.begin("/a", 0);
        self.commit_late();
    }

    fn fence(&self) -> MemoryFence {
        let fence = ready(self.backend.fence(None)).expect("memory answers");
        fence.expect("memory has fences")
    }

    fn is_covered(&self, now: u64) -> bool {
        let key = CacheKey::for_path("/a");
        self.grace.covers_resource(key.resource(), at(now))
    }

    /// The store compares and inserts in one step.
    fn store(&self, fence: MemoryFence, read: usize) {
        let mut stored = self.stored();
        let key = CacheKey::for_path("/a");
        let decision = self
            .backend
            .join_decision(key.resource(), &fence, &self.fence());
        if decision == JoinDecision::Join {
            *stored = Some(read);
        }
    }

    /// A fill that asks for the period before its call, as for a resource.
    fn fill(&self) {
        let fence = self.fence();
        if !self.is_covered(WITHIN) {
            let read = self.database.load(Ordering::Relaxed);
            self.store(fence, read);
        }
    }

    /// A fill that asks by its beginning once its response is here, as for a group.
    fn fill_that_asks_at_its_end(&self) {
        let fence = self.fence();
        let read = self.database.load(Ordering::Relaxed);
        if !self.is_covered(WITHIN) {
            self.store(fence, read);
        }
    }

    fn fill_that_asks_before_its_fence(&self) {
        let is_covered = self.is_covered(WITHIN);
        let fence = self.fence();
        if !is_covered {
            let read = self.database.load(Ordering::Relaxed);
            self.store(fence, read);
        }
    }

    /// A fill that begins after the end of the period: it may be stored.
    fn later_fill(&self) {
        let fence = self.fence();
        if !self.is_covered(AFTER) {
            self.store(fence, 1);
        }
    }

    /// More failing writes than the table has room for.
    fn flood(&self) {
        for path in &["/b", "/c", "/d"][..=MAX_EXACT] {
            self.begin(path, WITHIN);
        }
    }

    /// Failing writes after the end of the period, more than the table has room for.
    fn later_flood(&self) {
        for path in &["/b", "/c", "/d"][..=MAX_EXACT] {
            self.begin(path, AFTER);
        }
    }

    /// Returns the stored version.
    fn lookup(&self) -> Option<usize> {
        let is_promised = self.is_promised.load(Ordering::Acquire);
        let stored = *self.stored();
        assert!(
            !is_promised || stored != Some(0),
            "older than a late commit"
        );
        stored
    }
}

/// Runs threads beside a lookup in all interleavings, three of them with at most three preemptions.
/// Returns whether anything was stored in the end.
fn explore<const N: usize>(beside: [fn(&PeriodModel); N]) -> bool {
    let is_ever_stored = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = is_ever_stored.clone();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(if N > 2 { 3 } else { 4 });
    model.check(move || {
        let world = loom::sync::Arc::new(PeriodModel::new());
        let threads = beside.map(|step| {
            let world = world.clone();
            thread::spawn(move || step(&world))
        });
        world.lookup();
        for thread in threads {
            thread.join().expect("no thread panics");
        }
        if world.lookup().is_some() {
            seen.store(true, Ordering::Relaxed);
        }
    });
    is_ever_stored.load(Ordering::Relaxed)
}

#[test]
fn a_fill_beside_a_write_that_commits_late() {
    explore([PeriodModel::fill, PeriodModel::write]);
}

#[test]
fn a_member_beside_a_write_that_commits_late() {
    explore([PeriodModel::fill_that_asks_at_its_end, PeriodModel::write]);
}

#[test]
fn a_fill_beside_a_late_commit_and_a_flood() {
    explore([PeriodModel::fill, PeriodModel::write, PeriodModel::flood]);
}

/// What has ended moves on, too, and is still known.
#[test]
fn a_member_beside_a_late_commit_and_a_flood_after_its_period() {
    let beside = [
        PeriodModel::fill_that_asks_at_its_end,
        PeriodModel::write,
        PeriodModel::later_flood,
    ];
    explore(beside);
}

#[test]
fn a_fill_after_the_period_is_stored() {
    assert!(explore([PeriodModel::later_fill, PeriodModel::write]));
    assert!(explore([
        PeriodModel::later_fill,
        PeriodModel::write,
        PeriodModel::flood
    ]));
}

#[test]
#[should_panic(expected = "older than a late commit")]
fn a_fill_that_asks_before_its_fence_is_found_out() {
    explore([
        PeriodModel::fill_that_asks_before_its_fence,
        PeriodModel::write,
    ]);
}

#[test]
#[should_panic(expected = "older than a late commit")]
fn a_period_that_begins_after_the_invalidation_is_found_out() {
    explore([PeriodModel::fill, PeriodModel::write_that_begins_late]);
}
