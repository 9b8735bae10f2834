//! A layer that turns the errors of a stack into responses.
//!
//! Belongs around the cache, which sees the error first and may serve a stale response instead.
//! Knows [`ProxyError`](super::ProxyError), and answers any other error with 500.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::BoxError;
use crate::semantics::cache_status::CACHE_STATUS;
use crate::semantics::marks::{IncompleteRequest, UnsentRequest};

use super::config_error::{InvalidProxyOption, or_panic};
use super::error::ProxyErrorKind;
use super::error_log::{LogSubject, log_failure};
use super::field_value::{DEFAULT_NAME, header_value};

/// RFC 9209 §2.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// A [`Layer`] that wraps services in an [`ErrorResponder`].
#[derive(Clone, Copy, Debug)]
pub struct ErrorResponderLayer {
    name: &'static str,
}

impl ErrorResponderLayer {
    /// Creates a layer with the default name.
    #[must_use]
    pub fn new() -> Self {
        Self { name: DEFAULT_NAME }
    }

    /// Sets the name of this proxy; see [`ErrorResponder::name`].
    ///
    /// # Panics
    ///
    /// When `name` is not a token (RFC 9110 §5.6.2).
    #[must_use]
    pub fn name(mut self, name: &'static str) -> Self {
        or_panic(InvalidProxyOption::check_name(name));
        self.name = name;
        self
    }
}

impl Default for ErrorResponderLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ErrorResponderLayer {
    type Service = ErrorResponder<S>;

    fn layer(&self, inner: S) -> ErrorResponder<S> {
        ErrorResponder {
            inner,
            name: self.name,
            readiness_error: None,
        }
    }
}

/// A service that answers the errors of its inner service, so that its own error is
/// [`Infallible`].
///
/// A [`ProxyError`](super::ProxyError), also as the cause of another error, is answered with its
/// [status](ProxyErrorKind::status): 502 for a failed upstream, 504 for a late one. Any other
/// error is answered with 500. A request without a turn ([`Overloaded`](ProxyErrorKind::Overloaded),
/// [`TooManyUploads`](ProxyErrorKind::TooManyUploads)) is answered 503 with `Retry-After: 1`. The
/// response is `text/plain` with `Cache-Control: no-store`, and the reason is in `Proxy-Status`
/// (RFC 9209) and `Cache-Status` (RFC 9211). The error is logged with its causes and the request's
/// method and path, at most once a second for each kind. An error of `poll_ready` is the response to
/// the next call.
///
/// ```no_run
/// use tower_response_cache::proxy::{ErrorResponder, ReverseProxy};
///
/// # fn main() -> Result<(), tower_response_cache::proxy::InvalidUpstream> {
/// let proxy = ErrorResponder::new(ReverseProxy::new("http://127.0.0.1:8000")?).name("edge-1");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ErrorResponder<S> {
    inner: S,
    name: &'static str,
    /// The error that `poll_ready` of the inner service returned.
    readiness_error: Option<BoxError>,
}

impl<S> ErrorResponder<S> {
    /// Wraps `inner`.
    pub fn new(inner: S) -> Self {
        ErrorResponderLayer::new().layer(inner)
    }

    /// Sets the name of this proxy in `Proxy-Status` and `Cache-Status`. Default:
    /// `tower-response-cache`.
    ///
    /// # Panics
    ///
    /// When `name` is not a token (RFC 9110 §5.6.2).
    #[must_use]
    pub fn name(mut self, name: &'static str) -> Self {
        or_panic(InvalidProxyOption::check_name(name));
        self.name = name;
        self
    }

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

/// A clone has not been polled for readiness: it does not inherit the error of an earlier poll.
impl<S: Clone> Clone for ErrorResponder<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            name: self.name,
            readiness_error: None,
        }
    }
}

impl<S, B, Res> Service<Request<B>> for ErrorResponder<S>
where
    S: Service<Request<B>, Response = Response<Res>>,
    S::Error: Into<BoxError>,
    Res: From<Bytes>,
{
    type Response = Response<Res>;
    type Error = Infallible;
    type Future = ErrorResponderFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if let Err(error) = ready!(self.inner.poll_ready(cx)) {
            self.readiness_error = Some(error.into());
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (name, subject) = (self.name, LogSubject::from_request(&request));
        let readiness_error = self.readiness_error.take();
        let is_ready = readiness_error.is_none();
        ErrorResponderFuture {
            future: is_ready.then(|| self.inner.call(request)),
            readiness_error,
            name,
            subject,
        }
    }
}

pin_project! {
    /// The future of an [`ErrorResponder`]. It never resolves to an error.
    #[must_use = "futures do nothing unless polled"]
    pub struct ErrorResponderFuture<F> {
        #[pin]
        future: Option<F>,
        // Answered if there is no future.
        readiness_error: Option<BoxError>,
        name: &'static str,
        subject: LogSubject,
    }
}

impl<F> fmt::Debug for ErrorResponderFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorResponderFuture")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<F, E, Res> Future for ErrorResponderFuture<F>
where
    F: Future<Output = Result<Response<Res>, E>>,
    E: Into<BoxError>,
    Res: From<Bytes>,
{
    type Output = Result<Response<Res>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let error = match this.future.as_pin_mut() {
            None => this.readiness_error.take(),
            Some(future) => match ready!(future.poll(cx)) {
                Ok(response) => return Poll::Ready(Ok(response)),
                Err(error) => Some(error.into()),
            },
        };
        let error = error.expect("polled after completion");
        let kind = log_failure(&*error, this.subject);
        Poll::Ready(Ok(error_response(kind, this.name)))
    }
}

/// The response to a request that no upstream has got whole, so that none acted on it. It passes
/// through a cache, which says its own in `Cache-Status`.
pub(super) fn unsent_response<Res: From<Bytes>>(
    kind: ProxyErrorKind,
    unsent: UnsentRequest,
    name: &str,
) -> Response<Res> {
    let mut response = error_response(kind, name);
    response.headers_mut().remove(CACHE_STATUS);
    response.extensions_mut().insert(IncompleteRequest);
    response.extensions_mut().insert(unsent);
    response
}

fn error_response<Res: From<Bytes>>(kind: ProxyErrorKind, name: &str) -> Response<Res> {
    let (status, reason) = (kind.status(), kind.as_str());
    let body = Bytes::from(format!("{status}: {}\n", kind.client_message()));
    let mut response = Response::new(Res::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (field, value) in [
        (
            PROXY_STATUS,
            header_value(format_args!("{name}; error={reason}")),
        ),
        (
            CACHE_STATUS,
            header_value(format_args!("{name}; detail={reason}")),
        ),
    ] {
        if let Some(value) = value {
            headers.insert(field, value);
        }
    }
    if kind.is_overload() {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
