//! The layer and its options.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, request, response};
use tower_layer::Layer;

use crate::backend::Backend;
use crate::clock::Clock;
use crate::config::{Config, StatusName};
use crate::handle::CacheHandle;
use crate::key::{Authority, KeyBy, KeyParts, MakeCacheKey, QueryRules};
use crate::random::Random;
use crate::semantics::cache_control::RequestDirective;
use crate::semantics::freshness::Ttl;
use crate::semantics::status::{CacheName, InvalidCacheName};
use crate::semantics::targeted::Targets;
use crate::service::Cache;
use crate::state::Shared;
use crate::write::Write;

/// Puts a cache before a service.
///
/// All state lives in the layer: services it makes, and clones of it, share what is stored, counted and limited, whatever
/// options they were given later. Every option can be set before [`layer`](Layer::layer) is called; those not set are
/// safe.
///
/// ```
/// use std::time::Duration;
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// const MIB: u64 = 1024 * 1024;
/// // Both ends must take what is to be stored: the layer captures it, the backend has room for it.
/// let backend = MemoryBackend::with_largest(256 * MIB, 5 * MIB);
/// let layer = CacheLayer::new(backend).ttl(Duration::from_secs(60)).max_body(4 * MIB);
/// ```
pub struct CacheLayer<B: Backend> {
    shared: Shared<B>,
}

impl<B: Backend> Clone for CacheLayer<B> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
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
        Cache::new(inner, self.shared.clone())
    }
}

impl<B: Backend> CacheLayer<B> {
    /// A cache over a backend, which follows RFC 9111: it reuses responses with explicit freshness, or with a
    /// `Last-Modified` to guess from where the status allows it. See [`ttl`](Self::ttl) for the others.
    #[must_use]
    pub fn new(backend: B) -> Self {
        Self {
            shared: Shared::new(backend),
        }
    }

    /// The cache from outside the request path: invalidate, clear, statistics.
    ///
    /// It names resources by the scope and authority that the layer has at this moment: take it from the finished layer.
    #[must_use]
    pub fn handle(&self) -> CacheHandle<B> {
        CacheHandle::new(self.shared.clone())
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(Arc::make_mut(&mut self.shared.config));
        self
    }

    /// Gives 200, 203, 204, 301 and 308 responses that say nothing of their freshness a lifetime of this cache's own
    /// (404 and 410: see [`negative_ttl`](Self::negative_ttl)). Default: none, such responses are not stored unless
    /// `Last-Modified` allows a guess. Answers to requests with `Cookie` are not given one: they may be somebody's own.
    ///
    /// `Cache-Control` and `Expires` are never added: browsers are beyond invalidation.
    #[must_use]
    pub fn ttl(self, ttl: impl Into<Ttl>) -> Self {
        let ttl = ttl.into();
        self.with(|config| config.ttl = Some(ttl))
    }

    /// The longest lifetime that [`ttl`](Self::ttl) gives to 404 and 410 responses. Default: 5 seconds.
    #[must_use]
    pub fn negative_ttl(self, ttl: Duration) -> Self {
        self.with(|config| config.negative_ttl = ttl)
    }

    /// Gives lifetimes by a response's head, whatever its status; `None` leaves the choice to [`ttl`](Self::ttl).
    /// Freshness that the response itself states wins. Default: none.
    #[must_use]
    pub fn ttl_by(
        self,
        ttl: impl Fn(&response::Parts) -> Option<Ttl> + Send + Sync + 'static,
    ) -> Self {
        self.with(|config| config.ttl_by = Some(Arc::new(ttl)))
    }

    /// The largest header section that is stored, names and values in bytes. Default: 64 KiB. Larger ones pass, unstored.
    #[must_use]
    pub fn max_head(self, bytes: usize) -> Self {
        self.with(|config| config.max_head = bytes)
    }

    /// The largest body that is stored, in bytes. Default: 1 MiB. Larger ones stream through; one that is announced as
    /// larger is not even captured. A backend may take less: a `MemoryBackend` 2 MiB unless it was made `with_largest`.
    #[must_use]
    pub fn max_body(self, bytes: u64) -> Self {
        self.with(|config| config.max_body = bytes)
    }

    /// The most bytes of bodies in memory that are on their way into the store or to slow clients, over all fills. Default:
    /// 64 MiB. Fills beyond it stream unstored, at the pace of whoever reads them.
    #[must_use]
    pub fn max_capturing(self, bytes: u64) -> Self {
        self.with(|config| config.max_capturing = bytes)
    }

