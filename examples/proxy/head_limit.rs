//! The largest head of a request over HTTP/2. Over HTTP/1.1 it is that of hyper's buffer.
//!
//! The library for HTTP/2 has a limit of its own, but answers beyond it without telling anybody, so
//! that no counter knows of the request. This one is reached before.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use tokio_util::either::Either;
use tower::Service;

use crate::server::{MAX_REQUEST_HEAD, OnOutside};

/// What a field counts beside its name and its value (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// A service that answers requests with a larger head with 431.
#[derive(Clone)]
pub struct HeadLimit<S> {
    inner: S,
    on_rejected: OnOutside,
}

impl<S> HeadLimit<S> {
    pub fn new(inner: S, on_rejected: OnOutside) -> Self {
        Self { inner, on_rejected }
    }
}

impl<S, B, Res> Service<Request<B>> for HeadLimit<S>
where
    S: Service<Request<B>, Response = Response<Res>>,
    Res: From<Bytes>,
{
    type Response = Response<Res>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Res>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.version() != Version::HTTP_2 || head_size(&request) <= MAX_REQUEST_HEAD {
            return Either::Left(self.inner.call(request));
        }
        tracing::debug!("request not forwarded: its head is too large");
        let response = too_large();
        (self.on_rejected)(response.status());
        Either::Right(ready(Ok(response)))
    }
}

/// The size of a head as HTTP/2 counts it.
fn head_size<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let path = uri.path_and_query().map(|path| path.as_str());
    let pseudo_fields = [
        (":method", Some(request.method().as_str())),
        (":scheme", uri.scheme_str()),
        (":authority", uri.authority().map(|host| host.as_str())),
        (":path", path),
    ];
    let pseudo_fields = pseudo_fields
        .into_iter()
        .filter_map(|(name, value)| Some(FIELD_OVERHEAD + name.len() + value?.len()));
    let fields = request
        .headers()
        .iter()
        .map(|(name, value)| FIELD_OVERHEAD + name.as_str().len() + value.len());
    pseudo_fields.chain(fields).sum()
}

fn too_large<Res: From<Bytes>>() -> Response<Res> {
    let text = Bytes::from_static(b"the request's head is too large\n");
    let mut response = Response::new(Res::from(text));
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
