//! What a hit from memory costs, next to what it would cost by hand.
//!
//! Contestants run interleaved, in short rounds of one run; the clock is this thread's CPU time, and ratios are medians
//! of each round's own. Every contestant is handed a request that was built for it, and its response is dropped:
//!
//! * *request only*: built and dropped, nothing answers;
//! * *inner service*: what is behind the cache, which clones a ready response;
//! * *floor, inserting*: a map lookup, the headers and the body cloned, `Age` and one more header inserted;
//! * *floor, slots*: the same, but the stored headers have room for both, filled with values that are shared;
//! * *memory hit*: ours, through `Service::call` and one poll;
//! * *conditional request* and *memory 304*: the same with `If-None-Match`, whose tag is the stored one.
//!
//! The floors know no key but the target, no time, no freshness, no `Cache-Control`, no counters. Nobody can do less.
//!
//! `cargo bench --bench hit` measures; with `--quick`, or run by `cargo test`, it only shows that it works.

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

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const KEYS: usize = 10_000;
const BODY: usize = 150;
/// How many requests are drawn beforehand; a power of two.
const DRAWN: usize = 1 << 16;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let effort = if has("--bench") && !has("--quick") && !has("--test") {
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
    report("one hot key", &mut contestants, &uris, &[42; DRAWN], effort);
    let zipf = format!("Zipf over {KEYS} keys");
    report(&zipf, &mut contestants, &uris, &zipf_picks(), effort);
}

#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    /// Of each contestant, in each round.
    requests: usize,
}

// What is measured.

/// Something that answers requests.
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

const SLOT_FLOOR: usize = 3;
const OURS: usize = 4;
const CONDITIONAL: usize = 5;
const UNMODIFIED: usize = 6;
const CONTESTANTS: usize = 7;

fn contestants(uris: &[Uri]) -> [Box<dyn Contestant>; CONTESTANTS] {
    let mut inner = Inner::new();
    let inserting = Floor::new(uris, false);
    let slots = Floor::new(uris, true);
    let mut cache = filled_cache(uris);
    let mut same = cache.clone();
    let unmodified = now(same.call(conditional(&uris[0])));
    assert_eq!(unmodified.status(), http::StatusCode::NOT_MODIFIED);
    assert_answers(
        now(cache.call(request(&uris[0]))),
        "tower-response-cache; hit; ttl=",
    );
    assert_answers(inserting.answer_inserting(request(&uris[0])), "floor; hit");
    assert_answers(slots.answer_in_slots(request(&uris[0])), "floor; hit");
    [
        Box::new(Named("request only", |uri: &Uri| {
            black_box(request(uri));
        })),
        Box::new(Named("inner service", move |uri: &Uri| {
            black_box(now(inner.call(request(uri))));
        })),
        Box::new(Named("floor, inserting", move |uri: &Uri| {
            black_box(inserting.answer_inserting(request(uri)));
        })),
        Box::new(Named("floor, slots", move |uri: &Uri| {
            black_box(slots.answer_in_slots(request(uri)));
        })),
        Box::new(Named("memory hit", move |uri: &Uri| {
            black_box(now(cache.call(request(uri))));
        })),
        Box::new(Named("conditional request", |uri: &Uri| {
            black_box(conditional(uri));
        })),
        Box::new(Named("memory 304", move |uri: &Uri| {
            black_box(now(same.call(conditional(uri))));
        })),
    ]
}

fn uri(number: usize) -> Uri {
    let text = format!("/products/{number:08}-4c1b-9d70-00c04fd430c8");
    text.parse().expect("a path")
}

fn request(uri: &Uri) -> Request<()> {
    let mut request = Request::new(());
    *request.uri_mut() = uri.clone();
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

/// The same of a client that has it already.
fn conditional(uri: &Uri) -> Request<()> {
    let mut request = request(uri);
    let tag = HeaderValue::from_static("W/\"8f14e45fceea167a\"");
    request.headers_mut().insert(header::IF_NONE_MATCH, tag);
    request
}

/// Six fields: two a handler writes down as constants, four it makes.
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
        Poll::Pending => panic!("a hit waits for nothing"),
    }
}