    /// Keeps two mounts of one layer apart that see the same paths: what is stored in one scope is neither found nor
    /// invalidated in another. Default: the empty scope.
    ///
    /// A clone with another scope shares everything else.
    #[must_use]
    pub fn scope(self, scope: &str) -> Self {
        let scope = Arc::from(scope);
        self.with(|config| config.scope = scope)
    }

    /// Where the authority in keys comes from. Default: [`Authority::FromRequest`].
    #[must_use]
    pub fn authority(self, authority: Authority) -> Self {
        self.with(|config| config.authority = authority)
    }

    /// How keys are made. Default: [`UriKey`](crate::key::UriKey), the request's target as received.
    #[must_use]
    pub fn key(self, key: impl MakeCacheKey) -> Self {
        self.with(|config| config.key = Arc::new(key))
    }

    /// How keys are made, by a closure: see [`MakeCacheKey`].
    ///
    /// ```
    /// # use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    /// // One stored response per tenant, none for those without.
    /// let layer = CacheLayer::new(MemoryBackend::default()).key_by(|request, key| {
    ///     let tenant = request.headers.get("x-tenant")?.to_str().ok()?;
    ///     let authority = format!("{tenant}@{}", key.authority());
    ///     Some(key.with_authority(authority))
    /// });
    /// ```
    #[must_use]
    pub fn key_by<F>(self, key: F) -> Self
    where
        F: for<'r> Fn(&'r request::Parts, KeyParts<'r>) -> Option<KeyParts<'r>>
            + Send
            + Sync
            + 'static,
    {
        self.key(KeyBy(key))
    }

    /// Which part of a query tells responses apart, and reaches the inner service, for GETs and HEADs that the cache is
    /// asked for. Default: all of it, as received. The `MakeCacheKey` hook is asked with what is left.
    #[must_use]
    pub fn query(self, rules: QueryRules) -> Self {
        self.with(|config| config.query = rules)
    }

    /// GETs and HEADs that go past the cache. Default: none. Writes are never skipped.
    #[must_use]
    pub fn skip(self, skip: impl Fn(&request::Parts) -> bool + Send + Sync + 'static) -> Self {
        self.with(|config| config.skip = Some(Arc::new(skip)))
    }

    /// This cache's name in `Cache-Status` (RFC 9211). Default: `tower-response-cache`.
    ///
    /// `stored` on a miss says that the answer is being stored as it passes; if it then fails to end well, it is not.
    ///
    /// # Errors
    /// When the name is empty or holds anything but visible ASCII and spaces.
    pub fn cache_status(self, name: &str) -> Result<Self, InvalidCacheName> {
        let status = StatusName::new(CacheName::new(name)?);
        Ok(self.with(|config| config.status = Some(status)))
    }

    /// Adds no `Cache-Status` to answers. Default: it is added.
    #[must_use]
    pub fn cache_status_off(self) -> Self {
        self.with(|config| config.status = None)
    }

    /// Lets these directives of requests change nothing. Default: all are obeyed (RFC 9111 §5.2.1).
    ///
    /// ```
    /// use tower_response_cache::{CacheLayer, RequestDirective, backend::MemoryBackend};
    ///
    /// let layer = CacheLayer::new(MemoryBackend::default())
    ///     .ignore_request_directives([RequestDirective::NoStore, RequestDirective::MaxStale]);
    /// ```
    #[must_use]
    pub fn ignore_request_directives(
        self,
        directives: impl IntoIterator<Item = RequestDirective>,
    ) -> Self {
        self.with(|config| config.ignored = directives.into_iter().collect())
    }

