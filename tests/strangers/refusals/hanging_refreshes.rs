//! K2: requests that hang keep nothing stale for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use tokio::time::{Instant, sleep, timeout};
use tower::Layer;

use super::layer;
use crate::support::origin::{Origin, answer};
use crate::support::time::{SECOND, SLOW};
use crate::support::{get, send, with};

const MS: Duration = Duration::from_millis(1);

/// A pseudo-random pause around `mean` milliseconds (half to one and a half of it).
fn around(mean: u64, state: &mut u64) -> Duration {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    let share = (*state >> 33) % 1000;
    Duration::from_micros(mean * (500 + share))
}

/// A page that tells when it was made, fresh for a second. Requests with `x-slow` hang.
fn hanging(begun: Instant) -> (Origin, Arc<AtomicUsize>) {
    let hanging = Arc::new(AtomicUsize::new(0));
    let counted = hanging.clone();
    let origin = Origin::new(move |request: Request<()>| {
        let counted = counted.clone();
        async move {
            if request.headers().contains_key("x-slow") {
                counted.fetch_add(1, Ordering::SeqCst);
                sleep(3600 * SECOND).await;
            }
            sleep(SLOW).await;
            let directives = "max-age=1, stale-while-revalidate=86400";
            let made = begun.elapsed().as_millis().to_string();
            Ok(answer(200, &[("cache-control", directives)], made))
        }
    });
    (origin, hanging)
}

/// The ages of the pages that honest clients get within 20 minutes, and the calls to the origin.
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
    let begun = Instant::now();
    let (origin, hanging) = hanging(begun);
    let service = layer().layer(origin.clone());
    send(&service, get("/a")).await;
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
    while begun.elapsed() < 1200 * SECOND {
        sleep(around(honest_pause, &mut state)).await;
        let id = format!("00-{count:032x}-01");
        let got = send(&service, with(get("/a"), "traceparent", &id)).await;
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
    // A stranger who sends more than all others together has more of the places, too.
    for (pause, honest_pause, most_old, most_mean) in [
        (1000, 1000, 30, 5),
        (1000, 300, 15, 3),
        (100, 50, 15, 3),
        (300, 1000, 120, 25),
        (100, 200, 60, 12),
    ] {
        let got = ages(slow, (pause, FOR_EVER), honest_pause).await;
        println!("stranger each {pause} ms, honest each {honest_pause} ms: {got:?}");
        let (oldest, mean) = (most_old * SECOND, most_mean * SECOND);
        assert!(got.oldest <= oldest && got.mean < mean, "{got:?}");
    }
}

/// A request that is sent again and again has one place.
#[tokio::test(start_paused = true)]
async fn hanging_requests_with_the_same_fields_keep_nothing_stale() {
    for (pause, honest_pause, most_old) in [(300, 1000, 10), (100, 2600, 15), (20, 1000, 10)] {
        let got = ages(|_| slow(1), (pause, FOR_EVER), honest_pause).await;
        println!("stranger each {pause} ms, honest each {honest_pause} ms: {got:?}");
        let (oldest, mean) = (most_old * SECOND, 5 * SECOND);
        assert!(got.oldest <= oldest && got.mean < mean, "{got:?}");
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

/// Promise: an origin that hangs has four refreshes of a key per takeover timeout.
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
    assert!(calls <= 24, "{calls} calls");
}
