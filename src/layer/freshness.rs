//! Options for the freshness of responses and the directives that are obeyed (RFC 9111 §4.2, §5.2).

use std::sync::Arc;
use std::time::Duration;

use http::{request, response};

use super::CacheLayer;
use super::invalid_option::{InvalidOption, field_names, or_panic};
use crate::backend::Backend;
use crate::config::hook::{HookGuard, subject};
use crate::semantics::cache_control::RequestDirective;
use crate::semantics::cache_control::TargetedFields;
use crate::semantics::freshness::Ttl;

/// # Freshness
///
/// A response's own `s-maxage`, `max-age` or `Expires` decides how long it is fresh. The options
/// give lifetimes to responses that state none, spread expiry over time, and choose which
/// directives of requests and responses are obeyed. `Cache-Control` and `Expires` are never added
/// to a response: browser caches cannot be invalidated.
///
/// ```
/// use std::time::Duration;
/// use http::header::CONTENT_TYPE;
/// use tower_response_cache::{CacheLayer, Ttl, backend::MemoryBackend};
///
/// let layer = CacheLayer::new(MemoryBackend::default())
///     .ttl(Duration::from_secs(60))
///     .negative_ttl(Duration::from_secs(2))
///     .ttl_by(|_request, response| {
///         let content_type = response.headers.get(CONTENT_TYPE)?;
///         content_type.as_bytes().starts_with(b"image/").then_some(Ttl::UntilInvalidated)
///     })
///     .max_ttl(Duration::from_secs(24 * 60 * 60))
///     .ttl_jitter(0.1)
///     .ignore_client_freshness(true);
/// ```
impl<B: Backend> CacheLayer<B> {
    /// Sets the lifetime of responses that state none.
    ///
    /// Default: none. A response that states no lifetime then gets a heuristic one if it has a
    /// `Last-Modified` (RFC 9111 §4.2.2), and is not stored otherwise.
    ///
    /// The lifetime applies to few [statuses](Self#which-statuses-are-stored), and not to a
    /// response with a directive that cannot be read. It takes precedence over the heuristic. With
    /// zero, such responses are stale on arrival: one with a validator (`ETag`, `Last-Modified`) is
    /// stored and validated before each use, and any other is stored only if it may be [used
    /// stale](Self#stale-responses). With [`Ttl::UntilInvalidated`] they never expire.
    ///
    /// A response to a request with `Cookie` is stored only if it states its own lifetime: it may
    /// be personal.
    #[must_use]
    pub fn ttl(self, ttl: impl Into<Ttl>) -> Self {
        let ttl = ttl.into();
        self.with(|config| config.ttl = Some(ttl))
    }

    /// Sets the longest lifetime that [`ttl`](Self::ttl) gives to 404 and 410 responses.
    ///
    /// Default: 5 seconds. Zero means the same as for [`ttl`](Self::ttl). Without
    /// [`ttl`](Self::ttl) it has no effect.
    #[must_use]
    pub fn negative_ttl(self, ttl: Duration) -> Self {
        self.with(|config| config.negative_ttl = ttl)
    }

    /// Sets a function that chooses the lifetime of a response that states none. It gets the heads
    /// of the request and of the response, and is called for every status.
    ///
    /// Default: no function. If it returns `None`, [`ttl`](Self::ttl) applies. Freshness that the
    /// response states wins over both, and so does what [forbids](Self#which-statuses-are-stored)
    /// storing it. If the function panics, the response is not stored.
    ///
    /// The request is the one that the inner service got, with its extensions, and without the
    /// conditions and ranges that the cache adds or answers by itself. For a response to HEAD or to
    /// a write that is stored for GET, its method is GET. The head of a request is copied only if
    /// this function or [`store_if`](Self::store_if) is set.
    ///
    /// With axum the function can go by the route: a router adds the `MatchedPath` before the
    /// layers of its `Router::layer` and `Router::route_layer` are called.
    ///
    /// ```
    /// use std::time::Duration;
    /// use axum::{Router, extract::MatchedPath, routing::get};
    /// use tower_response_cache::{CacheLayer, Ttl, backend::MemoryBackend};
    ///
    /// let layer = CacheLayer::new(MemoryBackend::default()).ttl_by(|request, _response| {
    ///     match request.extensions.get::<MatchedPath>()?.as_str() {
    ///         "/products/{id}" => Some(Ttl::UntilInvalidated),
    ///         "/prices/{id}" => Some(Ttl::For(Duration::from_secs(5))),
    ///         _ => None,
    ///     }
    /// });
    /// let router: Router = Router::new()
    ///     .route("/products/{id}", get(|| async { "a product" }))
    ///     .route("/prices/{id}", get(|| async { "a price" }))
    ///     .layer(layer);
    /// ```
    #[must_use]
    pub fn ttl_by(
        self,
        ttl: impl Fn(&request::Parts, &response::Parts) -> Option<Ttl> + Send + Sync + 'static,
    ) -> Self {
        let guard = HookGuard::new("ttl_by");
        self.with(|config| {
            config.ttl_by = Some(Arc::new(move |request, head| {
                guard.call(subject(request), || ttl(request, head))
            }));
        })
    }