    /// The fields by which responses speak to this cache instead of `Cache-Control` and `Expires`, the most important first
    /// (RFC 9213 §2.2). Default: `CDN-Cache-Control`; an empty list turns it off. They are structured fields: one that is
    /// not well-formed, or empty, is ignored whole.
    ///
    /// # Panics
    /// When one is no field name.
    #[must_use]
    pub fn targeted_cache_control<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        let name = |name: &str| HeaderName::try_from(name).expect("a field name");
        let targets = Targets::of(names.into_iter().map(name));
        self.with(|config| config.targets = targets)
    }

    /// The same for those by which a flood of requests could reach the inner service: `no-cache`, `Pragma`, `max-age`,
    /// `min-fresh`.
    #[must_use]
    pub fn ignore_client_freshness(self) -> Self {
        use RequestDirective::{MaxAge, MinFresh, NoCache, Pragma};
        self.ignore_request_directives([NoCache, Pragma, MaxAge, MinFresh])
    }

    /// Stores responses with `Set-Cookie`, as the RFC would: everybody gets the cookie then. Default: they are not stored.
    #[must_use]
    pub fn store_set_cookie(self) -> Self {
        self.with(|config| config.store_set_cookie = true)
    }

    /// Names further resources that a write invalidates, as URI references that are resolved against the write's target:
    /// a list, say, that shows what was written. Default: none.
    ///
    /// It is asked for every write that may have committed, also for those without an answer. It must not panic.
    ///
    /// ```
    /// # use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    /// let layer = CacheLayer::new(MemoryBackend::default()).also_invalidate(|_| ["/products"]);
    /// ```
    #[must_use]
    pub fn also_invalidate<I>(
        self,
        related: impl Fn(&Write<'_>) -> I + Send + Sync + 'static,
    ) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.with(|config| {
            config.also_invalidate = Some(Arc::new(move |write| {
                related(write).into_iter().map(Into::into).collect()
            }));
        })
    }

    /// Stores a write's answer as the answer to later GETs, where it is the full new representation: a 200 or 201 to PUT,
    /// POST or PATCH that names itself by `Content-Location`. Default: off, writes only invalidate.
    ///
    /// Such an answer is collected before its head is yielded. Of writes that overlap only the first to end may store.
    #[must_use]
    pub fn write_through(self) -> Self {
        self.with(|config| config.write_through = true)
    }

    /// Stores no answers to POST. Default: a 200 with explicit freshness whose `Content-Location` is the POST's own target is
    /// stored as the answer to later GETs of it (RFC 9110 §9.3.3), as `write_through` would. That takes a fence before each
    /// POST, a round trip where the backend is elsewhere. With [`write_through`](Self::write_through) it changes nothing.
    #[must_use]
    pub fn never_store_posts(self) -> Self {
        self.with(|config| config.store_posts = false)
    }

    /// Stores no parts. Default: a 206 with a `Content-Range` is stored as the part it is (RFC 9111 §3.3), at most 16 of one
    /// response. What asks for bytes that are there is answered from them; what asks for some that are not, or for the whole,
    /// is completed with a range request, where a strong validator tells that the parts are of one representation (§3.4).
    #[must_use]
    pub fn never_store_parts(self) -> Self {
        self.with(|config| config.store_parts = false)
    }

    /// For how long nothing is stored for a resource after a write whose outcome is unknown (5xx, 408, error, panic, or one
    /// that ran into [`write_limit`](Self::write_limit)): it may commit late. Default: 5 seconds.
    #[must_use]
    pub fn write_grace(self, grace: Duration) -> Self {
        self.with(|config| config.write_grace = grace)
    }

    /// For how long a write whose client left may run on. It was given to the inner service, so it may commit: it is
    /// invalidated at once and again when it ends. Default: 60 seconds, then it is dropped.
    #[must_use]
    pub fn write_limit(self, limit: Duration) -> Self {
        self.with(|config| config.write_limit = limit)
    }

    /// For how long requests wait for the head of a fill before one of them calls the inner service, too; the others go on
    /// waiting, for both. Default: 10 seconds.
    #[must_use]
    pub fn takeover_after(self, patience: Duration) -> Self {
        self.with(|config| config.flight.patience = patience)
    }

    /// For how long a request waits in all for the heads of fills that others began. Default: 30 seconds, then it asks the
    /// inner service itself and is not stored.
    #[must_use]
    pub fn max_wait(self, wait: Duration) -> Self {
        self.with(|config| config.flight.wait = wait)
    }

    /// For how long a fill may take. Default: 30 seconds; then it is not stored, and the next request begins another one.
    /// Whoever reads it goes on reading.
    #[must_use]
    pub fn max_fill(self, fill: Duration) -> Self {
        self.with(|config| config.flight.fill = fill)
    }

    /// For how long the slowest of several readers may hold up the others, where a body is too large to be kept.
    /// Default: 10 seconds, then it is told an error.
    #[must_use]
    pub fn stall_timeout(self, stall: Duration) -> Self {
        self.with(|config| config.flight.stall = stall)
    }

    /// For how long a key whose answer was for nobody else is not waited for ("hit-for-miss"). Default: 10 seconds. An
    /// answer that may be stored ends it.
    #[must_use]
    pub fn uncacheable_ttl(self, time: Duration) -> Self {
        self.with(|config| config.flight.uncacheable = time)
    }

    /// How many fills may wait for the inner service to be ready: this layer is always ready, so that its callers' pressure
    /// ends here. Whoever comes when the queue is full gets something stale where
    /// [`stale_if_error`](Self::stale_if_error) allows that, and 503 with `Retry-After` otherwise. Default: 4096. Writes,
    /// and requests past the cache, are not counted.
    #[must_use]
    pub fn max_waiting_fills(self, most: usize) -> Self {
        self.with(|config| config.flight.waiting = most)
    }

    /// For how long beyond its lifetime a response that does not say (`stale-while-revalidate`, RFC 5861 §3) is used at
    /// once, while one request's worth of work fetches it anew in the background. Default: not at all.
    ///
    /// A response with `must-revalidate`, `proxy-revalidate`, `no-cache` or `s-maxage` is never used beyond its lifetime, a
    /// request with `no-cache`, `max-age` or `min-fresh` never answered with such a one. What a write invalidated is gone,
    /// not stale.
    #[must_use]
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.with(|config| config.stale.while_revalidate = window)
    }

    /// For how long beyond its lifetime a response that does not say (`stale-if-error`, RFC 5861 §4) stands in where the
    /// inner service answers 500, 502, 503 or 504, or fails. Default: not at all. The same things forbid it.
    #[must_use]
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.with(|config| config.stale.if_error = window)
    }

    /// For how long beyond its lifetime a response stands in where the inner service fails without an answer (RFC 9111
    /// §4.2.4). Default: 60 seconds. The same things forbid it; zero turns it off.
    #[must_use]
    pub fn stale_if_unreachable(self, window: Duration) -> Self {
        self.with(|config| config.stale.if_unreachable = window)
    }

    /// For how long beyond its lifetime a response with a validator (`ETag`, `Last-Modified`) is kept, to be validated
    /// instead of fetched whole (RFC 9111 §4.3). Default: 1 hour. Zero keeps none for that: what is `no-cache`, or has no
    /// lifetime, is then not stored.
    #[must_use]
    pub fn keep_for_validation(self, window: Duration) -> Self {
        self.with(|config| config.stale.validation = window)
    }

    /// Gives what is stored without `ETag` and `Last-Modified` an `ETag` of its content, so that clients can ask for it with
    /// `If-None-Match` (RFC 9110 §8.8.3). The answer of the miss goes out before that is known, and has none. Default: off.
    ///
    /// The inner service is never asked by such a tag, which it does not know.
    #[must_use]
    pub fn generate_etags(self) -> Self {
        self.with(|config| config.generate_etags = true)
    }

    /// Lets a response's own `stale-while-revalidate` and `stale-if-error` count beside its `s-maxage`, as many origins
    /// mean it. Default: `s-maxage` forbids both (RFC 9111 §5.2.2.10).
    #[must_use]
    pub fn stale_despite_s_maxage(self) -> Self {
        self.with(|config| config.stale.despite_s_maxage = true)
    }

    /// For how long the inner service is not asked again for something of which it failed to give a newer one, as long as
    /// what is stored may be used. Default: 5 seconds. At most a few thousand such failures are remembered.
    #[must_use]
    pub fn failure_pause(self, pause: Duration) -> Self {
        self.with(|config| config.failure_pause = pause)
    }

    /// Refreshes what is about to expire, in the background, with a chance that grows towards its expiry and with what the
    /// last fill cost (XFetch): a hot key then never expires. `beta` is 1 for as early as is right, more for earlier.
    /// Default: off, and so is it for anything but a positive number.
    #[must_use]
    pub fn early_refresh(self, beta: f64) -> Self {
        let early = (beta > 0.0 && beta.is_finite()).then_some(beta);
        self.with(|config| config.early = early)
    }

    /// Takes a random part, up to this one (0 to 1), off every lifetime, so that what was stored together does not expire
    /// together. Default: 0.
    #[must_use]
    pub fn ttl_jitter(self, part: f64) -> Self {
        let part = if part.is_nan() {
            0.0
        } else {
            part.clamp(0.0, 1.0)
        };
        self.with(|config| config.jitter = part)
    }

    /// Where chance comes from. Default: [`SeededRandom`](crate::random::SeededRandom) with a seed of its own.
    #[must_use]
    pub fn random(self, random: impl Random) -> Self {
        self.with(|config| config.random = Arc::new(random))
    }

    /// Where the time comes from. Default: [`SystemClock`](crate::clock::SystemClock).
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|config| config.clock = Arc::new(clock))
    }
}
