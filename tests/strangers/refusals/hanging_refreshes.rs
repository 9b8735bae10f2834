//! Requests that hang keep nothing stale for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderValue, Request};
use tokio::time::{Instant, sleep, timeout};
use tower::Layer;

use super::{around, layer};
use crate::support::origin::{Origin, answer};
use crate::support::time::{SECOND, SLOW};
use crate::support::{get, send, with};

const MS: Duration = Duration::from_millis(1);

/// Whether a request has a field that makes it hang.
fn hangs(request: &Request<()>) -> bool {
    let is_slow = |value: &HeaderValue| value.as_bytes().starts_with(b"slow");
    request.headers().contains_key("x-slow") || request.headers().values().any(is_slow)
}

/// A page that tells when it was made, fresh for a second, and takes this long. Requests that
/// [hang](hangs) get none.
fn hanging(begun: Instant, cost: Duration) -> (Origin, Arc<AtomicUsize>) {
    let hanging = Arc::new(AtomicUsize::new(0));
    let counted = hanging.clone();
    let origin = Origin::new(move |request: Request<()>| {
        let counted = counted.clone();
        async move {
            if hangs(&request) {
                counted.fetch_add(1, Ordering::SeqCst);
                sleep(3600 * SECOND).await;
            }
            sleep(cost).await;
            let directives = "public, max-age=1, stale-while-revalidate=86400";
            let made = begun.elapsed().as_millis().to_string();
            Ok(answer(200, &[("cache-control", directives)], made))
        }
    });
    (origin, hanging)
}

/// The ages of the pages that honest clients get within 10 minutes, and the calls to the origin.
#[derive(Debug)]
#[allow(dead_code, reason = "printed")]
struct Ages {
    oldest: Duration,
    mean: Duration,
    calls: usize,
    hanging: usize,
}

/// Honest clients that all differ ask each `honest_pause` milliseconds, a stranger each `pause`,
/// and gives a request up after `patience`.
async fn ages(
    stranger: impl Fn(usize) -> Request<()> + Send + 'static,
    (pause, patience): (u64, Duration),
    honest_pause: u64,
) -> Ages {
    ages_of(traced, honest_pause, stranger, (pause, patience), SLOW).await
}

fn traced(number: usize) -> Request<()> {
    let id = format!("00-{number:032x}-01");
    with(get("/a"), "traceparent", &id)
}

/// As [`ages`], for honest requests of another sort.
async fn ages_of(
    honest: impl Fn(usize) -> Request<()>,
    honest_pause: u64,
    stranger: impl Fn(usize) -> Request<()> + Send + 'static,
    (pause, patience): (u64, Duration),
    cost: Duration,
) -> Ages {
    let begun = Instant::now();
    let (origin, hanging) = hanging(begun, cost);
    let service = layer().layer(origin.clone());
    send(&service, honest(0)).await;
    let attack = {
        let service = service.clone();
        tokio::spawn(async move {
            let mut state = 7;
            for number in 0.. {
                sleep(around(pause, &mut state)).await;
                let (service, request) = (service.clone(), stranger(number));
                tokio::spawn(async move { timeout(patience, send(&service, request)).await });
            }
        })
    };
    let (mut oldest, mut sum, mut count) = (Duration::ZERO, Duration::ZERO, 0);
    let mut state = 99;
    while begun.elapsed() < 600 * SECOND {
        sleep(around(honest_pause, &mut state)).await;
        let got = send(&service, honest(count as usize)).await;
        let made = Duration::from_millis(got.body.parse().expect("a number"));
        let age = begun.elapsed().saturating_sub(made);
        oldest = oldest.max(age);
        sum += age;
        count += 1;
    }
    attack.abort();
    Ages {
        oldest,
        mean: sum / count,
        calls: origin.calls(),
        hanging: hanging.load(Ordering::SeqCst),
    }
}

fn slow(value: usize) -> Request<()> {
    with(get("/a"), "x-slow", &value.to_string())
}

