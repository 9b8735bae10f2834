//! The bounds of the inner service and its bodies, each as one trait.
//!
//! Those of the public `impl Service for Cache` are weaker on purpose. In an async block that is
//! spawned the compiler forgets the lifetime in `Box<dyn Error + 'static>`, so that it can prove
//! neither `'static` nor `Into<BoxError>` of a type that names it (rust-lang/rust#110338). There,
//! `'static` follows from the type [`Cache`](super::Cache) itself, whose inner service is.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::request::content::HiddenContent;

/// A service that the cache can call, also from a background task.
pub(crate) trait InnerService<Req, Res>:
    Service<Request<Req>, Response = Response<Res>, Error: Send + 'static, Future: Send + 'static>
    + Send
    + 'static
{
}

impl<S, Req, Res> InnerService<Req, Res> for S where
    S: Service<
            Request<Req>,
            Response = Response<Res>,
            Error: Send + 'static,
            Future: Send + 'static,
        > + Send
        + 'static
{
}

/// The inner service of a [`Cache`](super::Cache), by its public bounds.
pub(crate) trait CachedService<Req>:
    Service<
        Request<Req>,
        Response: HttpResponse<Body: Body<Data = Bytes, Error: Send> + Send>,
        Future: Send,
        Error: Send,
    > + Clone
    + Send
{
}

impl<S, Req> CachedService<Req> for S where
    S: Service<
            Request<Req>,
            Response: HttpResponse<Body: Body<Data = Bytes, Error: Send> + Send>,
            Future: Send,
            Error: Send,
        > + Clone
        + Send
{
}

/// A response body that the cache can store and share.
pub(crate) trait InnerBody:
    Body<Data = Bytes, Error: Send + 'static> + Send + 'static
{
}

impl<B> InnerBody for B where B: Body<Data = Bytes, Error: Send + 'static> + Send + 'static {}

/// The response of a service: always an [`http::Response`].
///
/// It names the body of a response without a type parameter for it.
pub trait HttpResponse: sealed::Sealed {
    /// The body.
    type Body;

    /// Returns the response with its type.
    fn into_http(self) -> Response<Self::Body>;
}

mod sealed {
    pub trait Sealed {}
    impl<B> Sealed for http::Response<B> {}
}

impl<B> HttpResponse for Response<B> {
    type Body = B;

    fn into_http(self) -> Response<B> {
        self
    }
}

/// The body of the responses of a service.
pub(crate) type BodyOf<S, Req> = <<S as Service<Request<Req>>>::Response as HttpResponse>::Body;

/// A service whose responses have the type that [`HttpResponse`] says.
#[derive(Clone)]
pub(crate) struct HttpService<S>(pub(crate) S);

impl<S, Req> Service<Request<Req>> for HttpService<S>
where
    S: Service<Request<Req>>,
    S::Response: HttpResponse,
    Req: 'static,
{
    type Response = Response<BodyOf<S, Req>>;
    type Error = S::Error;
    type Future = HttpFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Req>) -> Self::Future {
        HttpFuture {
            inner: self.0.call(HiddenContent::show(request)),
        }
    }
}

pin_project! {
    /// The future of an [`HttpService`].
    pub(crate) struct HttpFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, R, E> Future for HttpFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: HttpResponse,
{
    type Output = Result<Response<R::Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().inner.poll(cx));
        Poll::Ready(response.map(R::into_http))
    }
}
