//! What a miss costs over a service that answers at once, next to that service alone.
//!
//! Contestants run interleaved, in short rounds of one run; the clock is this thread's CPU time, and ratios are medians
//! of each round's own. Each does what a server does: builds a request (of a URI that was parsed for it), clones its
//! service, readies and calls the clone, reads the body to its end. Tasks that it leaves behind are part of its time. No
//! service takes as little time as the one here: what a miss adds to it, it adds to any.
//!
//! * *inner service*: what is behind the cache, which clones a ready response, its 150 bytes in one frame;
//! * *inner, 8 frames*: the same with eight such frames; *inner, PUT*: with 204 and no body;
//! * *passed*: through a cache that is told to skip it;
//! * *not stored*: the answer is `no-store` and the key new, so that it leads a flight;
//! * *known as not stored*: the same for one key, which is remembered, so that it goes alone;
//! * *stored*: the key is new, and pushes older ones out of a backend that is full;
//! * *stored, 8 frames*: the same, with a task that moves the frames;
//! * *stale*: one key, whose stored response is too old whenever it is asked for, and is replaced;
//! * *PUT*: a write, which invalidates its target.
//!
//! `cargo bench --bench miss` measures; with `--quick`, or run by `cargo test`, it only shows that it works.

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

/// Of each contestant, in each round.
const REQUESTS: usize = 200;
/// For about so many responses.
const ROOM: usize = 3000;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let is_measured = has("--bench") && !has("--quick") && !has("--test");
    let rounds = if is_measured { 1500 } else { 3 };
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let mut contestants = contestants();
    for contestant in &mut contestants {
        contestant.prove(&runtime);
    }
    let allocations = contestants.each_mut().map(|contestant| {
        let uris = contestant.uris(REQUESTS);
        let counted = allocation_counter::measure(|| drop((contestant.serve)(&runtime, uris)));
        counted.count_total as f64 / REQUESTS as f64
    });
    // From outside this is all there is to tell the two apart.
    let [.., not_stored, known, _, _, _, _] = allocations;
    assert!(known < not_stored, "what is remembered opens no flight");
    let mut nanos = Vec::new();
    // Counting costs a little: not while time is taken.
    allocation_counter::opt_out(|| nanos = measure(&mut contestants, &runtime, rounds));
    report(&contestants, &nanos, &allocations);
}

struct Contestant {
    name: &'static str,
    /// The place of the one it is compared with.
    base: usize,
    /// What the number of its key grows by: 0 for one key, 1 for new ones.
    step: u64,
    serve: Serve,
    /// The cache, if there is one, and what it says of its answers.
    cache: Option<(CacheHandle<MemoryBackend>, &'static str)>,
}

/// Answers a request for each of the URIs; the last answer's `Cache-Status`.
type Serve = Box<dyn FnMut(&Runtime, Vec<Uri>) -> Option<HeaderValue>>;

/// The first three: what the others are compared with, and how it is asked.
const INNER: usize = 0;
const INNER_FRAMES: usize = 1;
const INNER_PUT: usize = 2;
const METHODS: [Method; 3] = [Method::GET, Method::GET, Method::PUT];
const ALL: usize = 10;

fn contestants() -> [Contestant; ALL] {
    let (inner, frames) = (Inner::new("max-age=10", 1), Inner::new("max-age=10", 8));
    let (no_store, put) = (Inner::new("no-store", 1), Inner::new("no-store", 0));
    let layer = || CacheLayer::new(MemoryBackend::new(1400 * ROOM as u64));
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
    let cached = |name, base: usize, step, inner: &Inner, layer: CacheLayer<_>, told| Contestant {
        serve: serve(layer.layer(inner.clone()), METHODS[base].clone()),
        cache: Some((layer.handle(), told)),
        ..alone(name, base, step, inner)
    };
    let (past, no) = (
        "fwd=bypass; detail=skipped",
        "fwd=uri-miss; detail=no-store",
    );
    let (yes, done) = ("fwd=uri-miss; stored", "fwd=method; detail=invalidated");
    [
        alone("inner service", INNER, 1, &inner),
        alone("inner, 8 frames", INNER_FRAMES, 1, &frames),
        alone("inner, PUT", INNER_PUT, 1, &put),
        cached("passed", INNER, 1, &inner, skipping, past),
        cached("not stored", INNER, 1, &no_store, layer(), no),
        cached("known as not stored", INNER, 0, &no_store, layer(), no),
        cached("stored", INNER, 1, &inner, layer(), yes),
        cached("stored, 8 frames", INNER_FRAMES, 1, &frames, layer(), yes),
        cached("stale", INNER, 0, &inner, ageing, "fwd=stale; stored"),
        cached("PUT", INNER_PUT, 1, &put, layer(), done),
    ]
}

impl Contestant {
    fn uris(&self, requests: usize) -> Vec<Uri> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let uri = |_| {
            let number = self.step * NEXT.fetch_add(self.step, Ordering::Relaxed);
            let text = format!("/products/{number:08}-4c1b-9d70-00c04fd430c8");
            text.parse().expect("a path")
        };
        (0..requests).map(uri).collect()
    }

