//! A backend that may fail, guarded: it costs a bounded time, and what it could not be told is not forgotten.

mod breaker;
mod guarding;
mod options;
mod replay;
mod undelivered;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use self::breaker::{Breaker, Permit};
use self::guarding::Guarding;
use self::options::Options;
use self::undelivered::{Began, Due, Undelivered};
use super::{
    Backend, BackendError, CacheKey, DigestSeed, Health, Lookup, Moment, Put, Resource,
    StoredResponse, Target, Usage,
};
use crate::timeout::with_timeout;

/// Puts a limit to what a backend that fails costs, and sees to it that it is told in the end what it could not be told.
///
/// * Every operation has a **deadline**: 50 ms for a lookup, 250 ms for an invalidation (which a write waits for), 2 s for
///   a store (which nobody waits for).
/// * A **circuit breaker**: when of the operations of the last ten seconds (ten at least) half have failed or taken more
///   than half of their deadline, or ten in a row and nothing has gone well for a quarter of a second, the backend is not
///   asked any more; every operation then fails at once. After half a second, then after twice as long each time up to
///   five seconds, one operation is let through to find out; by chance a little earlier or later, so that instances do not
///   come back together. Each change is one line in the log. What was given up by its client counts, too, if it was slow
///   by then; what came in the end, but is noticed long after its deadline, does not: this process is what is slow then.
/// * **Undelivered invalidations** are remembered, up to 16,384 resources and groups: one that was not acknowledged (a reply
///   that was lost is no acknowledgement) is noted *before* the write is answered, and from then on the backend is not read
///   for that resource until it has acknowledged; of a group, what is found counts as missing. They are delivered in the background as soon as it answers again, before
///   anything else that concerns them is read. If there are more, the backend is cleared instead, and not read at all
///   until then. [`CacheHandle::shutdown`](crate::CacheHandle::shutdown) delivers what is left; what it could not is
///   logged.
///
/// So while the backend is away the cache is a slow cache, not a broken one. The inner service answers; concurrent misses
/// of a key are two calls at most, because only a call that has not begun may be shared: nobody would tell of a write
/// elsewhere.
///
/// A write that was answered while its instance could not reach the backend is never followed by older data *at that
/// instance*. Others that still reach it may serve what is stored until that instance delivers, or, if it dies first,
/// until it expires.
///
/// ```
/// # use std::time::Duration;
/// use tower_response_cache::backend::{Guarded, MemoryBackend};
///
/// let backend = Guarded::new(MemoryBackend::default()).lookup_deadline(Duration::from_millis(20));
/// ```
///
/// It guards the cache against its backend. For the inner service there are tower's own layers, *inside* of the cache, so
/// that hits and stale responses are answered whatever becomes of it:
///
/// ```
/// # use std::{convert::Infallible, time::Duration};
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use tower::{ServiceBuilder, ServiceExt, service_fn};
/// # use tower_response_cache::{CacheLayer, backend::{Guarded, MemoryBackend}};
/// # let origin = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())));
/// let service = ServiceBuilder::new()
///     .layer(CacheLayer::new(Guarded::new(MemoryBackend::default())))
///     .load_shed()                                // an error, at once, for what finds no place below
///     .concurrency_limit(64)
///     .timeout(Duration::from_secs(5))            // an error: what is stored may stand in for it
///     .service(origin);
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # service.oneshot(Request::get("http://test.example/").body(()).unwrap()).await.unwrap();
/// # });
/// ```
pub struct Guarded<B: Backend>(Arc<Guard<B>>);

/// The fence of a guarded backend, with what this instance alone knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardedFence<F> {
    fence: F,
    /// How often a group had come to be owed: what the backend was not told breaks no fence there, but a fill that began
    /// before must not be joined afterwards.
    groups: u64,
}

struct Guard<B: Backend> {
    backend: B,
    options: Options,
    breaker: Breaker,
    undelivered: Undelivered,
    is_replaying: AtomicBool,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    failures: AtomicU64,
    timeouts: AtomicU64,
    rejected: AtomicU64,
    replayed: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl<B: Backend> Clone for Guarded<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: Backend> fmt::Debug for Guarded<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("breaker", &self.0.breaker.state())
            .field("undelivered", &self.0.undelivered.count())
            .finish_non_exhaustive()
    }
}

