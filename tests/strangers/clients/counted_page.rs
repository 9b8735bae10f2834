//! A page whose origin counts its calls, and what honest clients get of it beside a stranger.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;
use tower_response_cache::Cache;
use tower_response_cache::backend::MemoryBackend;

use super::{FOR_EVER, MS, around, from};
use crate::support::origin::{Origin, answer};
use crate::support::time::SECOND;
use crate::support::{get, send, with};

pub type Service = Cache<Origin, MemoryBackend>;

pub const NAMES: [&str; 26] = [
    "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t",
    "u", "v", "w", "x", "y", "z", "aa",
];

/// Counts of calls: of requests with `x-odd`, and of those without.
#[derive(Clone, Default)]
pub struct Counts {
    pub odd: Arc<AtomicUsize>,
    pub plain: Arc<AtomicUsize>,
    /// At most at once, of those without.
    at_once: Arc<AtomicUsize>,
    pub most: Arc<AtomicUsize>,
}

impl Counts {
    pub fn plain(&self) -> usize {
        self.plain.load(Ordering::Relaxed)
    }
}

/// A page whose plain calls take what `cost` says for their number, in ms. Requests with `x-odd` do
/// what that says: `hangs`, `takes MS STATUS`. A POST fails with it, and succeeds without.
pub fn page(
    cost: impl Fn(usize) -> u64 + Send + Sync + 'static,
    directives: &'static str,
) -> (Origin, Counts) {
    limited_page(cost, directives, 100_000)
}

/// The same, of an origin that works on so many plain calls at once.
pub fn limited_page(
    cost: impl Fn(usize) -> u64 + Send + Sync + 'static,
    directives: &'static str,
    workers: usize,
) -> (Origin, Counts) {
    let counts = Counts::default();
    let workers = Arc::new(Semaphore::new(workers));
    let (counted, cost) = (counts.clone(), Arc::new(cost));
    let origin = Origin::new(move |request: Request<()>| {
        let (counts, cost) = (counted.clone(), cost.clone());
        let workers = workers.clone();
        async move {
            if *request.method() == Method::POST {
                let fails = request.headers().contains_key("x-odd");
                return Ok(answer(if fails { 500 } else { 204 }, &[], ""));
            }
            let odd = request.headers().get("x-odd");
            let odd = odd.map_or("", |odd| odd.to_str().expect("text"));
            let mut words = odd.split(' ');
            let lines = [("cache-control", directives), ("etag", "\"1\"")];
            let status = match request.headers().contains_key("if-none-match") {
                true => 304,
                false => 200,
            };
            match words.next() {
                Some("hangs") => {
                    counts.odd.fetch_add(1, Ordering::Relaxed);
                    sleep(FOR_EVER).await;
                }
                Some("takes") => {
                    counts.odd.fetch_add(1, Ordering::Relaxed);
                    let mut number =
                        || words.next().expect("a number").parse::<u64>().expect("one");
                    let (took, status) = (number(), number() as u16);
                    sleep(Duration::from_millis(took)).await;
                    return Ok(match status {
                        200 => answer(200, &lines, "page"),
                        _ => answer(status, &[("cache-control", "no-store")], "no"),
                    });
                }
                _ => {
                    let number = counts.plain.fetch_add(1, Ordering::Relaxed);
                    let now = counts.at_once.fetch_add(1, Ordering::Relaxed) + 1;
                    counts.most.fetch_max(now, Ordering::Relaxed);
                    let worker = workers.acquire().await.expect("open");
                    sleep(Duration::from_millis(cost(number))).await;
                    drop(worker);
                    counts.at_once.fetch_sub(1, Ordering::Relaxed);
                }
            }
            Ok(match status {
                304 => answer(304, &lines, ""),
                _ => answer(200, &lines, "page"),
            })
        }
    });
    (origin, counts)
}

pub fn does(path: &str, what: &str) -> Request<()> {
    from("a", with(get(path), "x-odd", what))
}

pub fn takes(path: &str, milliseconds: u64, status: u16) -> Request<()> {
    does(path, &format!("takes {milliseconds} {status}"))
}

