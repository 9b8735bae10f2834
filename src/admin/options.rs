//! The service and its options.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tower_layer::Layer;
use tower_service::Service;

use crate::backend::Backend;
use crate::clock::throttle::Throttle;
use crate::handle::{CacheHandle, Invalidator};

use super::access::{Access, InvalidToken};
use super::cache::Cache;
use super::explain::outer_layers::{OuterLayers, RequestProbe};

/// A service with which an operator looks at a cache and acts on it.
///
/// | request | token | answer |
/// |---|---|---|
/// | `GET /` | no | a page that shows the cache at work |
/// | `GET /healthz` | no | 200, always |
/// | `GET /readyz` | no | 200; 503 while it is not [ready](Self::ready_if) |
/// | `GET /stats` | to read | the [statistics](crate::stats::Stats) as JSON |
/// | `GET /metrics` | to read | the metrics for Prometheus, as OpenMetrics if `Accept` names it |
/// | `POST /explain` | to read | what the cache would do with a request, and why |
/// | `POST /invalidate` | to write | invalidates by URI, group, prefix, or everything |
/// | `PURGE /path` | to write | invalidates the resource at a path |
/// | `PURGE /` with `Surrogate-Key` | to write | invalidates groups |
///
/// Paths are exact, in one spelling. Other methods are answered 405, other paths 404.
///
/// # Mounting
///
/// It is a tower service of its own, and knows no listener. Give it an address of its own, or nest
/// it in a router; outside of the cache in both cases. Responses are never stored (`no-store`).
///
/// ```
/// use axum::Router;
/// use tower_response_cache::{CacheLayer, admin::Admin, backend::MemoryBackend};
///
/// let layer = CacheLayer::new(MemoryBackend::default());
/// let admin = Admin::new(layer.handle()).token("2f8a4c0e9d7b6315");
/// let routes: Router = Router::new()
///     // .. the routes of the application ..
///     .layer(layer)
///     .nest_service("/cache", admin);
/// # drop(routes);
/// ```
///
/// # Access
///
/// By default everything but the page and the two health checks needs the token, as
/// `Authorization: Bearer TOKEN`. It is compared in constant time, and accepted nowhere else: not
/// in a query, not in a cookie. Without a [`token`](Self::token), such requests are answered 403,
/// unless [`allow_unauthenticated`](Self::allow_unauthenticated) is set, or, for those that read,
/// [`allow_unauthenticated_reads`](Self::allow_unauthenticated_reads).
///
/// A browser cannot be made to act by another site: a request with a foreign `Origin`, or a
/// `Sec-Fetch-Site` other than `same-origin` and `none`, is answered 403, and content has to be
/// `application/json`. A request without a token must also name a host that is an IP address,
/// `localhost`, or one of the [`hosts`](Self::hosts): a foreign name that resolves to this machine
/// is not enough. Behind a proxy that ends TLS, `Origin` names that proxy: tell it as one of the
/// `hosts`.
///
/// # Invalidation
///
/// ```text
/// POST /invalidate
/// {"type": "uri", "selectors": ["/products/7", "/products"], "purge": true}
/// ```
///
/// `type` is `uri`, `group`, `prefix` or `all`. Prefixes are those of
/// [`group_prefixes`](crate::CacheLayer::group_prefixes); `all` has no selectors. `purge` is `true`
/// by default: responses are removed. With `false` they become stale. Where every authority is a
/// site of its own ([`Sites::ByAuthority`](crate::key::Sites)), URIs have to be absolute, and
/// groups and prefixes need the member `authority`. Unknown members are refused.
///
/// The answer is 200 once the backend has acknowledged every invalidation. Otherwise it is 503 with
/// `Retry-After`: repeat the whole request, which is harmless.
///
/// Where every authority is a site, `PURGE` has to name one: in its target
/// (`PURGE http://shop.example/path HTTP/1.1`), or else by `Host`, as in Varnish and Squid. One that
/// names this service instead, by a [host](Self::hosts) or by its [port](Self::port), is answered
/// 400. Elsewhere the path counts alone. `Surrogate-Key` lists groups, separated by spaces.
///
/// # Log
///
/// Each invalidation is logged at level info, one that was not acknowledged at level warn. A
/// refused request is a warning, at most one a second, with the number of those left out.
///
/// # Cancellation
///
/// If the future is dropped, an invalidation may have taken effect or not.
#[derive(Clone)]
pub struct Admin {
    pub(super) cache: Arc<dyn Cache>,
    pub(super) invalidator: Invalidator,
    pub(super) access: Access,
    pub(super) max_content: usize,
    pub(super) outer_layers: Option<OuterLayers>,
    pub(super) ready_if: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    /// Of the log lines about refused requests.
    pub(super) refusals: Arc<Throttle>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin")
            .field("access", &self.access)
            .field("max_content", &self.max_content)
            .finish_non_exhaustive()
    }
}