    /// Shows that it does what its name says, once its backend is as full as it gets.
    fn prove(&mut self, runtime: &Runtime) {
        let (warm_up, uris) = (self.uris(ROOM * 2), self.uris(REQUESTS));
        (self.serve)(runtime, warm_up);
        let Some((cache, says)) = &self.cache else {
            return;
        };
        let (before, told, after) = (cache.stats(), (self.serve)(runtime, uris), cache.stats());
        let says = format!("tower-response-cache; {says}");
        assert_eq!(told.expect("a Cache-Status"), says);
        let refused = |s: &Stats| s.refusals.total() + s.bypasses.total();
        let ended = |s: &Stats| refused(s) + s.stores + s.writes.total();
        assert_eq!(ended(&after) - ended(&before), REQUESTS as u64, "{says}");
        assert_eq!(after.in_flight.tasks, 0, "{says}");
        let evictions = |stats: &Stats| stats.usage.map_or(0, |usage| usage.evictions);
        let evicts = self.step > 0 && after.stores > 0;
        assert_eq!(evictions(&after) > evictions(&before), evicts, "{says}");
    }
}

/// How many requests there have been: the clock of *stale* is ahead by 100 seconds for each.
static ASKED: AtomicU64 = AtomicU64::new(0);

fn serve<S, B>(service: S, method: Method) -> Serve
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Clone + 'static,
    B: Body<Data = Bytes> + Unpin,
{
    Box::new(move |runtime, uris| {
        // Without tokio's budget, which each request would have anew if it came in a poll of its own.
        runtime.block_on(unconstrained(async {
            let mut told = None;
            for uri in uris {
                ASKED.fetch_add(1, Ordering::Relaxed);
                let mut service = service.clone();
                let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
                let Ok(mut response) = service.call(request(&method, uri)).await;
                while let Some(frame) = response.body_mut().frame().await {
                    assert!(black_box(frame).is_ok());
                }
                told = black_box(response).headers_mut().remove("cache-status");
            }
            // The cache knows this, too, but to ask it costs as much as a request.
            while runtime.metrics().num_alive_tasks() > 0 {
                yield_now().await;
            }
            told
        }))
    })
}

fn request(method: &Method, uri: Uri) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    for (name, value) in [
        (header::HOST, "shop.example:3000"),
        (header::USER_AGENT, "bench/1.0 (a client of some kind)"),
        (header::ACCEPT, "application/json"),
        (header::ACCEPT_ENCODING, "gzip, deflate, br"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    request
}

/// A service that does as little as one can.
#[derive(Clone)]
struct Inner(Arc<Response<Frames>>);

/// The same frame several times.
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

/// Nanoseconds of CPU time per request: a row per round, a column per contestant.
fn measure(all: &mut [Contestant; ALL], runtime: &Runtime, rounds: usize) -> Vec<[f64; ALL]> {
    let mut nanos = vec![[0.0; ALL]; rounds];
    for (round, nanos) in nanos.iter_mut().enumerate() {
        for turn in 0..ALL {
            // Everybody follows everybody else's caches and predictions in turn.
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
    println!("                           ns   allocations   of the inner service");
    for (at, contestant) in contestants.iter().enumerate() {
        let (name, allocations) = (contestant.name, allocations[at]);
        let time = median(nanos.iter().map(|round| round[at]));
        let ratio = median(nanos.iter().map(|round| round[at] / round[contestant.base]));
        println!("{name:<20} {time:>8.0} {allocations:>13.1} {ratio:>22.2}");
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
