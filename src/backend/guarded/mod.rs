//! A wrapper for backends that can fail: deadlines, a circuit breaker, and invalidations that are
//! delivered later.
//!
//! ```text
//! mod         Guarded                       options      sets deadlines and limits
//! backend     the Backend implementation    guard        state, checks before operations
//! attempt     one operation: its outcome    breaker      the circuit breaker
//! delivery    an invalidation in progress   undelivered  the invalidations still to deliver
//! redelivery  deliveries in the background
//! ```
//!
//! Knows the [`Backend`] contract and nothing of the backends. Start reading at `backend`.

mod attempt;
mod backend;
mod breaker;
mod counts;
mod delivery;
mod error;
mod guard;
mod options;
mod redelivery;
mod undelivered;

pub use self::undelivered::GuardedFence;

use std::fmt;
use std::sync::Arc;

use self::guard::{Guard, GuardOptions};
use super::Backend;

/// Wraps a backend that can fail: deadlines and a circuit breaker limit the delay it causes, and
/// invalidations that it missed are delivered later.
///
/// Use it for every backend that is reached over a network. The numbers below are the defaults.
/// Clones share one state. Set the options before cloning: setting one makes a new `Guarded` around
/// the same backend, with a state of its own.
///
/// * **Deadlines.** A lookup may take 50 ms for each of its round trips, an invalidation 250 ms, and a store 2 s. A read waits
///   for lookups, a write for invalidations, and no request for a store. An operation that takes
///   longer is cancelled and fails. An operation that transfers a response to the backend has a
///   second more for each MiB, and a lookup has more time while responses are
///   [transferred](Self::lookup_deadline).
/// * **Circuit breaker.** An operation counts as a failure if it fails, or is not answered by its
///   deadline. The breaker opens at a failure, when at least ten operations have ended in
///   the last ten seconds and at least half of them were failures; or when at least ten failures in
///   a row span 250 ms or more, however rare they are. While it is open, all operations fail at once. After 500 ms one
///   operation is let through as a probe. Each failed probe doubles the time to the next one, up to
///   5 s. All these delays vary at random by up to a quarter, so that instances do not probe at the
///   same moment. Opening and closing are logged.
/// * **Separate health.** Invalidations have a circuit breaker of their own. They are skipped only
///   while it is open *and* no lookup or store has succeeded for a second: a backend that is too
///   slow for lookups still gets every invalidation, and one that answers lookups is tried again
///   with each. The number of skipped ones is [`skipped_invalidations`].
/// * **Undelivered invalidations.** An invalidation that the backend has not acknowledged is
///   recorded before the write is answered. Until it is delivered, this instance does not read the
///   resource from the backend, and treats members of an invalidated group as misses. A background
///   task delivers it as soon as the backend answers again. If more than 16,384 resources and
///   groups are recorded, the task clears the whole backend instead, and nothing is read from it
///   before that. An expiration ([`CacheHandle::expire`](crate::CacheHandle::expire)) is delivered
///   as one, unless its target, or everything, is to be removed too. A write of
///   [unknown outcome](crate::WriteOutcome) is delivered with the rest of the time in which nothing
///   may be stored of its resource.
///   [`CacheHandle::shutdown`](crate::CacheHandle::shutdown) delivers pending invalidations; those
///   that it cannot deliver in its time are lost, and an error is logged.
///
/// An operation whose client left counts as a failure if it had taken more than half of its
/// deadline by then. If its end is noticed later than one and a half times the deadline, this
/// process was too busy to end the operation in time. That shows an overloaded process, not a
/// failing backend, and counts as nothing. An operation that a healthy backend
/// [refuses](crate::backend::BackendError::refused) is no failure either; it is counted as
/// [`refused`](crate::backend::Health::refused). One that was
/// [not attempted](crate::backend::BackendError::unavailable), or whose error
/// [tells nothing](crate::backend::BackendError::inconclusive), counts as nothing. So does a store
/// of more than 32 KiB that takes too long; it is never a probe.
///
/// [`skipped_invalidations`]: crate::backend::Health::skipped_invalidations
///
/// # During an outage
///
/// The cache is slow, but not broken: the inner service answers. Concurrent misses of a key make at
/// most two calls: those that arrive while the first call runs share a second one, which starts
/// when the first has responded. They cannot share the first one: another instance may have
/// answered a write since that call started, and this instance would not notice.
///
/// If an instance answers a write while it cannot reach the backend, later requests **at that
/// instance** never get older data. Other instances that still reach the backend may serve the old
/// response until the invalidation is delivered or, if the first instance dies before that, until
/// the response expires.
///
/// # Example
///
/// ```
/// # use std::time::Duration;
/// use tower_response_cache::backend::{Guarded, MemoryBackend};
///
/// let backend = Guarded::new(MemoryBackend::default()).lookup_deadline(Duration::from_millis(20));
/// ```
///
/// # The inner service
///
/// `Guarded` protects requests from a failing backend. To protect them from a failing inner
/// service, use tower's own layers *inside* of the cache, so that hits and stale responses are
/// answered while it fails:
///
/// ```
/// # use std::{convert::Infallible, time::Duration};
/// # use bytes::Bytes;
/// # use http::{Request, Response};
/// # use http_body_util::Full;
/// # use tower::{ServiceBuilder, ServiceExt, service_fn};
/// # use tower_response_cache::{CacheLayer, backend::{Guarded, MemoryBackend}};
/// # let origin = service_fn(async |_: Request<()>| {
/// #     Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
/// # });
/// let service = ServiceBuilder::new()
///     .layer(CacheLayer::new(Guarded::new(MemoryBackend::default())))
///     .load_shed()                      // fails at once if the limit below is reached
///     .concurrency_limit(64)
///     .timeout(Duration::from_secs(5))  // fails; a stale response may be served instead
///     .service(origin);
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # service.oneshot(Request::get("http://test.example/").body(()).unwrap()).await.unwrap();
/// # });
/// ```
pub struct Guarded<B: Backend>(Arc<Guard<B>>);

impl<B: Backend> Guarded<B> {
    /// Wraps a backend, with default options.
    #[must_use]
    pub fn new(backend: B) -> Self {
        Self(Arc::new(Guard::new(backend, GuardOptions::default())))
    }
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