impl<B: Backend> Guard<B> {
    /// Leave to ask once.
    fn turn(&self, deadline: Duration) -> Result<Turn<'_>, BackendError> {
        let Ok(permit) = self.breaker.admit() else {
            count(&self.counts.rejected);
            return Err(BackendError::unavailable(Guarding::Open));
        };
        Ok(self.turn_with(permit, deadline))
    }

    fn turn_with<'g>(&'g self, permit: Permit<'g>, deadline: Duration) -> Turn<'g> {
        Turn {
            permit: Some(permit),
            counts: &self.counts,
            deadline,
            began: Instant::now(),
        }
    }

    /// An error if what the backend holds may be too old to be read.
    fn is_settled(self: &Arc<Self>, resource: Option<&Resource>) -> Result<(), BackendError> {
        let concerns = match resource {
            Some(resource) => self.undelivered.concerns(resource),
            None => self.undelivered.is_any(),
        };
        if !concerns {
            return Ok(());
        }
        self.replay_aside();
        count(&self.counts.rejected);
        Err(BackendError::unavailable(Guarding::Undelivered))
    }

    /// Whether an invalidation is owed of what a response is of.
    fn concerns(&self, key: &CacheKey, response: &StoredResponse) -> bool {
        let owed = &self.undelivered;
        owed.concerns(key.resource()) || owed.concerns_one_of(response.groups())
    }

    /// What was found, unless it is of a group that the backend holds too old members of.
    fn counted(
        self: &Arc<Self>,
        found: Lookup<B::Fence>,
        began: Began,
    ) -> Lookup<GuardedFence<B::Fence>> {
        let groups = began.groups;
        match found.map_fence(|fence| GuardedFence { fence, groups }) {
            Lookup::Found(response, fence)
                if self.undelivered.concerned(response.groups(), began) =>
            {
                self.replay_aside();
                Lookup::Miss(fence)
            }
            found => found,
        }
    }

    /// Owes the backend an invalidation until it is told that that was delivered.
    fn owe(self: &Arc<Self>, due: Due) -> Debt<B> {
        Debt {
            begun: self.undelivered.begin(),
            guard: self.clone(),
            due,
            is_settled: false,
        }
    }

    /// Tells the backend, or notes that it is still to be told: whatever happens, also if nobody waits any more.
    async fn deliver<T>(
        &self,
        mut debt: Debt<B>,
        operation: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let turn = self.turn(self.options.invalidation)?;
        let done = with_timeout(self.options.invalidation, operation).await;
        let done = turn.ended(done);
        debt.is_settled = done.is_ok();
        done
    }
}

/// One operation on its way. Dropped before its end, it counts as slow if it was slow by then, and as nothing otherwise.
struct Turn<'g> {
    permit: Option<Permit<'g>>,
    counts: &'g Counts,
    deadline: Duration,
    began: Instant,
}

impl Turn<'_> {
    /// What is noticed very late was noticed late: it is this process that is slow, and without a cache it would be slower.
    fn is_slow(&self, took: Duration) -> bool {
        took > self.deadline / 2 && took <= self.deadline + self.deadline / 2
    }

    /// What came of it, if anything did in time.
    fn ended<T>(mut self, done: Option<Result<T, BackendError>>) -> Result<T, BackendError> {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.began);
        let is_slow = self.is_slow(took);
        let done = done.unwrap_or_else(|| {
            count(&self.counts.timeouts);
            Err(BackendError::new(Guarding::Late))
        });
        // One that refuses is well.
        let has_failed = done.as_ref().is_err_and(|error| !error.is_refused());
        if has_failed {
            count(&self.counts.failures);
        }
        if let Some(permit) = self.permit.take() {
            permit.went(has_failed || is_slow, now);
        }
        done
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.began);
        if let Some(permit) = self.permit.take()
            && self.is_slow(took)
        {
            permit.went(true, now);
        }
    }
}

/// An invalidation on its way.
struct Debt<B: Backend> {
    guard: Arc<Guard<B>>,
    due: Due,
    begun: u64,
    is_settled: bool,
}

