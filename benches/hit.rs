//! Measures a hit from memory, next to caches written by hand.
//!
//! The contestants run interleaved in many short rounds, on the CPU time of one thread; each ratio
//! is the median of the ratios within a round. Every contestant gets a request that was built for
//! it, and its response is dropped:
//!
//! * *request alone*: builds a request and drops it;
//! * *inner service*: clones a response that is ready; it is the service behind the cache;
//! * *hand-written, inserting*: looks up the path in a map, clones headers and body, inserts `Age`
//!   and one more header;
//! * *hand-written, replacing*: the stored headers have both already, and the values are replaced;
//! * *cache hit*: [`Cache`] by `Service::call` and one poll;
//! * *conditional request alone*: builds a request with `If-None-Match` and drops it;
//! * *cache hit, 304*: [`Cache`], asked with `If-None-Match` of the stored tag.
//!
//! The hand-written caches know no key but the path, no time, no freshness, no `Cache-Control` and
//! no counters: a lower bound.
//!
//! `cargo bench --bench hit` measures. With `--quick`, or run by `cargo test`, the program only
//! shows that it works.

mod support;

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use cpu_time::ThreadTime;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{Cache, CacheLayer};

use support::median;
use support::workload::{self, uri, zipf_picks};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const KEYS: usize = 10_000;
const BODY: usize = 150;
/// The number of requests in the sequence of keys that all contestants are asked for.
const SEQUENCE: usize = 1 << 16;

fn main() {
    let effort = if support::is_measuring() {
        Effort {
            rounds: 1000,
            requests: 2000,
        }
    } else {
        Effort {
            rounds: 3,
            requests: 100,
        }
    };
    let uris: Vec<Uri> = (0..KEYS).map(uri).collect();
    let mut contestants = contestants(&uris);
    for contestant in &mut contestants {
        contestant.serve(&uris, &(0..KEYS).collect::<Vec<_>>());
    }
    report("one key", &mut contestants, &uris, &[42; SEQUENCE], effort);
    let zipf = format!("{KEYS} keys, Zipf");
    report(
        &zipf,
        &mut contestants,
        &uris,
        &zipf_picks(KEYS, 1.0, SEQUENCE),
        effort,
    );
}

#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    /// The requests for each contestant in a round.
    requests: usize,
}

// The contestants.

/// A way to answer requests.
trait Contestant {
    fn name(&self) -> &'static str;
    /// Answers one request for each of the picked keys.
    fn serve(&mut self, uris: &[Uri], picks: &[usize]);
}

struct Named<F>(&'static str, F);

impl<F: FnMut(&Uri)> Contestant for Named<F> {
    fn name(&self) -> &'static str {
        self.0
    }

    fn serve(&mut self, uris: &[Uri], picks: &[usize]) {
        for pick in picks {
            (self.1)(&uris[*pick]);
        }
    }
}

const REQUEST: usize = 0;
const INNER: usize = 1;
const INSERTING: usize = 2;
const REPLACING: usize = 3;
const HIT: usize = 4;
const CONDITIONAL_REQUEST: usize = 5;
const NOT_MODIFIED: usize = 6;
const CONTESTANTS: usize = 7;

fn contestants(uris: &[Uri]) -> [Box<dyn Contestant>; CONTESTANTS] {
    let mut inner = Inner::new();
    let inserting = HandWritten::new(uris, false);
    let replacing = HandWritten::new(uris, true);
    let mut cache = filled_cache(uris);
    let mut asked_again = cache.clone();
    let not_modified = now(asked_again.call(conditional(&uris[0])));
    assert_eq!(not_modified.status(), http::StatusCode::NOT_MODIFIED);
    assert_answers(
        now(cache.call(request(&uris[0]))),
        "tower-response-cache; hit; ttl=",
    );
    assert_answers(
        inserting.answer_by_inserting(request(&uris[0])),
        "hand-written; hit",
    );
    assert_answers(
        replacing.answer_by_replacing(request(&uris[0])),
        "hand-written; hit",
    );
    [
        Box::new(Named("request alone", |uri: &Uri| {
            black_box(request(uri));
        })),
        Box::new(Named("inner service", move |uri: &Uri| {
            black_box(now(inner.call(request(uri))));
        })),
        Box::new(Named("hand-written, inserting", move |uri: &Uri| {
            black_box(inserting.answer_by_inserting(request(uri)));
        })),
        Box::new(Named("hand-written, replacing", move |uri: &Uri| {
            black_box(replacing.answer_by_replacing(request(uri)));
        })),
        Box::new(Named("cache hit", move |uri: &Uri| {
            black_box(now(cache.call(request(uri))));
        })),
        Box::new(Named("conditional request alone", |uri: &Uri| {
            black_box(conditional(uri));
        })),
        Box::new(Named("cache hit, 304", move |uri: &Uri| {
            black_box(now(asked_again.call(conditional(uri))));
        })),
    ]
}

