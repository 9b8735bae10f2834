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
/// The stored responses, the counters, the calls in flight and the bytes in memory belong to the
/// layer. Its clones and all services that [`layer`](Layer::layer) makes share them. Each clone may
/// have options of its own: setting an option changes neither other clones nor services that were
/// made before.
///
/// # Stacked layers
///
/// A request may pass several layers of one cache, such as the default of a router and that of one
/// of its routes. They are one cache for it: the outermost layer looks up, calls, stores,
/// invalidates, counts and adds `Cache-Status`; those further inside pass the request on, and hand
/// their options outwards. A route overrides the default like this:
///
/// ```
/// # use std::time::Duration;
/// # use axum::{Router, routing::get};
/// # use tower_response_cache::{CacheLayer, backend::MemoryBackend};
/// let cache = CacheLayer::new(MemoryBackend::default()).ttl(Duration::from_secs(60));
/// let rates = get(async || "1.08").layer(cache.clone().ttl(Duration::from_secs(300)));
/// let app: Router = Router::new().route("/rates", rates).layer(cache);
/// ```
///
/// The innermost layer that a request has passed judges the response: its options of freshness
/// (without those about request directives), storing (without
/// [`max_buffered_bytes`](Self::max_buffered_bytes) and
/// [`max_lingering_bytes`](Self::max_lingering_bytes)), stale responses (without
/// [`failure_backoff`](Self::failure_backoff)) and writes (without
/// [`max_detached_writes`](Self::max_detached_writes)) count. The outermost layer has decided
/// the rest before the request came that far: keys, [`skip`](Self::skip), coalescing, refreshing,
/// `Cache-Status`, clock and random numbers. Some options are combined, so that none is missed:
///
/// * [`also_invalidate`](Self::also_invalidate): the functions of all layers are called.
/// * [`classify_writes`](Self::classify_writes): the function of the innermost layer that has one.
/// * [`write_through`](Self::write_through) and [`store_posts`](Self::store_posts): all layers must
///   allow it.
/// * [`skip`](Self::skip) and [`key`](Self::key): a response is not stored if an inner layer skips
///   the request or has a key hook of its own, because the stored response would not be what that
///   layer allows.
///
/// A write invalidates its resource as each layer sees it, because a service between two layers may
/// rewrite the target. If the outer layer has no key for a write, the next one handles it.
///
/// Layers of different caches do not know of each other: each looks up, stores and adds its member
/// to `Cache-Status`. Layers recognize each other by an extension of the request, while the outer
/// one waits for the response. A service between them has to keep the extensions; a handler that
/// sends requests of its own through the cache must not copy them.
///
/// # HEAD
///
/// A HEAD is answered from the response that is stored for GET. If it has to be forwarded, for
/// example because it says `no-cache`, a 200 tells about that one stored response (RFC 9111
/// §4.3.5):
///
/// * If its `ETag`, `Last-Modified` and `Content-Length`, as far as it has them, are those of the
///   stored response, the stored header fields are updated.
/// * If one of them differs, the stored response becomes stale: the next GET validates it, unless a
///   stale response may be used.
/// * If it has no such field, is in another content coding (as from a server that compresses GET
///   alone), or could not be stored if it were the response to a GET (`private`, `no-store`),
///   nothing changes.
///
/// A HEAD removes nothing, and other variants, queries and resources are never touched. Its own
/// response is not stored.
///
/// # Conditions of the cache
///
/// The cache adds validators and ranges to the requests that it forwards. A 304, 412 or 416 to
/// these does not reach a client that did not ask for it: the request is sent once more without
/// them. On axum, and wherever requests have a body type that the cache does not know, this needs
/// [`empty_request_body`](Self::empty_request_body), which says what happens otherwise.
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
/// | [requests with content](#requests-with-content) | QUERY, and POSTs that only read |
/// | [writes](#writes) | what a write invalidates or stores |
/// | [coalescing](#coalescing) | how requests share a call to the inner service |
/// | [stale responses](#stale-responses) | when a response is used beyond its lifetime |
/// | [refreshing](#refreshing) | when a response is fetched again in the background |
/// | [`Cache-Status`](#cache-status) | how the cache explains itself in responses |
/// | compression | with the feature `compress`: coded forms, made once |
/// | [time and randomness](#time-and-randomness) | clocks and random numbers for tests |
///
/// Names follow one scheme. Limits begin with `max_`. Durations end in `_timeout`, `_ttl`,
/// `_window` or `_backoff`; the three `stale_*` windows are named like the directives of RFC 5861.
/// Switches take a `bool`.
///
/// Options accept any value of their type unless their documentation has a section on panics. Each
/// option that can panic has a `try_` counterpart, which returns an
/// [`InvalidOption`](crate::InvalidOption) instead: use it for values that come from a
/// configuration file.
///
/// # Long fields
///
/// The work for one request is bounded, however long its fields are. A field that is too long is
/// not read in part, but means what costs its sender alone:
///
/// | field of a request | limit in bytes | beyond it |
/// |---|---|---|
/// | `Cache-Control`, `Pragma` | 8 KiB | `no-cache` and `no-store` |
/// | `If-None-Match`, `Range`, `If-Range` | 8 KiB | the whole response |
/// | all fields that `Vary` names | 16 KiB | not compared, not stored: `long-selecting-fields` |
/// | `Accept`, `Accept-*` | 1 KiB | compared as they are, without normalization |
///
/// Each line counts two bytes more than its value. A response whose `Vary` names more than 32
/// fields is not stored (`vary`).
///
/// # Functions given to options
///
/// Functions that are given to options run on the path of a request. They must not block. A panic
/// in one of them is caught, and logged at most once a second for each option, with the method and
/// the path of the request. It costs no client its answer, except where a write would go on without
/// a key.
///
/// | the panic is in | then |
/// |---|---|
/// | `key`, `key_by` | a read bypasses the cache; a write is answered 500, and not carried out |
/// | `skip`, `on_rewritten_target` | the read bypasses the cache |
/// | `read_only_posts` | the POST is a write |
/// | `ttl_by`, `store_if` | the response is not stored |
/// | `classify_writes` | the outcome of the write is unknown |
/// | `also_invalidate` | the write invalidates everything else that it names |
/// | a [`Backend`] | the operation has failed |
///
/// The reasons are counted as `hook-panicked` in
/// [`Stats::bypasses`](crate::stats::Stats::bypasses) and
/// [`Stats::refusals`](crate::stats::Stats::refusals). A program that is built with
/// `panic = "abort"` ends at the first panic: there is nothing to catch. Panics of the inner
/// service are its own and reach the caller. A [clock](Self::clock), a source of
/// [random](Self::random) numbers and a function for
/// [empty bodies](Self::empty_request_body) or [request bodies](Self::request_body) must not panic.
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

