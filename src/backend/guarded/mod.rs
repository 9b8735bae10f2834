//! A wrapper for backends that can fail: deadlines, a circuit breaker, and invalidations that are
//! delivered later.
//!
//! ```text
//! mod       Guarded, its fence                 options      sets deadlines and limits
//! backend   the Backend implementation         guard        shared state, checks before operations
//! attempt   one operation: its outcome         breaker      the circuit breaker
//! delivery  an invalidation in progress        samples      the outcomes that open it
//! replay    deliveries in the background       undelivered  the invalidations still to deliver
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
mod replay;
mod samples;
mod undelivered;

pub use self::undelivered::GuardedFence;

use std::fmt;
use std::sync::Arc;

use self::guard::{Guard, GuardOptions};
use super::Backend;

/// Limits what a failing backend costs, and delivers the invalidations that it has missed.
///
/// Wrap every backend in it that is reached over a network.
///
/// * **Deadlines.** A lookup takes at most 50 ms, an invalidation, which the write waits for, at
///   most 250 ms, and a store, which no request waits for, at most 2 s.
/// * **Circuit breaker.** It opens when at least ten operations ended in the last ten seconds and
///   half of them have failed or taken more than half of their deadline; or when ten in a row have
///   failed for at least 250 ms. While it is open, all operations fail at once. After 500 ms one
///   operation is let through as a probe; as long as probes fail, the time between them doubles, up
///   to 5 s. A random quarter more or less keeps instances from probing at the same moment. Each
///   change of state is logged.
/// * **Undelivered invalidations.** An invalidation that the backend has not acknowledged is
///   recorded before the write is answered. Until it is delivered, this instance does not read the
///   resource from the backend, and treats members of the group as misses. A background task
///   delivers it as soon as the backend answers again. If more than 16,384 resources and groups are
///   recorded, the whole backend is cleared instead, and nothing is read until then.
///   [`CacheHandle::shutdown`](crate::CacheHandle::shutdown) delivers the rest; what remains is
///   logged.
///
/// An operation whose client left counts as a failure if it was slow by then. An operation that
/// ended long after its deadline does not count: then this process is overloaded, not the backend.
///
/// # During an outage
///
/// The cache is slow, but not broken: the inner service answers. Concurrent misses of a key take at
/// most two calls. A request only shares a call that has not started yet, because a write at
/// another instance would not be noticed.
///
/// A write that was answered while its instance could not reach the backend is never followed by
/// older data **at that instance**. Other instances that still reach the backend may serve the old
/// response until the invalidation is delivered or, if that instance dies first, until the response
/// expires.
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
/// A guard protects requests from the backend. To protect them from the inner service, use tower's
/// own layers *inside* of the cache, so that hits and stale responses are answered while it fails:
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
    /// Guards a backend with default options. Clones share its state.
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