    /// Sets the longest time for which a stored response is fresh, counted from its receipt.
    ///
    /// Default: none. It limits every lifetime: those that responses state (`s-maxage`, `max-age`,
    /// `Expires`), those of [`ttl`](Self::ttl), [`ttl_by`](Self::ttl_by) and
    /// [`Ttl::UntilInvalidated`], and the heuristic one. A 304 is a new receipt. The stale windows
    /// begin after the limit. With zero, every response is stale on arrival, as with a zero
    /// [`ttl`](Self::ttl). `Cache-Control`, `Expires` and `Age` of the response are not changed:
    /// other caches are not limited.
    ///
    /// Set it where a response must not outlive a write that this cache does not see, whatever its
    /// origin says.
    #[must_use]
    pub fn max_ttl(self, ttl: Duration) -> Self {
        self.with(|config| config.max_ttl = Some(ttl))
    }

    /// Sets the largest random fraction by which lifetimes are shortened, so that responses that
    /// were stored together do not expire together.
    ///
    /// Default: 0, which shortens none. Lifetimes that responses state are shortened, too. With 0.1
    /// a lifetime of 60 seconds becomes one between 54 and 60 seconds. See also
    /// [`early_refresh`](Self::early_refresh).
    ///
    /// # Panics
    /// If `fraction` is not between 0 and 1; see [`try_ttl_jitter`](Self::try_ttl_jitter).
    #[must_use]
    #[track_caller]
    pub fn ttl_jitter(self, fraction: f64) -> Self {
        or_panic(self.try_ttl_jitter(fraction))
    }

    /// Sets [`ttl_jitter`](Self::ttl_jitter) to a value that comes from configuration.
    ///
    /// # Errors
    /// If `fraction` is not between 0 and 1.
    pub fn try_ttl_jitter(self, fraction: f64) -> Result<Self, InvalidOption> {
        if (0.0..=1.0).contains(&fraction) {
            Ok(self.with(|config| config.ttl_jitter = fraction))
        } else {
            Err(InvalidOption::jitter(fraction))
        }
    }

    /// Sets the response fields that replace `Cache-Control` and `Expires` for this cache, the most
    /// important first (RFC 9213 §2.2).
    ///
    /// Default: `CDN-Cache-Control`. An empty list turns targeted fields off. Targeted fields are
    /// structured fields: a field that is malformed or empty is ignored entirely (§2.1).
    ///
    /// # Panics
    /// If a name is not a valid field name; see
    /// [`try_targeted_cache_control`](Self::try_targeted_cache_control).
    #[must_use]
    #[track_caller]
    pub fn targeted_cache_control<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        or_panic(self.try_targeted_cache_control(names))
    }

    /// Sets [`targeted_cache_control`](Self::targeted_cache_control) to names that come from
    /// configuration.
    ///
    /// # Errors
    /// If a name is not a valid field name.
    pub fn try_targeted_cache_control<'n>(
        self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Self, InvalidOption> {
        let names = field_names("targeted_cache_control", names)?;
        Ok(self.with(|config| config.targeted_cache_control = TargetedFields::new(names)))
    }

    /// Sets the request directives that this cache ignores; it replaces an earlier list.
    ///
    /// Default: an empty list, all directives are obeyed (RFC 9111 §5.2.1). See also
    /// [`ignore_client_freshness`](Self::ignore_client_freshness), which adds to this list.
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
        let directives = directives.into_iter().collect();
        self.with(|config| config.set_ignored_directives(directives))
    }

    /// Ignores the request directives a client can use to force traffic to the inner service:
    /// `no-cache`, `Pragma`, `max-age` and `min-fresh`.
    ///
    /// Default: `false`, they are obeyed (RFC 9111 §5.2.1, §5.4). Browsers send `no-cache` when a
    /// page is reloaded.
    #[must_use]
    pub fn ignore_client_freshness(self, ignore: bool) -> Self {
        self.with(|config| config.set_ignore_client_freshness(ignore))
    }
}