const FOR_EVER: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn different_hanging_requests_keep_nothing_stale() {
    for (pause, honest_pause) in [(1000, 1000), (1000, 300), (100, 50), (300, 1000)] {
        let got = ages(slow, (pause, FOR_EVER), honest_pause).await;
        println!("stranger each {pause} ms, honest each {honest_pause} ms: {got:?}");
        assert!(
            got.oldest <= 10 * SECOND && got.mean < 2 * SECOND,
            "{got:?}"
        );
    }
}

/// It takes as many tries as there are requests for each honest one: about one a second, and more
/// once one has helped. Also where a stranger copies the names of all honest fields.
#[tokio::test(start_paused = true)]
async fn a_stranger_that_sends_most_keeps_nothing_stale() {
    let forged = |number: usize| with(get("/a"), "traceparent", &format!("slow-{number}"));
    for (honest_pause, pause, mean) in [(1000, 50, 12), (10_000, 300, 40), (60_000, 100, 400)] {
        for stranger in [slow, forged] {
            let got = ages(stranger, (pause, FOR_EVER), honest_pause).await;
            println!("stranger each {pause} ms, honest each {honest_pause} ms: {got:?}");
            assert!(got.mean <= mean * SECOND, "{got:?}");
        }
    }
}

/// A slower page needs more time for each try, so there are more at once.
#[tokio::test(start_paused = true)]
async fn a_slower_page_beside_a_stranger_that_sends_most_is_refreshed() {
    for (cost, mean, oldest) in [(SLOW, 4, 40), (MS * 500, 10, 120)] {
        let got = ages_of(traced, 1000, slow, (50, FOR_EVER), cost).await;
        println!("the page takes {cost:?}: {got:?}");
        assert!(got.mean <= mean * SECOND, "{cost:?}: {got:?}");
        assert!(got.oldest <= oldest * SECOND, "{cost:?}: {got:?}");
    }
}

/// All have cookies of their own, or credentials.
#[tokio::test(start_paused = true)]
async fn a_stranger_with_cookies_keeps_nothing_stale() {
    for name in ["cookie", "authorization"] {
        let honest = move |number: usize| with(traced(number), name, &format!("s={number}"));
        let own = move |number| with(slow(number), name, &format!("t={number}"));
        let in_field = move |number| with(get("/a"), name, &format!("slow={number}"));
        let got = ages_of(honest, 10_000, own, (50, FOR_EVER), SLOW).await;
        println!("{name}, own field: {got:?}");
        assert!(got.mean <= 100 * SECOND, "{name}: {got:?}");
        let got = ages_of(honest, 10_000, in_field, (50, FOR_EVER), SLOW).await;
        println!("{name}, its value: {got:?}");
        assert!(got.mean <= 100 * SECOND, "{name}: {got:?}");
    }
}

/// A request that is sent again and again has one place.
#[tokio::test(start_paused = true)]
async fn hanging_requests_with_the_same_fields_keep_nothing_stale() {
    for (pause, honest_pause) in [(300, 1000), (100, 2600)] {
        let got = ages(|_| slow(1), (pause, FOR_EVER), honest_pause).await;
        println!("stranger each {pause} ms, honest each {honest_pause} ms: {got:?}");
        assert!(got.oldest <= 5 * SECOND && got.mean < 3 * SECOND, "{got:?}");
    }
}

/// Calls that a client forces, and that hang or are given up, take no places of refreshes.
#[tokio::test(start_paused = true)]
async fn forced_requests_that_hang_keep_nothing_stale() {
    for line in ["no-cache", "max-age=0", "min-fresh=100"] {
        let forced = move |value| with(slow(value), "cache-control", line);
        for (pause, patience) in [(300, FOR_EVER), (300, 900 * MS), (5000, FOR_EVER)] {
            let got = ages(forced, (pause, patience), 1000).await;
            println!("{line}, stranger each {pause} ms, given up after {patience:?}: {got:?}");
            assert!(got.oldest <= 5 * SECOND, "{line}: {got:?}");
        }
    }
}