fn request(uri: &Uri) -> Request<()> {
    workload::request(uri.clone(), ())
}

/// The request of a client that has the response already.
fn conditional(uri: &Uri) -> Request<()> {
    let mut request = request(uri);
    let tag = HeaderValue::from_static("W/\"8f14e45fceea167a\"");
    request.headers_mut().insert(header::IF_NONE_MATCH, tag);
    request
}

/// Six fields: two that a handler has as constants, four that it makes for each response.
fn response_headers() -> HeaderMap {
    let made = |value: &str| HeaderValue::from_bytes(value.as_bytes()).expect("a field value");
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let length = BODY.to_string();
    [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("max-age=604800"),
        ),
        (header::CONTENT_LENGTH, made(&length)),
        (header::ETAG, made("W/\"8f14e45fceea167a\"")),
        (header::LAST_MODIFIED, made(date)),
        (HeaderName::from_static("x-request-id"), made("6ba7b810")),
    ]
    .into_iter()
    .collect()
}

/// The future's output; it must not have to wait.
fn now<T>(future: impl Future<Output = Result<T, Infallible>>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(output)) => output,
        Poll::Pending => panic!("a hit does not wait"),
    }
}

fn assert_answers<B: Body>(response: Response<B>, status: &str) {
    let headers = response.headers();
    assert!(headers.contains_key(header::AGE));
    let cache_status = headers[CACHE_STATUS].to_str().expect("ASCII");
    assert!(cache_status.starts_with(status), "{cache_status}");
    assert_eq!(response.body().size_hint().exact(), Some(BODY as u64));
}

/// A service that clones a response which is ready.
#[derive(Clone)]
struct Inner {
    headers: HeaderMap,
    body: Bytes,
}

impl Inner {
    fn new() -> Self {
        Self {
            headers: response_headers(),
            body: vec![b'x'; BODY].into(),
        }
    }
}

impl Service<Request<()>> for Inner {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.headers_mut() = self.headers.clone();
        ready(Ok(response))
    }
}

/// The cache, with a stored response for every key.
fn filled_cache(uris: &[Uri]) -> Cache<Inner, MemoryBackend> {
    let mut cache = CacheLayer::new(MemoryBackend::default()).layer(Inner::new());
    for uri in uris {
        let response = now(cache.call(request(uri)));
        now(response.into_body().map_err(|_| unreachable!()).collect());
    }
    cache
}

/// A cache as one would write it by hand.
struct HandWritten {
    stored: quick_cache::sync::Cache<String, Arc<Stored>>,
    age: HeaderValue,
    status: HeaderValue,
}

struct Stored {
    headers: HeaderMap,
    body: Bytes,
}

impl HandWritten {
    fn new(uris: &[Uri], replacing: bool) -> Self {
        let stored = quick_cache::sync::Cache::new(uris.len() * 2);
        for uri in uris {
            let mut headers = response_headers();
            if replacing {
                headers.insert(header::AGE, HeaderValue::from_static("0"));
                headers.insert(CACHE_STATUS, HeaderValue::from_static(""));
            }
            let body = vec![b'x'; BODY].into();
            stored.insert(uri.path().to_owned(), Arc::new(Stored { headers, body }));
        }
        let shared = |value: &str| HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        Self {
            stored,
            age: shared("0"),
            status: shared("hand-written; hit"),
        }
    }

    fn answer_by_inserting(&self, request: Request<()>) -> Response<Full<Bytes>> {
        let stored = self.look_up(&request);
        let mut headers = stored.headers.clone();
        headers.insert(header::AGE, HeaderValue::from(black_box(0_u64)));
        headers.insert(CACHE_STATUS, self.status.clone());
        stored.answer(headers)
    }