impl Admin {
    /// Creates a service for the cache of a handle, with no token.
    #[must_use]
    pub fn new<B: Backend>(cache: CacheHandle<B>) -> Self {
        Self {
            invalidator: cache.invalidator(),
            cache: Arc::new(cache),
            access: Access::default(),
            max_content: 64 * 1024,
            outer_layers: None,
            ready_if: None,
            refusals: Arc::default(),
        }
    }

    /// Sets the token that clients have to present. Default: none.
    ///
    /// # Panics
    /// If the token is shorter than 16 characters, or has others than letters, digits and `-._~+/=`
    /// (RFC 6750 §2.1). For a token from configuration, see [`try_token`](Self::try_token).
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        match self.try_token(token) {
            Ok(admin) => admin,
            Err(error) => panic!("{error}"),
        }
    }

    /// Like [`token`](Self::token), for a token from configuration.
    ///
    /// # Errors
    /// If the token is shorter than 16 characters, or has others than letters, digits and `-._~+/=`
    /// (RFC 6750 §2.1).
    pub fn try_token(mut self, token: &str) -> Result<Self, InvalidToken> {
        self.access.set_token(token)?;
        Ok(self)
    }

    /// Answers requests that read without a token: statistics, metrics and explanations. Default:
    /// `false`.
    #[must_use]
    pub fn allow_unauthenticated_reads(mut self, allow: bool) -> Self {
        self.access.reads_are_open = allow;
        self
    }

    /// Answers all requests without a token, those that invalidate included. Default: `false`.
    ///
    /// Use it only where everything that reaches the service is trusted: behind a proxy that
    /// authenticates operators, or on a loopback address of a machine of your own.
    #[must_use]
    pub fn allow_unauthenticated(mut self, allow: bool) -> Self {
        self.access.writes_are_open = allow;
        self
    }

    /// Sets the hosts under which operators reach the service: a name, or a name with a port.
    /// Default: none.
    ///
    /// Under these names requests without a token are answered, beside IP addresses and `localhost`,
    /// whatever the port. Pages of these hosts may send requests, whatever the `Host` of those is: a
    /// proxy in front of the service may change it. For that the port has to be the same; without
    /// one it is that of the scheme, `http` or `https`. Letter case does not count.
    #[must_use]
    pub fn hosts<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.access.hosts = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the port of an address that is for this service alone. Default: none.
    ///
    /// A `Host` with this port then names the service, and no site: a `PURGE` that has to name a
    /// site is answered 400, instead of invalidating what nobody asks for.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.access.port = Some(port);
        self
    }

    /// Sets the largest content of a request, in bytes. Default: 64 KiB. A larger one is answered
    /// 413 (Content Too Large).
    #[must_use]
    pub fn max_content(mut self, bytes: usize) -> Self {
        self.max_content = bytes;
        self
    }

    /// Sets a condition for being ready: `GET /readyz` is answered 503 while it returns `false`.
    /// Default: none; then it is 503 only once the cache is shutting down.
    ///
    /// A server that stops begins to refuse connections before it shuts the cache down. Let it say
    /// so here, so that whoever sends it requests stops in time.
    #[must_use]
    pub fn ready_if(mut self, is_ready: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.ready_if = Some(Arc::new(is_ready));
        self
    }

    /// Sets the layers outside of the cache, which may change a request before the cache gets it,
    /// or answer it. Default: none.
    ///
    /// A request that is to be explained then passes these layers first, so that it has the same
    /// key and fields as one of a client. They get a [`RequestProbe`] as their inner service. In front of
    /// a [`ReverseProxy`](crate::proxy::ReverseProxy), it is that one's
    /// [`request_layer`](crate::proxy::ReverseProxy::request_layer).
    ///
    /// What a server adds to a request before these layers, add it here, too: a
    /// [`Peer`](crate::proxy::Peer), for example, by which an upstream is told the scheme. The scheme
    /// of the URI to be explained is an extension of the request, an [`http::uri::Scheme`]; a URI
    /// that is a path alone has none.
    ///
    /// ```
    /// use tower::util::MapRequestLayer;
    /// use tower_response_cache::{CacheLayer, admin::Admin, backend::MemoryBackend};
    ///
    /// let add_tenant = MapRequestLayer::new(|mut request: http::Request<_>| {
    ///     request.headers_mut().insert("x-tenant", "a".parse().unwrap());
    ///     request
    /// });
    /// let layer = CacheLayer::new(MemoryBackend::default());
    /// let admin = Admin::new(layer.handle()).outer_layers(add_tenant);
    /// ```
    #[must_use]
    pub fn outer_layers<L, R>(mut self, layers: L) -> Self
    where
        L: Layer<RequestProbe> + Send + Sync + 'static,
        L::Service: Service<Request<Empty<Bytes>>, Response = Response<R>, Error: Send>,
        L::Service: Send + 'static,
        <L::Service as Service<Request<Empty<Bytes>>>>::Future: Send,
    {
        self.outer_layers = Some(OuterLayers::new(layers));
        self
    }
}