/// A stale response, whose refreshes take `delay` or hang, for a minute.
async fn calls_in_a_minute(delay: Duration) -> usize {
    let origin = Origin::new(move |_: Request<()>| async move {
        sleep(delay).await;
        let directives = "max-age=10, stale-while-revalidate=86400";
        Ok(answer(200, &[("cache-control", directives)], "page"))
    });
    let service = layer().layer(origin.clone());
    send(&service, get("/a")).await;
    sleep(11 * SECOND).await;
    let before = origin.calls();
    for number in 0..600 {
        let id = number.to_string();
        send(&service, with(get("/a"), "x-id", &id)).await;
        sleep(100 * MS).await;
    }
    origin.calls() - before
}

/// Promise: a page that is as slow as ever has one refresh at a time.
#[tokio::test(start_paused = true)]
async fn a_slow_page_is_refreshed_by_one_call_at_a_time() {
    for seconds in [1, 3, 4] {
        let calls = calls_in_a_minute(seconds * SECOND).await;
        println!("{seconds} s: {calls} calls");
        assert!(calls <= 6, "{seconds} s: {calls} calls");
    }
}

/// Promise: an origin that hangs has few refreshes of a key: five that take their time, with pauses
/// that double, and a short one each second; half a minute later, two.
#[tokio::test(start_paused = true)]
async fn an_origin_that_hangs_has_few_refreshes_of_a_key() {
    let is_well = Arc::new(AtomicUsize::new(1));
    let well = is_well.clone();
    let origin = Origin::new(move |_: Request<()>| {
        let delay = match well.swap(0, Ordering::SeqCst) {
            1 => SLOW,
            _ => FOR_EVER,
        };
        async move {
            sleep(delay).await;
            let directives = "max-age=1, stale-while-revalidate=86400";
            Ok(answer(200, &[("cache-control", directives)], "page"))
        }
    });
    let service = layer().layer(origin.clone());
    send(&service, get("/a")).await;
    sleep(2 * SECOND).await;
    let before = origin.calls();
    for number in 0..600 {
        let id = number.to_string();
        let got = send(&service, with(get("/a"), "x-id", &id)).await;
        assert!(got.is_hit());
        sleep(100 * MS).await;
    }
    let calls = origin.calls() - before;
    println!("{calls} calls in a minute");
    assert!(calls <= 100, "{calls} calls");
}

/// A call under way.
struct Ends(Arc<[AtomicUsize; 3]>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0[1].fetch_sub(1, Ordering::SeqCst);
    }
}

/// An origin that has become slow. Each client has fields of its own.
#[tokio::test(start_paused = true)]
async fn an_origin_that_gets_slow_has_few_more_calls() {
    for (seconds, most_at_once) in [(1, 1), (2, 2), (6, 3), (12, 4), (25, 8)] {
        let counts = Arc::new([const { AtomicUsize::new(0) }; 3]);
        let counted = counts.clone();
        let origin = Origin::new(move |_: Request<()>| {
            let counts = counted.clone();
            let is_first = counts[0].fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                let under_way = counts[1].fetch_add(1, Ordering::SeqCst) + 1;
                counts[2].fetch_max(under_way, Ordering::SeqCst);
                // Also if it is given up.
                let _ends = Ends(counts.clone());
                sleep(if is_first { SLOW } else { seconds * SECOND }).await;
                let directives = "max-age=5, stale-while-revalidate=86400";
                Ok(answer(200, &[("cache-control", directives)], "page"))
            }
        });
        let service = layer().layer(origin);
        send(&service, traced(0)).await;
        sleep(6 * SECOND).await;
        for number in 1..3000 {
            let got = send(&service, traced(number)).await;
            assert!(got.is_hit());
            sleep(100 * MS).await;
        }
        let [calls, _, at_once] = [0, 1, 2].map(|n| counts[n].load(Ordering::SeqCst));
        println!("{seconds} s: {at_once} at once, {calls} calls");
        assert!(at_once <= most_at_once, "{seconds} s: {at_once}");
    }
}
