//! Lookups and invalidations have separate health: a slow or failing lookup never keeps an
//! invalidation from being tried.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_response_cache::backend::{
    Backend, BackendError, BreakerState, ForwardBackend, Guarded, Health, InvalidationTarget,
    Lookup, MemoryBackend, MemoryFence, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::CacheKey;

use crate::support::sample::{Sample, at};

/// How an operation of the remote backend ends.
#[derive(Clone, Copy, Debug, Default)]
enum Behavior {
    #[default]
    Answers,
    AnswersAfter(Duration),
    /// While the network carries so many bytes of others.
    AnswersAfterOthers(Duration, u64),
    Fails,
    Hangs,
}

impl Behavior {
    async fn apply(self, transferred: &AtomicU64) -> Result<(), BackendError> {
        match self {
            Self::Answers => {}
            Self::AnswersAfter(time) => sleep(time).await,
            Self::AnswersAfterOthers(time, bytes) => {
                for _ in 0..10 {
                    sleep(time / 10).await;
                    transferred.fetch_add(bytes / 10, Ordering::SeqCst);
                }
            }
            Self::Fails => return Err(BackendError::new("broken")),
            Self::Hangs => std::future::pending().await,
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Behaviors {
    lookup: Behavior,
    store: Behavior,
    invalidation: Behavior,
}

#[derive(Clone)]
struct Remote {
    memory: MemoryBackend,
    behaviors: Arc<Mutex<Behaviors>>,
    /// The invalidations that were tried.
    tried: Arc<AtomicUsize>,
    transferred: Arc<AtomicU64>,
}

impl Remote {
    fn behaviors(&self) -> MutexGuard<'_, Behaviors> {
        self.behaviors.lock().expect("no panic")
    }

    fn tried(&self) -> usize {
        self.tried.load(Ordering::SeqCst)
    }
}

impl ForwardBackend for Remote {
    type Inner = MemoryBackend;

    fn inner(&self) -> &MemoryBackend {
        &self.memory
    }

    fn get_now(&self, _: &CacheKey) -> Option<Lookup<MemoryFence>> {
        None
    }

    fn transferred_bytes(&self) -> u64 {
        self.transferred.load(Ordering::SeqCst)
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<MemoryFence>, BackendError> {
        let behavior = self.behaviors().lookup;
        behavior.apply(&self.transferred).await?;
        self.memory.get(key, now).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: MemoryFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        let behavior = self.behaviors().store;
        behavior.apply(&self.transferred).await?;
        self.memory.put(key, fence, response, now).await
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        self.tried.fetch_add(1, Ordering::SeqCst);
        let behavior = self.behaviors().invalidation;
        behavior.apply(&self.transferred).await?;
        self.memory.invalidate(target).await
    }
}

struct Setup {
    remote: Remote,
    guarded: Guarded<Remote>,
    sample: Sample,
    target: InvalidationTarget,
}

impl Setup {
    async fn new() -> Self {
        let remote = Remote {
            memory: MemoryBackend::new(64 << 20),
            behaviors: Arc::default(),
            tried: Arc::default(),
            transferred: Arc::default(),
        };
        let guarded = Guarded::new(remote.clone());
        let sample = Sample::of(&remote, "/a", "body").await;
        let target = InvalidationTarget::Resource(*sample.key.resource());
        Self {
            remote,
            guarded,
            sample,
            target,
        }
    }

    fn health(&self) -> Health {
        self.guarded.health().expect("its health")
    }

    /// Lookups over a second, most of which the breaker refuses in the end.
    async fn looks_up(&self) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            let _ = self.guarded.get(&self.sample.key, at(0)).await;
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn invalidates(&self) -> bool {
        self.guarded.invalidate(&self.target).await.is_ok()
    }
}

/// Lookups over a slow link open their breaker, and 20 writes are delivered at once.
#[tokio::test(start_paused = true)]
async fn invalidations_are_tried_while_lookups_are_too_slow() {
    let slow = Behavior::AnswersAfter(Duration::from_millis(60));
    for lookup in [slow, Behavior::Hangs, Behavior::Fails] {
        let setup = Setup::new().await;
        setup.remote.behaviors().lookup = lookup;
        setup.looks_up().await;
        assert_ne!(setup.health().breaker, BreakerState::Closed, "{lookup:?}");
        let mut delivered = 0;
        for _ in 0..20 {
            delivered += usize::from(setup.invalidates().await);
        }
        assert_eq!((delivered, setup.remote.tried()), (20, 20), "{lookup:?}");
        assert_eq!(setup.health().skipped_invalidations, 0, "{lookup:?}");
        assert_eq!(setup.health().undelivered, 0, "{lookup:?}");
    }
}

/// Invalidations that cannot be delivered say nothing of lookups.
#[tokio::test(start_paused = true)]
async fn lookups_go_on_while_invalidations_fail_and_each_invalidation_is_tried() {
    let setup = Setup::new().await;
    let other = Sample::of(&setup.remote, "/b", "other").await;
    other.store(&setup.guarded).await;
    setup.remote.behaviors().invalidation = Behavior::Fails;
    for _ in 0..100 {
        assert!(other.body(&setup.guarded).await.is_some());
        assert!(!setup.invalidates().await);
        sleep(Duration::from_millis(20)).await;
    }
    let health = setup.health();
    assert_eq!(health.invalidation_breaker, BreakerState::Open);
    assert_eq!(health.breaker, BreakerState::Closed);
    assert_eq!(health.skipped_invalidations, 0);
    assert!(setup.remote.tried() >= 100);
    // The first one that is acknowledged is the probe of its breaker.
    setup.remote.behaviors().invalidation = Behavior::Answers;
    assert!(setup.invalidates().await);
    let health = setup.health();
    assert_eq!(health.invalidation_breaker, BreakerState::Closed);
    assert_eq!(health.undelivered, 0);
}

/// An outage costs writers no more than before: invalidations are skipped once they have failed by
/// themselves, and delivered later.
#[tokio::test(start_paused = true)]
async fn a_backend_that_answers_nothing_is_left_alone_and_told_later() {
    let setup = Setup::new().await;
    *setup.remote.behaviors() = Behaviors {
        lookup: Behavior::Hangs,
        store: Behavior::Hangs,
        invalidation: Behavior::Hangs,
    };
    setup.looks_up().await;
    for _ in 0..20 {
        assert!(!setup.invalidates().await);
    }
    let health = setup.health();
    assert_ne!(health.invalidation_breaker, BreakerState::Closed);
    assert!(health.skipped_invalidations > 0, "{health:?}");
    let start = Instant::now();
    while setup.health().invalidation_breaker == BreakerState::HalfOpen {
        sleep(Duration::from_millis(10)).await;
    }
    let waited = start.elapsed();
    assert!(!setup.invalidates().await);
    assert_eq!(start.elapsed(), waited, "a skipped invalidation waits");
    assert_eq!(setup.health().undelivered, 1);
    *setup.remote.behaviors() = Behaviors::default();
    sleep(Duration::from_secs(20)).await;
    let health = setup.health();
    assert_eq!((health.undelivered, health.replayed), (0, 1));
    assert_eq!(health.invalidation_breaker, BreakerState::Closed);
}

/// The transfer of a large response takes its time: stores that end by their deadline are no
/// failures, and the deadline grows with the response, by a second for each MiB.
#[tokio::test(start_paused = true)]
async fn slow_stores_are_no_failures_and_large_ones_have_more_time() {
    let setup = Setup::new().await;
    let large = Sample::of(&setup.remote, "/large", "x".repeat(512 << 10).leak()).await;
    let [in_time, too_late] = [2450, 2700].map(Duration::from_millis);
    for (takes, is_stored) in [(in_time, true), (too_late, false)] {
        setup.remote.behaviors().store = Behavior::AnswersAfter(takes);
        for _ in 0..12 {
            let fence = large.fence(&setup.guarded).await;
            let (key, response) = (&large.key, large.response.clone());
            let put = setup.guarded.put(key, fence, response, at(0)).await;
            assert_eq!(put.is_ok(), is_stored, "{takes:?}");
        }
        assert_eq!(setup.health().breaker, BreakerState::Closed, "{takes:?}");
    }
    // A small one has two seconds, as ever.
    setup.remote.behaviors().store = Behavior::AnswersAfter(Duration::from_millis(2100));
    let fence = setup.sample.fence(&setup.guarded).await;
    let (key, response) = (&setup.sample.key, setup.sample.response.clone());
    assert!(
        setup
            .guarded
            .put(key, fence, response, at(0))
            .await
            .is_err()
    );
}

/// Promise: a network that is busy with other responses is no slow backend. A lookup may take a
/// second longer for each 8 MiB, and ten times as long in all.
#[tokio::test(start_paused = true)]
async fn lookups_have_more_time_while_responses_are_transferred() {
    const MIB: u64 = 1024 * 1024;
    for (millis, bytes, is_found, is_healthy) in [
        // The deadline is 50 ms.
        (140, MIB, true, true),
        (160, MIB, true, true),
        (190, MIB, false, false),
        (470, 100 * MIB, true, true),
        (510, 100 * MIB, false, false),
        // A slow server, beside few small responses.
        (40, 4096, true, true),
        (60, 4096, false, false),
    ] {
        let setup = Setup::new().await;
        setup.sample.store(&setup.remote).await;
        let time = Duration::from_millis(millis);
        setup.remote.behaviors().lookup = Behavior::AnswersAfterOthers(time, bytes);
        let mut found = 0;
        let closed = |setup: &Setup| setup.health().breaker == BreakerState::Closed;
        for _ in 0..12 {
            let lookup = setup.guarded.get(&setup.sample.key, at(0)).await;
            found += usize::from(lookup.is_ok());
        }
        let case = format!("{millis} ms, {bytes} bytes");
        assert_eq!(found > 0, is_found, "{case}");
        assert_eq!(closed(&setup), is_healthy, "{case}");
    }
}

/// Promise: a cache that answers is asked. On a busy machine, or over a slow network, each lookup
/// may take most of its deadline, and its hits are what relieves the machine.
#[tokio::test(start_paused = true)]
async fn lookups_that_are_answered_by_their_deadline_are_no_failures() {
    for (millis, is_asked) in [(26, true), (49, true), (51, false)] {
        let setup = Setup::new().await;
        setup.sample.store(&setup.remote).await;
        let time = Duration::from_millis(millis);
        setup.remote.behaviors().lookup = Behavior::AnswersAfter(time);
        let mut found = 0;
        for _ in 0..100 {
            let lookup = setup.guarded.get(&setup.sample.key, at(0)).await;
            found += usize::from(matches!(lookup, Ok(Lookup::Found(..))));
        }
        assert_eq!(found, if is_asked { 100 } else { 0 }, "{time:?}");
        let opened = setup.health().opened;
        assert_eq!(opened > 0, !is_asked, "{time:?}");
    }
}

/// The probe of an open breaker is such a lookup, too.
#[tokio::test(start_paused = true)]
async fn a_probe_that_is_answered_by_its_deadline_closes_the_breaker() {
    for (millis, is_closed) in [(26, true), (49, true), (51, false)] {
        let setup = Setup::new().await;
        setup.sample.store(&setup.remote).await;
        setup.remote.behaviors().lookup = Behavior::Fails;
        setup.looks_up().await;
        assert_ne!(setup.health().breaker, BreakerState::Closed);
        let time = Duration::from_millis(millis);
        setup.remote.behaviors().lookup = Behavior::AnswersAfter(time);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(3) {
            let _ = setup.guarded.get(&setup.sample.key, at(0)).await;
            sleep(Duration::from_millis(1)).await;
        }
        let state = setup.health().breaker;
        assert_eq!(state == BreakerState::Closed, is_closed, "{time:?}");
    }
}

/// A process that is too busy to end lookups in time does not hold that against the backend: without
/// its cache it would be busier.
#[tokio::test(start_paused = true)]
async fn lookups_whose_deadline_is_noticed_late_tell_nothing() {
    for (noticed, is_closed) in [(55, false), (70, false), (80, true), (500, true)] {
        let setup = Setup::new().await;
        setup.remote.behaviors().lookup = Behavior::Hangs;
        let lookups: Vec<_> = (0..20)
            .map(|_| {
                let (guarded, key) = (setup.guarded.clone(), setup.sample.key);
                tokio::spawn(async move { guarded.get(&key, at(0)).await.is_err() })
            })
            .collect();
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_millis(noticed)).await;
        for lookup in lookups {
            assert!(lookup.await.expect("no panic"), "none is answered");
        }
        let health = setup.health();
        assert_eq!(health.timeouts, 20, "{noticed} ms");
        assert_eq!(
            health.breaker == BreakerState::Closed,
            is_closed,
            "{noticed} ms"
        );
    }
}