pub fn start(service: &Service, request: Request<()>, patience: Duration) {
    let service = service.clone();
    tokio::spawn(timeout(patience, async move {
        let response = service.oneshot(request).await.expect("an answer");
        let _ = response.into_body().collect().await;
    }));
}

/// What honest clients get.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "printed")]
pub struct Got {
    pub mean: Duration,
    pub longest: Duration,
    /// How many have waited longer than 5 s.
    pub long: usize,
    /// How many have got nothing within their patience.
    pub failed: usize,
    pub count: usize,
}

impl Got {
    /// How long each has waited, and whether it has got nothing.
    pub fn new(all: &[(Duration, bool)]) -> Self {
        let waited = || all.iter().map(|(waited, _)| *waited);
        Self {
            mean: waited().sum::<Duration>() / all.len() as u32,
            longest: waited().max().expect("many"),
            long: waited().filter(|waited| *waited > 5 * SECOND).count(),
            failed: all.iter().filter(|(_, failed)| *failed).count(),
            count: all.len(),
        }
    }
}

/// Honest requests, one each `pause` ms on average.
pub async fn ask(
    service: &Service,
    request: impl Fn(usize, u64) -> Request<()>,
    (count, pause, patience): (usize, u64, Duration),
) -> Got {
    let (mut all, mut state) = (JoinSet::new(), 42);
    for number in 0..count {
        sleep(around(pause, &mut state)).await;
        let (service, request) = (service.clone(), request(number, state >> 33));
        all.spawn(async move {
            let began = Instant::now();
            let got = timeout(patience, send(&service, request)).await;
            (began.elapsed(), got.is_err())
        });
    }
    Got::new(&all.join_all().await)
}

/// How long the calls of a stranger take, in ms, their status, and the ms between them.
pub type ShortCalls = (u64, u16, u32);

/// What so many honest clients get of a page, in so many requests, one each 25 ms, beside a stranger
/// whose calls bring nothing to others, each with other fields.
pub async fn ask_beside(
    service: &Service,
    (clients, count): (usize, usize),
    stranger: Option<ShortCalls>,
) -> Got {
    let attacked = service.clone();
    let attack = tokio::spawn(async move {
        let Some((took, status, pause)) = stranger else {
            return;
        };
        for number in 0.. {
            sleep(MS * pause).await;
            let request = with(takes("/a", took, status), "x-n", &format!("{number}"));
            start(&attacked, request, FOR_EVER);
        }
    });
    let request = move |_, random: u64| from(NAMES[random as usize % clients], get("/a"));
    let got = ask(service, request, (count, 25, FOR_EVER)).await;
    attack.abort();
    got
}

/// What b and c get of pages that are asked for at random, one a second, beside a stranger that hangs
/// on one after the other, each `pause` ms, if it `attacks`.
pub async fn ask_for_pages(
    service: &Service,
    (pages, count): (u64, usize),
    (pause, attacks): (u32, bool),
) -> Got {
    let attacked = service.clone();
    let attack = tokio::spawn(async move {
        for number in 0.. {
            sleep(MS * pause).await;
            if attacks {
                let path = format!("/p{}", number % pages);
                start(&attacked, does(&path, "hangs"), 11 * SECOND);
            }
        }
    });
    sleep(10 * SECOND).await;
    let request = |number: usize, random: u64| {
        let path = format!("/p{}", random % pages);
        from(["b", "c"][number % 2], get(&path))
    };
    let got = ask(service, request, (count, 1000, FOR_EVER)).await;
    attack.abort();
    got
}

/// Sends a request of a client, which others wait for, and waits until it has ended.
pub async fn hold_up(service: &Service, client: &'static str, what: &str, waits: &'static str) {
    let leading = from(client, with(get("/a"), "x-odd", what));
    start(service, leading, FOR_EVER);
    sleep(10 * MS).await;
    send(service, from(waits, get("/a"))).await;
    sleep(12 * SECOND).await;
}

/// A pseudo-random number for a call.
pub fn luck(number: usize) -> u64 {
    let mut state = number as u64 + 1;
    for _ in 0..3 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state ^= state >> 29;
    }
    (state >> 33) % 1000
}