impl<S: 'static, B: Backend> Layer<S> for CacheLayer<B> {
    type Service = Cache<S, B>;

    fn layer(&self, inner: S) -> Cache<S, B> {
        Cache::new(inner, self.state.clone())
    }
}

impl<B: Backend> CacheLayer<B> {
    /// Creates a cache over a backend, with the default options.
    ///
    /// It follows RFC 9111 as a shared cache. A response is reused if it states its freshness, or
    /// if its [status](Self#which-statuses-are-stored) and `Last-Modified` let it be estimated
    /// (§4.2.2). Other responses are stored only if [`ttl`](Self::ttl) or [`ttl_by`](Self::ttl_by)
    /// gives them a lifetime.
    #[must_use]
    pub fn new(backend: B) -> Self {
        Self {
            state: LayerState::new(backend),
        }
    }

    /// Returns a handle for application code: it invalidates, clears, reads statistics and shuts
    /// down.
    ///
    /// The handle names resources by the [`scope`](Self::scope), the [`sites`](Self::sites) and the
    /// [`authority`](Self::authority) that the layer has now: set these options first.
    #[must_use]
    pub fn handle(&self) -> CacheHandle<B> {
        CacheHandle::new(self.state.clone())
    }

    /// A layer of the same cache with all options at their defaults.
    #[cfg(feature = "serde")]
    pub(super) fn with_defaults(&self) -> Self {
        let shared = self.state.shared.clone();
        let config = Arc::default();
        Self {
            state: LayerState { config, shared },
        }
    }

    /// The options, as data.
    #[cfg(all(test, feature = "serde"))]
    pub(super) fn config(&self) -> &Config {
        &self.state.config
    }

    pub(super) fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        let config = Arc::make_mut(&mut self.state.config);
        set(config);
        config.update_routes();
        self
    }
}
