//! The largest head of a request over HTTP/2, and the memory of all of them. Over HTTP/1.1 a head is
//! bounded by hyper's buffer, and all of them by the number of connections.
//!
//! The library for HTTP/2 has a limit of its own, but answers beyond it without telling anybody, so
//! that no counter knows of the request. This one is reached before.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use tokio_util::either::Either;
use tower::Service;
use tower_response_cache::proxy::Peer;

use crate::request_memory::{RequestMemory, WithMemory};
use crate::server::{MAX_REQUEST_HEAD, OnOutside};

/// Says why a request was refused, in the access log, too (RFC 9211).
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What a field counts beside its name and its value (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// What a request takes beside its head and its content, as measured.
const REQUEST_BYTES: usize = 12 * 1024;
/// How often a head is held while its request waits: as it came, as the cache's key and the upstream
/// have it.
const HEAD_COPIES: usize = 2;

/// A service that answers requests with a larger head with 431, and those for which there is no
/// memory with 503.
#[derive(Clone)]
pub struct HeadLimit<S> {
    inner: S,
    memory: RequestMemory,
    /// Longer content is not collected.
    max_buffered: u64,
    on_rejected: OnOutside,
}

impl<S> HeadLimit<S> {
    pub fn new(
        inner: S,
        (memory, max_buffered): (RequestMemory, u64),
        on_rejected: OnOutside,
    ) -> Self {
        Self {
            inner,
            memory,
            max_buffered,
            on_rejected,
        }
    }

    /// What a request takes while it waits.
    fn cost<B>(&self, request: &Request<B>, head: usize) -> usize {
        let length = request.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let collected = length.filter(|length: &u64| *length <= self.max_buffered);
        let content = usize::try_from(collected.unwrap_or(0)).unwrap_or(usize::MAX);
        (REQUEST_BYTES + HEAD_COPIES * head).saturating_add(content)
    }

    fn reject<Res: From<Bytes>>(&self, status: StatusCode) -> Response<Res> {
        let (text, reason) = match status {
            StatusCode::SERVICE_UNAVAILABLE => (
                "there are too many requests\n",
                "tower-response-cache; detail=request_memory_limit_reached",
            ),
            _ => (
                "the request's head is too large\n",
                "tower-response-cache; detail=http_request_error",
            ),
        };
        tracing::debug!(%status, "request not forwarded: {}", text.trim_end());
        (self.on_rejected)(status);
        let mut response = Response::new(Res::from(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(CACHE_STATUS, HeaderValue::from_static(reason));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        response
    }
}

impl<S, B, Res> Service<Request<B>> for HeadLimit<S>
where
    S: Service<Request<B>, Response = Response<Res>>,
    Res: From<Bytes>,
{
    type Response = Response<Res>;
    type Error = S::Error;
    type Future = Either<WithMemory<S::Future>, Ready<Result<Response<Res>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.version() != Version::HTTP_2 {
            return Either::Left(WithMemory::new(self.inner.call(request), None));
        }
        let size = head_size(&request);
        if size > MAX_REQUEST_HEAD {
            let response = self.reject(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            return Either::Right(ready(Ok(response)));
        }
        let client = request.extensions().get::<Peer>().map(Peer::network);
        match self.memory.take(client, self.cost(&request, size)) {
            Some(bytes) => Either::Left(WithMemory::new(self.inner.call(request), Some(bytes))),
            None => {
                let response = self.reject(StatusCode::SERVICE_UNAVAILABLE);
                Either::Right(ready(Ok(response)))
            }
        }
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
