//! P9, an eighth reading: many keys, clients with short time-outs, and calls that make each other
//! necessary because no two clients follow each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{Cache, CacheLayer};

use super::{FOR_EVER, MS, around, from, with_clients, without_clients};
use crate::support::origin::{Origin, answer};
use crate::support::time::SECOND;
use crate::support::{get, send, with};

type Service = Cache<Origin, MemoryBackend>;

const NAMES: [&str; 26] = [
    "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t",
    "u", "v", "w", "x", "y", "z", "aa",
];

/// Counts of calls: of requests with `x-odd`, and of those without.
#[derive(Clone, Default)]
struct Counts {
    odd: Arc<AtomicUsize>,
    plain: Arc<AtomicUsize>,
    /// At most at once, of those without.
    at_once: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    /// By what they do.
    kinds: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Counts {
    fn plain(&self) -> usize {
        self.plain.load(Ordering::Relaxed)
    }
}

/// A page whose plain calls take what `cost` says for their number, in ms. Requests with `x-odd` do
/// what that says: `hangs`, `takes MS STATUS`.
fn page(
    cost: impl Fn(usize) -> u64 + Send + Sync + 'static,
    directives: &'static str,
) -> (Origin, Counts) {
    limited_page(cost, directives, 100_000)
}

/// The same, of an origin that works on so many plain calls at once.
fn limited_page(
    cost: impl Fn(usize) -> u64 + Send + Sync + 'static,
    directives: &'static str,
    workers: usize,
) -> (Origin, Counts) {
    let counts = Counts::default();
    let workers = Arc::new(tokio::sync::Semaphore::new(workers));
    let (counted, cost) = (counts.clone(), Arc::new(cost));
    let origin = Origin::new(move |request: Request<()>| {
        let (counts, cost) = (counted.clone(), cost.clone());
        let workers = workers.clone();
        async move {
            if *request.method() == Method::POST {
                return Ok(answer(204, &[], ""));
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
            *counts
                .kinds
                .lock()
                .expect("no panic")
                .entry(status.to_string())
                .or_default() += 1;
            Ok(match status {
                304 => answer(304, &lines, ""),
                _ => answer(200, &lines, "page"),
            })
        }
    });
    (origin, counts)
}

fn does(path: &str, what: &str) -> Request<()> {
    from("a", with(get(path), "x-odd", what))
}

fn takes(path: &str, milliseconds: u64, status: u16) -> Request<()> {
    does(path, &format!("takes {milliseconds} {status}"))
}

fn start(service: &Service, request: Request<()>, patience: Duration) {
    let service = service.clone();
    tokio::spawn(timeout(patience, async move {
        let response = service.oneshot(request).await.expect("an answer");
        let _ = http_body_util::BodyExt::collect(response.into_body()).await;
    }));
}

/// What honest clients get.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "printed")]
struct Got {
    mean: Duration,
    longest: Duration,
    /// How many have waited longer than 5 s.
    long: usize,
    /// How many have got nothing within their patience.
    failed: usize,
    count: usize,
}

/// Honest requests, one each `pause` ms on average.
async fn ask(
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
    let all = all.join_all().await;
    let waited = || all.iter().map(|(waited, _)| *waited);
    Got {
        mean: waited().sum::<Duration>() / count as u32,
        longest: waited().max().expect("many"),
        long: waited().filter(|waited| *waited > 5 * SECOND).count(),
        failed: all.iter().filter(|(_, failed)| *failed).count(),
        count,
    }
}

/// 1. A site with many pages: a stranger hangs on each of them. Each page holds up once in ten minutes;
/// but each request of an honest client is for a page that has not done so.
#[tokio::test(start_paused = true)]
async fn a_stranger_holds_up_each_page_of_a_site() {
    let mut all = Vec::new();
    // Pages; the requests of the stranger, each of which goes to the next page.
    for (pages, pause, attacks) in [
        (500, 20, false),
        (500, 20, true),
        (2000, 10, true),
        (100, 100, true),
    ] {
        let (origin, _) = page(|_| 50, "public, max-age=60");
        let service = with_clients().layer(origin.clone());
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
        let got = ask(&service, request, (600, 1000, FOR_EVER)).await;
        attack.abort();
        println!("{pages} pages, each {pause} ms, attacks {attacks}: {got:?}");
        all.push(got);
    }
    let alone = all.remove(0);
    for got in all {
        assert!(got.mean <= alone.mean + SECOND, "{got:?}");
        assert!(got.long * 10 <= got.count, "{got:?}");
    }
}

/// 2. Clients that wait for less than a second, and leave before others come: nobody notes for whom.
#[tokio::test(start_paused = true)]
async fn clients_with_short_time_outs_have_the_page_beside_a_stranger_that_leaves() {
    let mut all = Vec::new();
    for (patience, leaves, attacks) in [
        (500, 30, false),
        (500, 30, true),
        (500, 100, true),
        (500, 400, true),
        (900, 30, true),
        (250, 30, true),
        (3000, 30, true),
    ] {
        let (origin, counts) = page(|_| 50, "public, max-age=1");
        let service = with_clients().layer(origin.clone());
        let attacked = service.clone();
        let attack = tokio::spawn(async move {
            // One at a time, so that its own do not keep a call alive.
            while attacks {
                let asked = attacked.clone().oneshot(does("/a", "hangs"));
                let _ = timeout(MS * leaves, asked).await;
                sleep(MS).await;
            }
        });
        let request = |number: usize, _| from(["b", "c"][number % 2], get("/a"));
        let patience = MS * patience;
        let got = ask(&service, request, (600, 1000, patience)).await;
        attack.abort();
        println!(
            "patience {patience:?}, the stranger leaves after {leaves} ms, attacks {attacks}: {got:?}, {} calls",
            counts.plain()
        );
        all.push((patience, got));
    }
    for (patience, got) in all {
        assert!(got.failed * 10 <= got.count, "{patience:?}: {got:?}");
    }
}

/// The calls of honest clients for a page beside a stranger that has hung once, has had a fast answer
/// once, and sends ordinary requests since.
async fn calls_beside_ordinary(
    (cost, directives): (u64, &'static str),
    (clients, pause): (usize, u64),
    attack_each: Option<u64>,
) -> (Got, usize, usize, usize) {
    let (origin, counts) = page(move |_| cost, directives);
    let service = with_clients().layer(origin.clone());
    let request = move |number: usize, random: u64| {
        let _ = number;
        from(NAMES[random as usize % clients], get("/a"))
    };
    // As on any day.
    ask(&service, request, (600, pause, FOR_EVER)).await;
    if attack_each.is_some() {
        // Once: others wait for a call that hangs.
        sleep(15 * SECOND).await;
        start(&service, does("/a", "hangs"), 11 * SECOND);
        sleep(10 * MS).await;
        send(&service, from("b", get("/a"))).await;
        // Once: a call that is fast, as one for an error page, or of another variant.
        sleep(15 * SECOND).await;
        send(&service, takes("/a", 20, 200)).await;
        sleep(15 * SECOND).await;
    }
    let before = (counts.plain(), counts.odd.load(Ordering::Relaxed));
    counts.most.store(0, Ordering::Relaxed);
    let attacked = service.clone();
    let attack = tokio::spawn(async move {
        let Some(pause) = attack_each else { return };
        loop {
            sleep(MS * pause as u32).await;
            start(&attacked, takes("/a", cost, 200), FOR_EVER);
        }
    });
    let count = (120_000 / pause) as usize;
    let got = ask(&service, request, (count, pause, FOR_EVER)).await;
    attack.abort();
    (
        got,
        counts.plain() - before.0,
        counts.odd.load(Ordering::Relaxed) - before.1,
        counts.most.load(Ordering::Relaxed),
    )
}

/// 3. A page that takes a second and a half for all: a stranger that nobody follows, and that follows
/// nobody, takes the place of each call of the others, who cannot join it any more.
#[tokio::test(start_paused = true)]
async fn a_stranger_that_follows_nobody_does_not_undo_coalescing_of_others() {
    let mut bad = Vec::new();
    for (cost, directives) in [
        (1500, "public, max-age=10"),
        (1500, "public, max-age=1"),
        (500, "public, max-age=1"),
    ] {
        for (clients, pause) in [(2, 25), (20, 25)] {
            let page = (cost, directives);
            let without = calls_beside_ordinary(page, (clients, pause), None).await;
            for each in [500, 100, 20] {
                let with = calls_beside_ordinary(page, (clients, pause), Some(each)).await;
                println!(
                    "{cost} ms, {directives}, {clients} clients, stranger each {each} ms:\n  \
                    without {without:?}\n  with    {with:?} (waits, calls of others, of the stranger, at once)"
                );
                if with.1 > 2 * without.1 + 3 {
                    bad.push((page, clients, each, without.1, with.1));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Sends a request of a client, which others wait for, and waits until it has ended.
async fn hold_up(service: &Service, client: &'static str, what: &str, waits: &'static str) {
    let leading = from(client, with(get("/a"), "x-odd", what));
    start(service, leading, FOR_EVER);
    sleep(10 * MS).await;
    send(service, from(waits, get("/a"))).await;
    sleep(12 * SECOND).await;
}

/// 4. Two clients, such as two gateways: a call of the one has failed after some time once, a call of the
/// other was slow once.
#[tokio::test(start_paused = true)]
async fn two_clients_with_other_bad_luck_are_coalesced() {
    let mut bad = Vec::new();
    for (of_b, of_c) in [
        ("takes 3000 500", "takes 9000 200"),
        ("takes 2000 500", "takes 5000 200"),
        ("takes 1500 500", "takes 4000 200"),
        ("takes 5000 500", "takes 5000 200"),
    ] {
        for cost in [200, 500] {
            let (origin, counts) = page(move |_| cost, "public, max-age=1");
            let service = with_clients().layer(origin);
            let run = async || {
                let before = counts.plain();
                let request = |number: usize, _| from(["b", "c"][number % 2], get("/a"));
                let got = ask(&service, request, (3000, 20, FOR_EVER)).await;
                (counts.plain() - before, got)
            };
            let without = run().await;
            sleep(3 * SECOND).await;
            hold_up(&service, "b", of_b, "c").await;
            hold_up(&service, "c", of_c, "b").await;
            let with = run().await;
            // Is it over after some minutes?
            sleep(300 * SECOND).await;
            let later = run().await;
            println!(
                "{cost} ms, b {of_b}, c {of_c}: calls {} before, {} after, {} five minutes later",
                without.0, with.0, later.0
            );
            if with.0 > 2 * without.0 + 3 {
                bad.push((cost, of_b, of_c, without.0, with.0));
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// A pseudo-random number for a call.
fn luck(number: usize) -> u64 {
    let mut state = number as u64 + 1;
    for _ in 0..3 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state ^= state >> 29;
    }
    (state >> 33) % 1000
}

/// 5. No stranger at all: a page whose calls take their time now and then. How many calls are made where
/// clients are told apart, and where they are not?
#[tokio::test(start_paused = true)]
async fn clients_are_told_apart_without_more_calls() {
    type Cost = fn(usize) -> u64;
    let kinds: [(&str, Cost); 7] = [
        ("always 50", |_| 50),
        ("always 500", |_| 500),
        ("always 1500", |_| 1500),
        ("1500, 1 % 50", |n| match luck(n) {
            0..10 => 50,
            _ => 1500,
        }),
        ("1500, 20 % 50", |n| match luck(n) {
            0..200 => 50,
            _ => 1500,
        }),
        ("300, 8 % 1500, 2 % 6000", |n| match luck(n) {
            0..20 => 6000,
            20..100 => 1500,
            _ => 300,
        }),
        ("500 to 2500", |n| 500 + 2 * luck(n)),
    ];
    let mut bad = Vec::new();
    for (kind, cost) in kinds {
        for clients in [2, 4, 20] {
            let run = async |layer: CacheLayer<MemoryBackend>| {
                let (origin, counts) = page(cost, "public, max-age=5");
                let service = layer.layer(origin);
                let request =
                    move |_, random: u64| from(NAMES[random as usize % clients], get("/a"));
                let got = ask(&service, request, (24_000, 50, FOR_EVER)).await;
                (counts.plain(), counts.most.load(Ordering::Relaxed), got)
            };
            let (apart, not) = (run(with_clients()).await, run(without_clients()).await);
            println!(
                "{kind}, {clients} clients, 20 a second for 20 minutes: calls {} (at once {}, waits {:?}), not told apart {} (at once {}, waits {:?})",
                apart.0, apart.1, apart.2.mean, not.0, not.1, not.2.mean
            );
            if apart.0 > 2 * not.0 + 3 {
                bad.push((kind, clients, apart.0, not.0));
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// 6. A page that takes its time for all: a stranger's may take twice as long, always.
#[tokio::test(start_paused = true)]
async fn a_stranger_that_is_twice_as_slow() {
    for cost in [1500_u64, 2500, 4000] {
        let mut all = Vec::new();
        for attack in [None, Some(1), Some(2)] {
            let (origin, _) = page(move |_| cost, "public, max-age=1");
            let service = with_clients().layer(origin);
            let attacked = service.clone();
            let attacking = tokio::spawn(async move {
                let Some(times) = attack else { return };
                loop {
                    sleep(50 * MS).await;
                    start(&attacked, takes("/a", times * cost - 10, 200), FOR_EVER);
                }
            });
            let request = |number: usize, _| from(["b", "c"][number % 2], get("/a"));
            let got = ask(&service, request, (600, 1000, FOR_EVER)).await;
            attacking.abort();
            println!("{cost} ms, stranger {attack:?} times: {got:?}");
            all.push(got);
        }
    }
}

/// 7. What else a stranger's requests can be.
#[tokio::test(start_paused = true)]
async fn odd_kinds_of_requests_hold_up_others_once() {
    let mut bad = Vec::new();
    for directives in [
        "public, max-age=1",
        "public, max-age=1, stale-while-revalidate=5",
        "public, max-age=1, stale-if-error=60",
        "public, max-age=0, must-revalidate",
    ] {
        for (name, lines) in [
            ("plain", &[][..]),
            ("head", &[("x-method", "HEAD")]),
            ("range", &[("range", "bytes=0-1")]),
            ("if-range", &[("range", "bytes=0-1"), ("if-range", "\"1\"")]),
            ("if-none-match", &[("if-none-match", "\"1\"")]),
            ("if-match", &[("if-match", "\"1\"")]),
            ("no-cache", &[("cache-control", "no-cache")]),
            ("max-age=0", &[("cache-control", "max-age=0")]),
            ("max-stale", &[("cache-control", "max-stale=5")]),
            ("only-if-cached", &[("cache-control", "only-if-cached")]),
            ("cookie", &[("cookie", "a=b")]),
            ("authorization", &[("authorization", "Basic a")]),
        ] {
            for what in ["hangs", "takes 9000 200", "takes 900 200"] {
                let run = async |attacks: bool| {
                    let (origin, counts) = page(|_| 50, directives);
                    let service = with_clients().layer(origin);
                    let attacked = service.clone();
                    let attack = tokio::spawn(async move {
                        loop {
                            sleep(287 * MS).await;
                            let mut request = does("/a", what);
                            for (name, value) in lines {
                                match *name {
                                    "x-method" => *request.method_mut() = Method::HEAD,
                                    _ => request = with(request, name, value),
                                }
                            }
                            if attacks {
                                start(&attacked, request, FOR_EVER);
                            }
                        }
                    });
                    let request = |number: usize, _| from(["b", "c"][number % 2], get("/a"));
                    let got = ask(&service, request, (150, 1000, FOR_EVER)).await;
                    attack.abort();
                    (got, counts.plain())
                };
                let (alone, beside) = (run(false).await, run(true).await);
                let is_bad = beside.0.mean > alone.0.mean + SECOND
                    || beside.0.long > 15
                    || beside.1 > 2 * alone.1 + 3;
                if is_bad {
                    println!("{directives}, {name}, {what}: {alone:?}, beside {beside:?}");
                    bad.push((directives, name, what));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// 8. How many calls honest clients make where a stranger's fail at once.
#[tokio::test(start_paused = true)]
async fn failures_of_a_stranger_do_not_undo_coalescing() {
    let mut bad = Vec::new();
    for cost in [200_u64, 500, 1500] {
        for what in [
            None,
            Some("takes 1 500"),
            Some("takes 8 500"),
            Some("takes 300 500"),
        ] {
            let (origin, counts) = page(move |_| cost, "public, max-age=5");
            let service = with_clients().layer(origin);
            let attacked = service.clone();
            let attack = tokio::spawn(async move {
                let Some(what) = what else { return };
                for number in 0.. {
                    sleep(19 * MS).await;
                    let request = with(does("/a", what), "x-n", &format!("{number}"));
                    start(&attacked, request, FOR_EVER);
                }
            });
            let request = |_, random: u64| from(NAMES[random as usize % 10], get("/a"));
            let got = ask(&service, request, (4000, 25, FOR_EVER)).await;
            attack.abort();
            println!("{cost} ms, {what:?}: {} calls, {got:?}", counts.plain());
            bad.push(counts.plain());
        }
    }
    for of_cost in bad.chunks(4) {
        assert!(
            of_cost.iter().all(|calls| *calls <= 2 * of_cost[0] + 3),
            "{bad:?}"
        );
    }
}

/// 9. A stranger that follows others, and leaves after some time.
#[tokio::test(start_paused = true)]
async fn a_stranger_that_leaves_does_not_undo_coalescing() {
    let mut bad = Vec::new();
    for cost in [1500_u64, 3000] {
        for patience in [None, Some(1050), Some(1400), Some(2900)] {
            let (origin, counts) = page(move |_| cost, "public, max-age=5");
            let service = with_clients().layer(origin);
            let attacked = service.clone();
            let attack = tokio::spawn(async move {
                let Some(patience) = patience else { return };
                loop {
                    sleep(19 * MS).await;
                    start(&attacked, from("a", get("/a")), MS * patience);
                }
            });
            let request = |_, random: u64| from(NAMES[random as usize % 4], get("/a"));
            let got = ask(&service, request, (12_000, 25, FOR_EVER)).await;
            attack.abort();
            println!("{cost} ms, {patience:?}: {} calls, {got:?}", counts.plain());
            bad.push(counts.plain());
        }
    }
    for of_cost in bad.chunks(4) {
        assert!(
            of_cost.iter().all(|calls| *calls <= 2 * of_cost[0] + 3),
            "{bad:?}"
        );
    }
}

/// 10. A page that is slow for all at times: what it costs then is credit for a stranger afterwards.
#[tokio::test(start_paused = true)]
async fn slow_times_are_no_credit_for_a_stranger() {
    let mut bad = Vec::new();
    // Each so many seconds it takes so many ms for so many seconds, with this status.
    for (each, lasts, cost, what) in [
        (120, 20, 9000, "takes 9000 200"),
        (120, 20, 9000, "hangs"),
        (120, 20, 4000, "takes 7900 200"),
        (3600, 180, 9000, "takes 9000 200"),
        (3600, 180, 20_000, "hangs"),
        (3600, 180, 20_000, "takes 20000 200"),
    ] {
        let run = async |attacks: bool| {
            let begun = Instant::now();
            let cost = move |_| match begun.elapsed().as_secs() % each < lasts {
                true => cost,
                false => 50,
            };
            let (origin, _) = page(cost, "public, max-age=1");
            let service = with_clients().layer(origin);
            let attacked = service.clone();
            let attack = tokio::spawn(async move {
                // Begins where the page is fast.
                sleep(SECOND * (lasts as u32 + 10)).await;
                if attacks {
                    send(
                        &attacked,
                        with(takes("/a", 20, 200), "cache-control", "no-cache"),
                    )
                    .await;
                }
                loop {
                    sleep(47 * MS).await;
                    if attacks {
                        start(&attacked, does("/a", what), FOR_EVER);
                    }
                }
            });
            let request = |number: usize, _| from(["b", "c"][number % 2], get("/a"));
            let slow = ask(&service, request, (lasts as usize, 1000, FOR_EVER)).await;
            let after = ask(&service, request, (580, 1000, FOR_EVER)).await;
            attack.abort();
            (slow, after)
        };
        let (alone, beside) = (run(false).await, run(true).await);
        println!(
            "each {each} s for {lasts} s {cost} ms, {what}:\n  alone  {:?}\n  beside {:?} (after the first slow time)",
            alone.1, beside.1
        );
        let (alone, beside) = (alone.1, beside.1);
        if beside.mean > alone.mean + SECOND || beside.long > alone.long + beside.count / 10 {
            bad.push((each, lasts, cost, what));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// 11. As 5., with refreshes, and with a page that is validated.
#[tokio::test(start_paused = true)]
async fn refreshes_of_clients_that_are_told_apart_are_no_more() {
    type Cost = fn(usize) -> u64;
    let kinds: [(&str, Cost); 3] = [
        ("1500, 20 % 50", |n| match luck(n) {
            0..200 => 50,
            _ => 1500,
        }),
        ("300, 8 % 1500, 2 % 6000", |n| match luck(n) {
            0..20 => 6000,
            20..100 => 1500,
            _ => 300,
        }),
        ("always 1500", |_| 1500),
    ];
    let mut bad = Vec::new();
    for directives in [
        "public, max-age=5, stale-while-revalidate=60",
        "public, max-age=1, stale-while-revalidate=1",
        "public, max-age=5, stale-if-error=60",
    ] {
        for (kind, cost) in kinds {
            for clients in [2, 20] {
                let run = async |layer: CacheLayer<MemoryBackend>| {
                    let (origin, counts) = page(cost, directives);
                    let service = layer.layer(origin);
                    let request =
                        move |_, random: u64| from(NAMES[random as usize % clients], get("/a"));
                    let got = ask(&service, request, (12_000, 50, FOR_EVER)).await;
                    (counts.plain(), counts.most.load(Ordering::Relaxed), got)
                };
                let (apart, not) = (run(with_clients()).await, run(without_clients()).await);
                println!(
                    "{directives}, {kind}, {clients} clients: calls {} (at once {}), not told apart {} (at once {})",
                    apart.0, apart.1, not.0, not.1
                );
                if apart.0 > 2 * not.0 + 3 {
                    bad.push((directives, kind, clients, apart.0, not.0));
                }
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// 12. Real threads: nothing panics, hangs or stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_leave_nothing() {
    let (origin, _) = page(|n| luck(n) % 40, "public, max-age=0, s-maxage=1");
    let layer = CacheLayer::new(MemoryBackend::default())
        .client_by(|request: &http::request::Parts| {
            Some(request.extensions.get::<super::Client>()?.0)
        })
        .coalesce_takeover_timeout(100 * MS)
        .coalesce_timeout(300 * MS)
        .fill_timeout(500 * MS);
    let handle = layer.handle();
    let service = layer.layer(origin);
    let mut all = JoinSet::new();
    for task in 0..40_u64 {
        let service = service.clone();
        all.spawn(async move {
            for round in 0..60_u64 {
                let random = luck((task * 1000 + round) as usize);
                let path = format!("/p{}", random % 3);
                let client = NAMES[(random / 3) as usize % 6];
                let what = match random % 7 {
                    0 => "hangs",
                    1 => "takes 30 500",
                    2 => "takes 60 403",
                    3 => "takes 120 200",
                    _ => "",
                };
                let mut request = from(client, get(&path));
                if !what.is_empty() {
                    request = with(request, "x-odd", what);
                }
                if random % 11 == 0 {
                    request = with(request, "cache-control", "no-cache");
                }
                if random % 29 == 0 {
                    *request.method_mut() = Method::POST;
                }
                let patience = MS * (20 + random as u32 % 200);
                let _ = timeout(patience, send(&service, request)).await;
            }
        });
    }
    timeout(60 * SECOND, async {
        while let Some(done) = all.join_next().await {
            done.expect("no panic")
        }
    })
    .await
    .expect("no hang");
    sleep(SECOND).await;
    let stats = handle.stats();
    println!("{:?}", stats.in_flight);
}

/// 13. A stranger that nobody has noted, whose calls fail at once: it does not follow those who are noted
/// because the page takes its time, takes the place of their call, and leaves that empty.
#[tokio::test(start_paused = true)]
async fn failures_at_once_do_not_take_the_place_of_calls_that_others_follow() {
    let mut bad = Vec::new();
    for (workers, clients) in [(100_000, 2), (100_000, 10), (8, 2), (8, 10)] {
        let mut alone = None;
        for (what, each) in [
            (None, 0),
            (Some("takes 1 500"), 1000),
            (Some("takes 1 500"), 200),
            (Some("takes 1 500"), 19),
            (Some("takes 1 404"), 19),
            (Some("takes 20 200"), 19),
        ] {
            let (origin, counts) = limited_page(|_| 1500, "public, max-age=5", workers);
            let service = with_clients().layer(origin);
            let attacked = service.clone();
            let attack = tokio::spawn(async move {
                let Some(what) = what else { return };
                for number in 0.. {
                    sleep(MS * each).await;
                    let request = with(does("/a", what), "x-n", &format!("{number}"));
                    start(&attacked, request, FOR_EVER);
                }
            });
            let request = move |_, random: u64| from(NAMES[random as usize % clients], get("/a"));
            let got = ask(&service, request, (6000, 25, FOR_EVER)).await;
            attack.abort();
            let most = counts.most.load(Ordering::Relaxed);
            println!(
                "{workers} workers, {clients} clients, {what:?} each {each} ms: {} calls, {most} at once, {got:?}",
                counts.plain()
            );
            let calls = counts.plain();
            if calls > 2 * *alone.get_or_insert(calls) + 3 {
                bad.push((workers, clients, what, each, calls));
            }
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// 14. The same beside an origin with eight workers, where clients are told apart and where they are not;
/// and for a page that takes half a second, after each client was slow once.
#[tokio::test(start_paused = true)]
async fn telling_clients_apart_does_not_bring_an_origin_down() {
    let mut bad = Vec::new();
    for (cost, is_apart, each) in [
        (1500, true, 0),
        (1500, true, 100),
        (1500, true, 50),
        (1500, true, 20),
        (1500, false, 20),
        (500, true, 0),
        (500, true, 50),
        (500, true, 20),
        (500, false, 20),
    ] {
        let (origin, counts) = limited_page(move |_| cost, "public, max-age=5", 8);
        let layer = match is_apart {
            true => with_clients(),
            false => without_clients(),
        };
        let service = layer.layer(origin);
        hold_up(&service, "b", "takes 5000 200", "c").await;
        hold_up(&service, "c", "takes 5000 200", "b").await;
        let before = counts.plain();
        let attacked = service.clone();
        let attack = tokio::spawn(async move {
            for number in 0.. {
                if each == 0 {
                    return;
                }
                sleep(MS * each).await;
                let request = with(takes("/a", 1, 400), "x-n", &format!("{number}"));
                start(&attacked, request, FOR_EVER);
            }
        });
        let request = |_, random: u64| from(NAMES[random as usize % 2], get("/a"));
        let got = ask(&service, request, (3000, 25, 30 * SECOND)).await;
        attack.abort();
        let (calls, most) = (counts.plain() - before, counts.most.load(Ordering::Relaxed));
        println!(
            "{cost} ms, told apart {is_apart}, stranger each {each} ms: {calls} calls, {most} at once, {got:?}"
        );
        if got.long > 0 || calls > 50 {
            bad.push((cost, is_apart, each, calls));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}
