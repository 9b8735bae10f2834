//! Measures misses, writes and bypasses over a service that answers at once, next to that service
//! alone.
//!
//! The contestants run interleaved in many short rounds, on the CPU time of one thread; each ratio
//! is the median of the ratios within a round. Each does what a server does: it builds a request of
//! a parsed URI, clones its service, readies and calls the clone, and reads the body to its end.
//! Tasks that it leaves behind count as its time. No real service is as fast as the one here: the
//! time that a miss adds to it is the time that it adds to any.
//!
//! * *inner service*: clones a response that is ready, with 150 bytes in one frame;
//! * *inner service, 8 frames*: with eight such frames;
//! * *inner service, PUT*: answers a PUT with 204 and no body;
//! * *bypass*: through a cache whose `skip` hook declines the request;
//! * *uncacheable, new key*: the response is `no-store`; the request leads a flight;
//! * *uncacheable, known key*: the key is remembered as uncacheable; the request calls for itself;
//! * *miss, stored*: a new key, stored in a full backend, which evicts older ones;
//! * *miss, stored, 8 frames*: with eight frames, which a task moves;
//! * *stale, stored again*: one key whose stored response is always stale, and is replaced;
//! * *write (PUT)*: invalidates its target.
//!
//! `cargo bench --bench miss` measures. With `--quick`, or run by `cargo test`, the program only
//! shows that it works.

mod support;

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cpu_time::ThreadTime;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{unconstrained, yield_now};
use tower::{Layer, Service};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::clock::{Clock, Moment, SystemClock};
use tower_response_cache::stats::Stats;
use tower_response_cache::{CacheHandle, CacheLayer};

use support::{median, workload};

/// The requests for each contestant in a round.
const REQUESTS: usize = 200;
/// The number of responses that the backend has room for, about.
const STORED: usize = 3000;

fn main() {
    let rounds = if support::is_measuring() { 1500 } else { 3 };
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let mut contestants = contestants();
    for contestant in &mut contestants {
        contestant.check(&runtime);
    }
    let allocations = contestants.each_mut().map(|contestant| {
        let uris = contestant.uris(REQUESTS);
        let counted = allocation_counter::measure(|| drop((contestant.serve)(&runtime, uris)));
        counted.count_total as f64 / REQUESTS as f64
    });
    // The only difference between the two that can be seen from outside.
    let [.., new_key, known_key, _, _, _, _] = allocations;
    assert!(
        known_key < new_key,
        "a key known as uncacheable has no flight"
    );
    let mut nanos = Vec::new();
    // Counting allocations takes time: not during the measurement.
    allocation_counter::opt_out(|| nanos = measure(&mut contestants, &runtime, rounds));
    report(&contestants, &nanos, &allocations);
}

struct Contestant {
    name: &'static str,
    /// The row it is compared with.
    base: usize,
    /// The difference between the numbers of its keys: 0 for a single key, 1 for new ones.
    step: u64,
    serve: Serve,
    /// The cache, if there is one, and the `Cache-Status` that is expected of it.
    cache: Option<(CacheHandle<MemoryBackend>, &'static str)>,
}

/// Answers a request for each of the URIs. Returns the `Cache-Status` of the last response.
type Serve = Box<dyn FnMut(&Runtime, Vec<Uri>) -> Option<HeaderValue>>;

/// The first three rows, which the others are compared with, and their methods.
const INNER: usize = 0;
const INNER_FRAMES: usize = 1;
const INNER_PUT: usize = 2;
const METHODS: [Method; 3] = [Method::GET, Method::GET, Method::PUT];
const ALL: usize = 10;

fn contestants() -> [Contestant; ALL] {
    let (inner, frames) = (Inner::new("max-age=10", 1), Inner::new("max-age=10", 8));
    let (no_store, put) = (Inner::new("no-store", 1), Inner::new("no-store", 0));
    let layer = || CacheLayer::new(MemoryBackend::new(450 * STORED as u64));
    let skipping = layer().skip(|_| true);
    let ageing = layer().stale_if_unreachable(Duration::ZERO).clock(|| {
        let now = SystemClock.now();
        let ahead = Duration::from_secs(100 * ASKED.load(Ordering::Relaxed));
        Moment::new(now.monotonic() + ahead, now.wall() + ahead)
    });
    let alone = |name, base: usize, step, inner: &Inner| Contestant {
        name,
        base,
        step,
        serve: serve(inner.clone(), METHODS[base].clone()),
        cache: None,
    };
    let cached =
        |name, base: usize, step, inner: &Inner, layer: CacheLayer<_>, status| Contestant {
            serve: serve(layer.layer(inner.clone()), METHODS[base].clone()),
            cache: Some((layer.handle(), status)),
            ..alone(name, base, step, inner)
        };
    let (uncacheable, stored) = ("fwd=uri-miss; detail=no-store", "fwd=uri-miss; stored");
    let (skipped, stored_again) = ("fwd=bypass; detail=skipped", "fwd=stale; stored");
    let invalidated = "fwd=method; detail=invalidated";
    [
        alone("inner service", INNER, 1, &inner),
        alone("inner service, 8 frames", INNER_FRAMES, 1, &frames),
        alone("inner service, PUT", INNER_PUT, 1, &put),
        cached("bypass", INNER, 1, &inner, skipping, skipped),
        cached(
            "uncacheable, new key",
            INNER,
            1,
            &no_store,
            layer(),
            uncacheable,
        ),
        cached(
            "uncacheable, known key",
            INNER,
            0,
            &no_store,
            layer(),
            uncacheable,
        ),
        cached("miss, stored", INNER, 1, &inner, layer(), stored),
        cached(
            "miss, stored, 8 frames",
            INNER_FRAMES,
            1,
            &frames,
            layer(),
            stored,
        ),
        cached(
            "stale, stored again",
            INNER,
            0,
            &inner,
            ageing,
            stored_again,
        ),
        cached("write (PUT)", INNER_PUT, 1, &put, layer(), invalidated),
    ]
}

impl Contestant {
    fn uris(&self, requests: usize) -> Vec<Uri> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let uri = |_| {
            let number = self.step * NEXT.fetch_add(self.step, Ordering::Relaxed);
            workload::uri(number as usize)
        };
        (0..requests).map(uri).collect()
    }

