//! The layer that makes requests canonical.
//!
//! Belongs outside the cache. Knows the rules, and which upstream a path has; neither knows it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Either;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::RequestRules;
use super::validate_request::RejectedRequest;
use crate::error::BoxError;
use crate::proxy::upstream::routes::UpstreamRoutes;
use crate::request_body::RequestContent;

/// The body of a canonical request: the client's, or one that a cache has made. A server's body
/// type, such as hyper's `Incoming`, can be made of nothing else, which a cache needs to do to
/// [repeat](crate::CacheLayer::empty_request_body) a request or to read its
/// [content](crate::CacheLayer::request_body).
pub type CanonicalBody<B> = Either<B, RequestContent>;

/// A [`Layer`] that makes requests canonical before a cache sees them. Made by
/// [`ReverseProxy::request_layer`](crate::proxy::ReverseProxy::request_layer).
///
/// Put it outside the cache and inside [`ErrorResponderLayer`](crate::proxy::ErrorResponderLayer):
///
/// ```no_run
/// use tower::ServiceBuilder;
/// use tower_response_cache::proxy::{ErrorResponderLayer, ReverseProxy};
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let upstream = ReverseProxy::new("http://127.0.0.1:8000")?;
/// let cached = ServiceBuilder::new()
///     .layer(ErrorResponderLayer::new())
///     .layer(upstream.request_layer())
///     .layer(CacheLayer::new(MemoryBackend::default()))
///     .service(upstream);
/// # Ok(())
/// # }
/// ```
///
/// A request that it passes on
///
/// * has its target in origin form and one `Host`, in lower case, without the dot of the root and
///   the default port (RFC 9110 §4.2.3, §7.2, RFC 9112 §3.2); a request of HTTP/1.0 that names no
///   host gets the host that is sent to its upstream, so that a write invalidates the resources of
///   that host;
/// * has no hop-by-hop fields and none that `Connection` names (RFC 9110 §7.6.1), but `TE:
///   trailers`, and the fields of a WebSocket's handshake;
/// * has one `Cookie` line (RFC 9113 §8.2.3);
/// * has `Content-Length` or `Transfer-Encoding` if it has content, whatever the version;
/// * has no untrusted `Forwarded`, `X-Forwarded-*` and the like, but those that
///   [`forwarding`](crate::proxy::ReverseProxy::forwarding) adds, and `Via`.
///
/// So the cache makes keys and variants from the request that the upstream gets: a response that
/// depends on `X-Forwarded-Proto`, for example, is stored correctly if its `Vary` says so. Its body
/// is a [`CanonicalBody`], so that the cache can repeat requests from a hyper server. A
/// request that the proxy does not forward is answered here: 400, 431, 501 or 204, see [the
/// module](crate::proxy#failures).
#[derive(Clone)]
pub struct CanonicalRequestLayer {
    rules: Arc<RequestRules>,
    routes: Arc<UpstreamRoutes>,
    on_rejected: Option<Arc<OnRejected>>,
}

/// What is told of requests that are answered here.
type OnRejected = dyn Fn(StatusCode) + Send + Sync;

impl CanonicalRequestLayer {
    pub(in crate::proxy) fn new(rules: RequestRules, routes: UpstreamRoutes) -> Self {
        Self {
            rules: Arc::new(rules),
            routes: Arc::new(routes),
            on_rejected: None,
        }
    }

    /// Sets a function that is called for each request that is not passed on, with the status of
    /// the response. Default: none.
    ///
    /// A cache inside never gets such a request. Let it be counted there:
    ///
    /// ```no_run
    /// use tower::ServiceBuilder;
    /// use tower_response_cache::proxy::ReverseProxy;
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let upstream = ReverseProxy::new("http://127.0.0.1:8000")?;
    /// let layer = CacheLayer::new(MemoryBackend::default());
    /// let cache = layer.handle();
    /// let requests = upstream.request_layer();
    /// let cached = ServiceBuilder::new()
    ///     .layer(requests.on_rejected(move |status| cache.count_outside(status)))
    ///     .layer(layer)
    ///     .service(upstream);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_rejected(mut self, call: impl Fn(StatusCode) + Send + Sync + 'static) -> Self {
        self.on_rejected = Some(Arc::new(call));
        self
    }
}

impl fmt::Debug for CanonicalRequestLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CanonicalRequestLayer")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for CanonicalRequestLayer {
    type Service = CanonicalRequest<S>;

    fn layer(&self, inner: S) -> CanonicalRequest<S> {
        CanonicalRequest {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service that passes requests on in canonical form; see [`CanonicalRequestLayer`].
///
/// It is ready when its inner service is.
#[derive(Clone, Debug)]
pub struct CanonicalRequest<S> {
    inner: S,
    layer: CanonicalRequestLayer,
}

impl<S> CanonicalRequest<S> {
    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, Res> Service<Request<B>> for CanonicalRequest<S>
where
    S: Service<Request<CanonicalBody<B>>, Response = Response<Res>>,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    Res: From<Bytes>,
{
    type Response = Response<Res>;
    type Error = S::Error;
    type Future = CanonicalRequestFuture<S::Future, Res>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let CanonicalRequestLayer { rules, routes, .. } = &self.layer;
        routes.add_missing_host(&mut request);
        let is_confined = routes.is_confined(request.uri().path());
        let canonical = match is_confined {
            true => rules.apply(request),
            false => Err(RejectedRequest::Path),
        };
        match canonical {
            Ok(request) => CanonicalRequestFuture {
                future: Some(self.inner.call(request.map(CanonicalBody::Left))),
                rejection: None,
            },
            Err(rejected) => {
                let response: Response<Res> = rejected.response();
                if let Some(call) = &self.layer.on_rejected {
                    call(response.status());
                }
                CanonicalRequestFuture {
                    future: None,
                    rejection: Some(response),
                }
            }
        }
    }
}

pin_project! {
    /// The future of a [`CanonicalRequest`].
    #[must_use = "futures do nothing unless polled"]
    pub struct CanonicalRequestFuture<F, Res> {
        #[pin]
        future: Option<F>,
        // Answered if there is no future.
        rejection: Option<Response<Res>>,
    }
}

impl<F, Res> fmt::Debug for CanonicalRequestFuture<F, Res> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CanonicalRequestFuture")
            .finish_non_exhaustive()
    }
}

impl<F, E, Res> Future for CanonicalRequestFuture<F, Res>
where
    F: Future<Output = Result<Response<Res>, E>>,
{
    type Output = Result<Response<Res>, E>;

    /// # Panics
    ///
    /// When it is polled after it has answered a request that is not forwarded.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.future.as_pin_mut() {
            Some(future) => future.poll(cx),
            None => Poll::Ready(Ok(this
                .rejection
                .take()
                .expect("a future is not polled after it has finished"))),
        }
    }
}
