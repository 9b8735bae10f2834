//! The layer itself: what clones share, and how services are made.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::backend::Backend;
use crate::config::Config;
use crate::handle::CacheHandle;
use crate::service::Cache;
use crate::state::LayerState;

/// A tower layer that puts an HTTP response cache before a service.
///
/// ```
/// use std::time::Duration;
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// let cache = CacheLayer::new(MemoryBackend::default())
///     .ttl(Duration::from_secs(60))
///     .stale_while_revalidate(Duration::from_secs(10));
/// let service = tower::ServiceBuilder::new()
///     .layer(cache.clone())
///     .service_fn(async |_: http::Request<()>| {
///         Ok::<_, std::convert::Infallible>(http::Response::new("hello".to_owned()))
///     });
/// # let _ = service;
/// let stats = cache.handle().stats();
/// assert_eq!(stats.hits, 0);
/// ```
///
/// # Shared state
///
/// The stored responses, the counters and the limits belong to the layer. The services that
/// [`layer`](Layer::layer) makes and the clones of the layer share them, even if the clones are
/// given other options. Options are read when a service is made: set them before.
///
/// # Options
///
/// Every option has a safe default. They are grouped by topic below:
///
/// | topic | options |
/// |---|---|
/// | [freshness](#freshness) | how long a response is fresh, and which directives count |
/// | [storing](#storing) | which responses are stored, and how large they may be |
/// | [keys](#keys) | which requests share a stored response, and which bypass the cache |
/// | [writes](#writes) | what a write invalidates or stores |
/// | [coalescing](#coalescing) | how requests share a call to the inner service |
/// | [stale responses](#stale-responses) | when a response is used beyond its lifetime |
/// | [refreshing](#refreshing) | when a response is fetched again in the background |
/// | [`Cache-Status`](#cache-status) | how the cache explains itself in responses |
/// | [time and randomness](#time-and-randomness) | clocks and random numbers for tests |
///
/// Names follow one scheme. Limits begin with `max_`. Durations end in `_timeout`, `_ttl`,
/// `_window` or `_backoff`; the three `stale_*` windows are named like the directives of RFC 5861.
/// Switches take a `bool`.
///
/// Options accept any value of their type unless their documentation has a section on panics. Each
/// option that can panic has a `try_` twin, which returns an
/// [`InvalidOption`](crate::InvalidOption) instead: use it for values that come from a
/// configuration file.
pub struct CacheLayer<B: Backend> {
    state: LayerState<B>,
}

impl<B: Backend> Clone for CacheLayer<B> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
        }
    }
}

impl<B: Backend> fmt::Debug for CacheLayer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer").finish_non_exhaustive()
    }
}

impl<S, B: Backend> Layer<S> for CacheLayer<B> {
    type Service = Cache<S, B>;

    fn layer(&self, inner: S) -> Cache<S, B> {
        Cache::new(inner, self.state.clone())
    }
}

impl<B: Backend> CacheLayer<B> {
    /// Creates a cache over a backend, with the default options.
    ///
    /// It follows RFC 9111 as a shared cache. A response is reused if it states its freshness, or
    /// if it has a `Last-Modified` from which a heuristic lifetime can be derived (§4.2.2). Other
    /// responses need a [`ttl`](Self::ttl).
    #[must_use]
    pub fn new(backend: B) -> Self {
        Self {
            state: LayerState::new(backend),
        }
    }

    /// Returns a handle that invalidates, clears and reads statistics from outside the request
    /// path.
    ///
    /// The handle names resources by the [`scope`](Self::scope) and the
    /// [`authority`](Self::authority) that the layer has now: take it after these are set.
    #[must_use]
    pub fn handle(&self) -> CacheHandle<B> {
        CacheHandle::new(self.state.clone())
    }

    pub(super) fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(Arc::make_mut(&mut self.state.config));
        self
    }
}