    /// Checks that the contestant does what its name says, once its backend is full.
    fn check(&mut self, runtime: &Runtime) {
        let (warm_up, uris) = (self.uris(STORED * 2), self.uris(REQUESTS));
        (self.serve)(runtime, warm_up);
        let Some((cache, expected)) = &self.cache else {
            return;
        };
        let (before, status, after) = (cache.stats(), (self.serve)(runtime, uris), cache.stats());
        let expected = format!("tower-response-cache; {expected}");
        assert_eq!(status.expect("a Cache-Status"), expected);
        let refused = |s: &Stats| s.refusals.total() + s.bypasses.total();
        let ended = |s: &Stats| refused(s) + s.stores + s.writes.total();
        assert_eq!(
            ended(&after) - ended(&before),
            REQUESTS as u64,
            "{expected}"
        );
        assert_eq!(after.in_flight.tasks, 0, "{expected}");
        let evictions = |stats: &Stats| stats.usage.map_or(0, |usage| usage.evictions);
        let evicts = self.step > 0 && after.stores > 0;
        assert_eq!(evictions(&after) > evictions(&before), evicts, "{expected}");
    }
}

/// The number of requests so far: the clock of *stale, stored again* is ahead by 100 seconds for
/// each.
static ASKED: AtomicU64 = AtomicU64::new(0);

fn serve<S, B>(service: S, method: Method) -> Serve
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Clone + 'static,
    B: Body<Data = Bytes> + Unpin,
{
    Box::new(move |runtime, uris| {
        // Without tokio's cooperative budget: on a server each request has one of its own.
        runtime.block_on(unconstrained(async {
            let mut cache_status = None;
            for uri in uris {
                ASKED.fetch_add(1, Ordering::Relaxed);
                let mut service = service.clone();
                let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
                let Ok(mut response) = service.call(request(&method, uri)).await;
                while let Some(frame) = response.body_mut().frame().await {
                    assert!(black_box(frame).is_ok());
                }
                cache_status = black_box(response).headers_mut().remove("cache-status");
            }
            // The cache knows the number too, but asking it takes as long as a request.
            while runtime.metrics().num_alive_tasks() > 0 {
                yield_now().await;
            }
            cache_status
        }))
    })
}

fn request(method: &Method, uri: Uri) -> Request<()> {
    let mut request = workload::request(uri, ());
    *request.method_mut() = method.clone();
    request
}

/// A service that clones a response which is ready.
#[derive(Clone)]
struct Inner(Arc<Response<Frames>>);

/// A body of several equal frames.
#[derive(Clone)]
struct Frames {
    frame: Bytes,
    left: usize,
}

impl Inner {
    fn new(cache_control: &str, left: usize) -> Self {
        let frame = Bytes::from(vec![b'x'; 150]);
        let response = Response::builder()
            .status([StatusCode::NO_CONTENT, StatusCode::OK][left.min(1)])
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CACHE_CONTROL, cache_control)
            .header(header::CONTENT_LENGTH, left * frame.len())
            .header(header::ETAG, "W/\"8f14e45fceea167a\"")
            .header(header::LAST_MODIFIED, "Sun, 06 Nov 1994 08:49:37 GMT")
            .header("x-request-id", "6ba7b810")
            .body(Frames { frame, left });
        Self(Arc::new(response.expect("a response")))
    }
}

impl Service<Request<()>> for Inner {
    type Response = Response<Frames>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::clone(&self.0)))
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.left.checked_sub(1).map(|left| {
            self.left = left;
            Ok(Frame::data(self.frame.clone()))
        }))
    }
}

/// Nanoseconds of CPU time per request: a row for each round, a column for each contestant.
fn measure(all: &mut [Contestant; ALL], runtime: &Runtime, rounds: usize) -> Vec<[f64; ALL]> {
    let mut nanos = vec![[0.0; ALL]; rounds];
    for (round, nanos) in nanos.iter_mut().enumerate() {
        for turn in 0..ALL {
            // Each runs after each other one in turn, with the processor's caches left by it.
            let at = (round + turn) % ALL;
            let uris = all[at].uris(REQUESTS);
            let start = ThreadTime::now();
            black_box((all[at].serve)(runtime, uris));
            nanos[at] = start.elapsed().as_nanos() as f64 / REQUESTS as f64;
        }
    }
    nanos
}

fn report(contestants: &[Contestant; ALL], nanos: &[[f64; ALL]], allocations: &[f64; ALL]) {
    println!("                                ns  x inner service  allocations");
    for (row, contestant) in contestants.iter().enumerate() {
        let (name, allocations) = (contestant.name, allocations[row]);
        let time = median(nanos.iter().map(|round| round[row]));
        let ratio = median(
            nanos
                .iter()
                .map(|round| round[row] / round[contestant.base]),
        );
        println!("{name:<26} {time:>7.0} {ratio:>16.2} {allocations:>12.1}");
    }
}