    fn answer_by_replacing(&self, request: Request<()>) -> Response<Full<Bytes>> {
        let stored = self.look_up(&request);
        let mut headers = stored.headers.clone();
        for (name, value) in [(header::AGE, &self.age), (CACHE_STATUS, &self.status)] {
            if let Some(slot) = headers.get_mut(name) {
                *slot = value.clone();
            }
        }
        stored.answer(headers)
    }

    fn look_up(&self, request: &Request<()>) -> Arc<Stored> {
        let found = self.stored.get(request.uri().path());
        found.expect("every key is stored")
    }
}

impl Stored {
    fn answer(&self, headers: HeaderMap) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.headers_mut() = headers;
        response
    }
}

// The measurement.

fn report(
    workload: &str,
    contestants: &mut [Box<dyn Contestant>; CONTESTANTS],
    uris: &[Uri],
    picks: &[usize],
    effort: Effort,
) {
    let allocations: Vec<f64> = contestants
        .iter_mut()
        .map(|contestant| allocations(contestant.as_mut(), uris, &picks[..effort.requests]))
        .collect();
    let mut nanos = Vec::new();
    // Counting allocations takes time: not during the measurement.
    allocation_counter::opt_out(|| nanos = measure(contestants, uris, picks, effort));
    println!("{workload}");
    println!(
        "{:>40}  x inner  x inserting  x replacing  net of request  allocations",
        "ns"
    );
    for (row, contestant) in contestants.iter().enumerate() {
        let ratio_to = |base: usize| median(nanos.iter().map(|round| round[row] / round[base]));
        println!(
            "  {:<30} {:>7.0} {:>8.2} {:>12.2} {:>12.2} {:>15.2} {:>12.1}",
            contestant.name(),
            median(nanos.iter().map(|round| round[row])),
            ratio_to(INNER),
            ratio_to(INSERTING),
            ratio_to(REPLACING),
            median(nanos.iter().map(|round| net(round, row, REPLACING))),
            allocations[row],
        );
    }
    let hit = median(nanos.iter().map(|round| round[HIT] / round[REPLACING]));
    println!(
        "  a hit: {hit:.2} x hand-written, replacing, and {:.1} allocations (target: 1.40 and 8)",
        allocations[HIT]
    );
    let not_modified = median(nanos.iter().map(|round| {
        (round[NOT_MODIFIED] - round[CONDITIONAL_REQUEST]) / (round[HIT] - round[REQUEST])
    }));
    println!("  a 304: {not_modified:.2} x a hit, both without building the request\n");
}

/// The ratio of two contestants without the time that building the request takes.
fn net(round: &[f64; CONTESTANTS], row: usize, base: usize) -> f64 {
    (round[row] - round[REQUEST]) / (round[base] - round[REQUEST])
}

/// Nanoseconds of CPU time per request: a row for each round, a column for each contestant.
fn measure(
    contestants: &mut [Box<dyn Contestant>; CONTESTANTS],
    uris: &[Uri],
    picks: &[usize],
    effort: Effort,
) -> Vec<[f64; CONTESTANTS]> {
    (0..effort.rounds)
        .map(|round| {
            let from = round * effort.requests % (picks.len() - effort.requests);
            let picks = &picks[from..from + effort.requests];
            let mut nanos = [0.0; CONTESTANTS];
            for turn in 0..CONTESTANTS {
                // Each runs after each other one in turn, with the processor's caches left by it.
                let at = (round + turn) % CONTESTANTS;
                let start = ThreadTime::now();
                contestants[at].serve(uris, picks);
                nanos[at] = per_request(start.elapsed(), effort);
            }
            nanos
        })
        .collect()
}

fn per_request(elapsed: Duration, effort: Effort) -> f64 {
    elapsed.as_nanos() as f64 / effort.requests as f64
}

fn allocations(contestant: &mut dyn Contestant, uris: &[Uri], picks: &[usize]) -> f64 {
    let counted = allocation_counter::measure(|| contestant.serve(uris, picks));
    counted.count_total as f64 / picks.len() as f64
}