impl<B: Backend> Drop for Debt<B> {
    fn drop(&mut self) {
        if self.is_settled {
            self.guard.undelivered.settle(self.due, self.begun);
        } else {
            self.guard.undelivered.add(self.due);
            self.guard.replay_aside();
        }
    }
}

impl<B: Backend> Backend for Guarded<B> {
    type Fence = GuardedFence<B::Fence>;

    fn get_now(&self, key: &CacheKey) -> Option<Lookup<Self::Fence>> {
        // What cannot be read is for `get` to say.
        if self.0.undelivered.concerns(key.resource()) {
            return None;
        }
        let began = self.0.undelivered.look();
        let found = self.0.backend.get_now(key)?;
        Some(self.0.counted(found, began))
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<Self::Fence>, BackendError> {
        let guard = &self.0;
        guard.is_settled(Some(key.resource()))?;
        let began = guard.undelivered.look();
        let turn = guard.turn(guard.options.lookup)?;
        let found = with_timeout(guard.options.lookup, guard.backend.get(key, now)).await;
        Ok(guard.counted(turn.ended(found)?, began))
    }

    async fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> Result<Option<Self::Fence>, BackendError> {
        let guard = &self.0;
        guard.is_settled(resource)?;
        let groups = guard.undelivered.look().groups;
        let turn = guard.turn(guard.options.lookup)?;
        let fence = with_timeout(guard.options.lookup, guard.backend.fence(resource)).await;
        let fence = turn.ended(fence)?;
        Ok(fence.map(|fence| GuardedFence { fence, groups }))
    }

    fn may_join(&self, resource: &Resource, flight: &Self::Fence, own: &Self::Fence) -> bool {
        own.groups <= flight.groups
            && (self.0.backend).may_join(resource, &flight.fence, &own.fence)
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        let guard = &self.0;
        // What is settled by now has broken the fence where it was delivered.
        if guard.concerns(key, &response) {
            return Ok(Put::Superseded);
        }
        // That would say nothing of the backend's health.
        if response.weight() as u64 > guard.backend.largest() {
            return Ok(Put::TooLarge);
        }
        let turn = guard.turn(guard.options.store)?;
        let put = guard.backend.put(key, fence.fence, response, now);
        turn.ended(with_timeout(guard.options.store, put).await)
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        let (guard, target) = (&self.0, Target::Resource(*key.resource()));
        // First the debt, then the question: what is owed since is not settled by this.
        let debt = guard.owe(Due::This(target));
        if guard.concerns(key, &response) {
            // The write that could not be delivered has broken this fence, too: nobody but us knows.
            guard
                .deliver(debt, guard.backend.invalidate(&target))
                .await?;
            return Ok(Put::Superseded);
        }
        let replace = guard.backend.replace(key, fence.fence, response, now);
        guard.deliver(debt, replace).await
    }

    async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
        let invalidation = self.0.backend.invalidate(target);
        self.0
            .deliver(self.0.owe(Due::This(*target)), invalidation)
            .await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        let debt = self.0.owe(Due::Everything);
        self.0.deliver(debt, self.0.backend.clear()).await
    }

    fn seed(&self) -> DigestSeed {
        self.0.backend.seed()
    }

    fn largest(&self) -> u64 {
        self.0.backend.largest()
    }

    fn usage(&self) -> Option<Usage> {
        self.0.backend.usage()
    }

    fn health(&self) -> Option<Health> {
        let (guard, read) = (&self.0, |counter: &AtomicU64| {
            counter.load(Ordering::Relaxed)
        });
        let (undelivered, to_be_cleared) = guard.undelivered.count();
        Some(Health {
            breaker: guard.breaker.state(),
            opened: guard.breaker.opened(),
            failures: read(&guard.counts.failures),
            timeouts: read(&guard.counts.timeouts),
            rejected: read(&guard.counts.rejected),
            replayed: read(&guard.counts.replayed),
            undelivered,
            to_be_cleared,
        })
    }

    async fn drain(&self) {
        let (targets, is_everything) = self.0.undelivered.count();
        if targets > 0 || is_everything {
            tracing::info!(targets, is_everything, "delivering what is owed");
        }
        self.0.replay().await;
        self.0.backend.drain().await;
    }
}
