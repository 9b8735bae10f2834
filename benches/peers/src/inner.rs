//! The service behind each cache, and the requests.

use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, Uri};
use tower::Service;

use crate::workload;

/// Makes a response with six fields, as a handler does: two values are constants, the others and
/// the body are made for each response. It makes one when its future is polled, because one of the
/// caches calls it for hits, too.
pub struct Inner<B> {
    length: usize,
    made: Arc<AtomicUsize>,
    body: PhantomData<fn() -> B>,
}

impl<B> Inner<B> {
    pub fn new(length: usize) -> Self {
        Self {
            length,
            made: Arc::default(),
            body: PhantomData,
        }
    }

    /// The number of responses that were made.
    pub fn made(&self) -> Arc<AtomicUsize> {
        self.made.clone()
    }
}

impl<B> Clone for Inner<B> {
    fn clone(&self) -> Self {
        Self {
            length: self.length,
            made: self.made.clone(),
            body: PhantomData,
        }
    }
}

impl<B: From<Bytes>, Req> Service<Request<Req>> for Inner<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Making<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Req>) -> Making<B> {
        Making(self.clone())
    }
}

/// A response that is made when it is polled for.
pub struct Making<B>(Inner<B>);

impl<B: From<Bytes>> Future for Making<B> {
    type Output = Result<Response<B>, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.made.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(B::from(vec![b'x'; self.0.length].into()));
        *response.headers_mut() = fields(self.0.length);
        Poll::Ready(Ok(response))
    }
}

fn fields(length: usize) -> HeaderMap {
    let made = |value: &str| HeaderValue::from_bytes(value.as_bytes()).expect("a field value");
    let constant = HeaderValue::from_static;
    [
        (header::CONTENT_TYPE, constant("application/json")),
        (header::CACHE_CONTROL, constant("max-age=604800")),
        (header::CONTENT_LENGTH, made(&length.to_string())),
        (header::ETAG, made("W/\"8f14e45fceea167a\"")),
        (header::LAST_MODIFIED, made("Sun, 06 Nov 1994 08:49:37 GMT")),
        (HeaderName::from_static("x-request-id"), made("6ba7b810")),
    ]
    .into_iter()
    .collect()
}

/// A request as a small client sends it.
pub fn request(uri: &Uri) -> Request<Body> {
    workload::request(uri.clone(), Body::empty())
}
