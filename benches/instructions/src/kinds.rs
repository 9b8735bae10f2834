//! The kinds of requests that are counted. Each warms up, then does its work inside of [`counted`].

use std::convert::Infallible;
use std::future::{Future, Ready, poll_fn, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{unconstrained, yield_now};
use tower_layer::Layer;
use tower_response_cache::backend::codec;
use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, MemoryBackend, MemoryFence, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::{Clock, Moment, SystemClock};
use tower_response_cache::key::CacheKey;
use tower_response_cache::{Cache, CacheLayer};
use tower_service::Service;

use crate::counted::counted;
use crate::workload;

/// A kind of request.
pub struct Kind {
    pub name: &'static str,
    pub requests: usize,
    run: fn(usize),
}

/// All kinds.
pub const KINDS: [Kind; 11] = [
    hits("hit", |requests| hit(requests, 150, get)),
    hits("hit over HTTP/2", |requests| {
        hit(requests, 150, get_over_http2)
    }),
    hits("304", |requests| hit(requests, 150, get_if_changed)),
    hits("HEAD", |requests| hit(requests, 150, head)),
    hits("206", |requests| hit(requests, 150, get_range)),
    hits("hit, 16 KiB", |requests| hit(requests, 16 << 10, get)),
    hits("hit, 900 KiB", |requests| hit(requests, 900 << 10, get)),
    hits("hit, 1,000 keys", |requests| hits_of_keys(requests, 1000)),
    Kind {
        name: "miss, stored",
        requests: 500,
        run: |requests| forwarded(requests, &Inner::new("max-age=10", 150), get, "stored"),
    },
    Kind {
        name: "PUT",
        requests: 500,
        run: |requests| forwarded(requests, &Inner::new("no-store", 0), put, "invalidated"),
    },
    Kind {
        name: "Redis decode, 1 KiB",
        requests: 1000,
        run: decode,
    },
];

const fn hits(name: &'static str, run: fn(usize)) -> Kind {
    Kind {
        name,
        requests: 1000,
        run,
    }
}

/// Answers the requests of a kind.
pub fn run(name: &str) {
    let kind = KINDS.iter().find(|kind| kind.name == name);
    let kind = kind.expect("the name of a kind");
    (kind.run)(kind.requests);
}

/// The responses that the backend has room for, at most.
const STORED: usize = 500;

/// Hits of one stored response, with a body of this length.
fn hit(requests: usize, length: usize, request: fn(usize) -> Request<()>) {
    let mut cache =
        CacheLayer::new(MemoryBackend::default()).layer(Inner::new("max-age=900", length));
    // The first one stores it.
    answer(&mut cache, get(0));
    answer(&mut cache, get_over_http2(0));
    let last = (0..100).map(|_| answer(&mut cache, request(0))).last();
    assert_status(&last.expect("a response"), "hit");
    count_hits(cache, (0..requests).map(|_| request(0)).collect());
}

/// Hits of more stored responses than a thread remembers the heads of.
fn hits_of_keys(requests: usize, keys: usize) {
    let mut cache = CacheLayer::new(MemoryBackend::default()).layer(Inner::new("max-age=900", 150));
    let all = (0..2 * keys).map(|number| get(number % keys));
    let last = all.map(|request| answer(&mut cache, request)).last();
    assert_status(&last.expect("a response"), "hit");
    count_hits(
        cache,
        (0..requests).map(|number| get(number % keys)).collect(),
    );
}

fn count_hits(mut cache: Cache<Inner, MemoryBackend>, requests: Vec<Request<()>>) {
    let mut requests = requests.into_iter();
    counted(&mut || {
        requests
            .by_ref()
            .for_each(|request| drop(answer(&mut cache, request)))
    });
}

/// Answers a request at once, and returns the fields of the response.
fn answer(cache: &mut Cache<Inner, MemoryBackend>, request: Request<()>) -> HeaderMap {
    let response = now(cache.call(request));
    let (head, body) = black_box(response).into_parts();
    let body = now(body.collect()).to_bytes();
    assert!(black_box(body).len() <= 900 << 10);
    head.headers
}

/// Requests for new keys, which reach the inner service.
fn forwarded(requests: usize, inner: &Inner, request: fn(usize) -> Request<()>, status: &str) {
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let backend = MemoryBackend::new(1024 * STORED as u64);
    let cache = CacheLayer::new(backend).layer(inner.clone());
    // From here on each response that is stored evicts another one.
    let warm_up = (0..4 * STORED).map(request).collect();
    let last = serve(&runtime, &cache, warm_up);
    assert_status(&last.expect("a response"), status);
    let mut all: Vec<_> = (0..requests).map(|n| request(4 * STORED + n)).collect();
    counted(&mut || drop(serve(&runtime, &cache, std::mem::take(&mut all))));
}

/// Answers requests as a server does. Returns the last response's fields.
fn serve<S, B>(runtime: &Runtime, service: &S, requests: Vec<Request<()>>) -> Option<HeaderMap>
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes> + Unpin,
{
    runtime.block_on(unconstrained(async {
        let mut last = None;
        for request in requests {
            let mut service = service.clone();
            let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
            let Ok(response) = service.call(request).await;
            let (head, mut body) = response.into_parts();
            while let Some(frame) = body.frame().await {
                assert!(black_box(frame).is_ok());
            }
            last = Some(head.headers);
        }
        while runtime.metrics().num_alive_tasks() > 0 {
            yield_now().await;
        }
        last
    }))
}

/// What Redis has stored, as a response again.
fn decode(requests: usize) {
    let backend = Keeping {
        inner: MemoryBackend::default(),
        response: Arc::default(),
    };
    let mut cache = CacheLayer::new(backend.clone()).layer(Inner::new("max-age=900", 1024));
    now(now(cache.call(get(0))).into_body().collect());
    let response = backend.response.lock().expect("no panic").take();
    let moment = SystemClock.now();
    let encoded = codec::encode(&response.expect("a stored response"), moment, 0, b"");
    let one = || {
        let decoded = codec::decode(&encoded, moment, |_| Some(Duration::ZERO));
        assert!(black_box(decoded).is_ok());
    };
    one();
    counted(&mut || (0..requests).for_each(|_| one()));
}

/// Keeps the last response that was stored.
#[derive(Clone)]
struct Keeping {
    inner: MemoryBackend,
    response: Arc<Mutex<Option<Arc<StoredResponse>>>>,
}

impl ForwardBackend for Keeping {
    type Inner = MemoryBackend;

    fn inner(&self) -> &MemoryBackend {
        &self.inner
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: MemoryFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        *self.response.lock().expect("no panic") = Some(response.clone());
        Backend::put(&self.inner, key, fence, response, now).await
    }
}

/// The future's output; it must not have to wait.
fn now<T, E>(future: impl Future<Output = Result<T, E>>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(output)) => output,
        Poll::Ready(Err(_)) => panic!("no body fails here"),
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn assert_status(headers: &HeaderMap, expected: &str) {
    let status = headers["cache-status"].to_str().expect("ASCII");
    assert!(status.contains(expected), "{status}");
}

fn get(number: usize) -> Request<()> {
    workload::request(workload::uri(number), ())
}

fn get_over_http2(number: usize) -> Request<()> {
    let mut request = get(number);
    let uri: Result<Uri, _> = format!("http://shop.example:3000{}", workload::uri(number)).parse();
    *request.uri_mut() = uri.expect("a URI");
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(header::HOST);
    request
}

fn get_if_changed(number: usize) -> Request<()> {
    let mut request = get(number);
    let tag = HeaderValue::from_static(TAG);
    request.headers_mut().insert(header::IF_NONE_MATCH, tag);
    request
}

fn get_range(number: usize) -> Request<()> {
    let mut request = get(number);
    let range = HeaderValue::from_static("bytes=10-19");
    request.headers_mut().insert(header::RANGE, range);
    request
}

fn head(number: usize) -> Request<()> {
    let mut request = get(number);
    *request.method_mut() = Method::HEAD;
    request
}

fn put(number: usize) -> Request<()> {
    let mut request = get(number);
    *request.method_mut() = Method::PUT;
    request
}

const TAG: &str = "W/\"8f14e45fceea167a\"";

/// A service that clones a response which is ready.
#[derive(Clone)]
struct Inner(Arc<Response<OneFrame>>);

/// A body of one frame.
#[derive(Clone)]
struct OneFrame(Option<Bytes>);

impl Inner {
    /// A response with six fields. One without a body is a 204.
    fn new(cache_control: &str, length: usize) -> Self {
        let frame = (length > 0).then(|| Bytes::from(vec![b'x'; length]));
        let response = Response::builder()
            .status(
                frame
                    .as_ref()
                    .map_or(StatusCode::NO_CONTENT, |_| StatusCode::OK),
            )
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CACHE_CONTROL, cache_control)
            .header(header::CONTENT_LENGTH, length)
            .header(header::ETAG, TAG)
            .header(header::LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT")
            .header("x-request-id", "6ba7b810")
            .body(OneFrame(frame));
        Self(Arc::new(response.expect("a response")))
    }
}

impl Service<Request<()>> for Inner {
    type Response = Response<OneFrame>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::clone(&self.0)))
    }
}

impl Body for OneFrame {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}