fn assert_answers<B: Body>(response: Response<B>, status: &str) {
    let headers = response.headers();
    assert!(headers.contains_key(header::AGE));
    let told = headers[CACHE_STATUS].to_str().expect("ASCII");
    assert!(told.starts_with(status), "{told}");
    assert_eq!(response.body().size_hint().exact(), Some(BODY as u64));
}

/// A service that does as little as one can.
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

/// The cache, with every key in it.
fn filled_cache(uris: &[Uri]) -> Cache<Inner, MemoryBackend> {
    let mut cache = CacheLayer::new(MemoryBackend::default()).layer(Inner::new());
    for uri in uris {
        let response = now(cache.call(request(uri)));
        now(response.into_body().map_err(|_| unreachable!()).collect());
    }
    cache
}

/// What one would write by hand.
struct Floor {
    stored: quick_cache::sync::Cache<String, Arc<Stored>>,
    age: HeaderValue,
    status: HeaderValue,
}

struct Stored {
    headers: HeaderMap,
    body: Bytes,
}

impl Floor {
    fn new(uris: &[Uri], slots: bool) -> Self {
        let stored = quick_cache::sync::Cache::new(uris.len() * 2);
        for uri in uris {
            let mut headers = response_headers();
            if slots {
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
            status: shared("floor; hit"),
        }
    }

    fn answer_inserting(&self, request: Request<()>) -> Response<Full<Bytes>> {
        let stored = self.look_up(&request);
        let mut headers = stored.headers.clone();
        headers.insert(header::AGE, HeaderValue::from(black_box(0_u64)));
        headers.insert(CACHE_STATUS, self.status.clone());
        stored.answer(headers)
    }

    fn answer_in_slots(&self, request: Request<()>) -> Response<Full<Bytes>> {
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

// How it is measured.

/// Keys drawn by Zipf's law with exponent 1, the same in every run, their ranks scattered over the keys.
fn zipf_picks() -> Vec<usize> {
    let mut total = 0.0;
    let sums: Vec<f64> = (1..=KEYS)
        .map(|rank| {
            total += 1.0 / rank as f64;
            total
        })
        .collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = sums.partition_point(|sum| *sum < uniform * total);
        rank.min(KEYS - 1) * 7919 % KEYS
    };
    (0..DRAWN).map(|_| draw()).collect()
}

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
    // Counting costs a little: not while time is taken.
    allocation_counter::opt_out(|| nanos = measure(contestants, uris, picks, effort));
    println!(
        "{workload:<22}      ns   of inner   of inserting   of slots   of slots, request aside   allocations"
    );
    for (at, contestant) in contestants.iter().enumerate() {
        let of = |base: usize| median(nanos.iter().map(|round| round[at] / round[base]));
        let aside = median(
            nanos
                .iter()
                .map(|round| (round[at] - round[0]) / (round[SLOT_FLOOR] - round[0])),
        );
        println!(
            "  {:<20} {:>7.0} {:>10.2} {:>14.2} {:>10.2} {:>25.2} {:>13.1}",
            contestant.name(),
            median(nanos.iter().map(|round| round[at])),
            of(1),
            of(2),
            of(SLOT_FLOOR),
            aside,
            allocations[at],
        );
    }
    let (ratio, allocations) = (
        median(nanos.iter().map(|round| round[OURS] / round[SLOT_FLOOR])),
        allocations[OURS],
    );
    println!("  aim: 1.40 x the slot floor, 8 allocations; is: {ratio:.2}, {allocations:.1}");
    let costs = |round: &[f64; CONTESTANTS]| {
        (round[UNMODIFIED] - round[CONDITIONAL]) / (round[OURS] - round[0])
    };
    let ratio = median(nanos.iter().map(costs));
    println!("  a 304 costs, requests aside, {ratio:.2} of a hit\n");
}

/// Nanoseconds of CPU time per request: a row per round, a column per contestant.
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
                // Everybody follows everybody else's caches and predictions in turn.
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

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
