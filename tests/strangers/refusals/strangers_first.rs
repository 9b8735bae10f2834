//! A stranger whose requests hang does not keep content stale for long: neither where they did not
//! hang at first, nor where a page wants fields that only its clients have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_response_cache::Cache;
use tower_response_cache::backend::MemoryBackend;

use super::{around, layer};
use crate::support::origin::{Origin, answer};
use crate::support::time::{SECOND, SLOW};
use crate::support::{get, send, with};

const MS: Duration = Duration::from_millis(1);
const FOR_ALL: &str = "public, max-age=1, stale-while-revalidate=86400";
const FOR_EVER: Duration = Duration::from_secs(3600);

type Service = Cache<Origin, MemoryBackend>;

fn traced(number: usize) -> Request<()> {
    with(get("/a"), "traceparent", &number.to_string())
}

fn odd(number: usize) -> Request<()> {
    with(get("/a"), "x-odd", &number.to_string())
}

fn field<'r>(request: &'r Request<()>, name: &str) -> Option<&'r str> {
    let value = request.headers().get(name)?;
    Some(value.to_str().expect("text"))
}

/// The mean age of the pages that honest clients get within ten minutes, or with 15 requests, and
/// the age of the oldest, beside a stranger. Both ask about each so many milliseconds.
async fn ages(
    service: &Service,
    begun: Instant,
    (honest, honest_pause): (impl Fn(usize) -> Request<()>, u64),
    (stranger, pause): (impl Fn(usize) -> Request<()> + Send + 'static, u64),
) -> (Duration, Duration) {
    let attacked = service.clone();
    let attack = tokio::spawn(async move {
        let mut state = 7;
        for number in 1.. {
            let (own, request) = (attacked.clone(), stranger(number));
            tokio::spawn(async move { send(&own, request).await });
            sleep(around(pause, &mut state)).await;
        }
    });
    let (mut oldest, mut sum, mut count) = (Duration::ZERO, Duration::ZERO, 0);
    let (started, mut state) = (Instant::now(), 99);
    let time = (SECOND * 600).max(MS * honest_pause as u32 * 15);
    while started.elapsed() < time {
        sleep(around(honest_pause, &mut state)).await;
        let got = send(service, honest(count as usize)).await;
        assert_eq!(got.status, 200);
        let made = Duration::from_millis(got.body.parse().expect("a number"));
        let age = begun.elapsed().saturating_sub(made);
        oldest = oldest.max(age);
        sum += age;
        count += 1;
    }
    attack.abort();
    (sum / count, oldest)
}

/// A stranger's request is the first one of a page, and its fields hang from some time on, as where
/// a client is banned.
#[tokio::test(start_paused = true)]
async fn a_stranger_that_comes_first_keeps_nothing_stale() {
    for name in ["x-other", "cookie", "authorization"] {
        for (pause, honest_pause, most) in [(50, 1000, 12), (300, 10_000, 40), (100, 60_000, 400)] {
            let begun = Instant::now();
            let origin = Origin::new(move |request: Request<()>| async move {
                if field(&request, "x-odd").is_some() && begun.elapsed() > SECOND * 5 {
                    sleep(FOR_EVER).await;
                }
                let made = begun.elapsed().as_millis().to_string();
                sleep(SLOW).await;
                Ok(answer(200, &[("cache-control", FOR_ALL)], made))
            });
            let service = layer().layer(origin.clone());
            let own = move |request, number: usize| with(request, name, &number.to_string());
            send(&service, own(odd(0), 0)).await;
            sleep(SECOND * 6).await;
            let honest = |number| own(traced(number), number);
            let stranger = move |number| own(odd(number), number + 1);
            let (mean, oldest) =
                ages(&service, begun, (honest, honest_pause), (stranger, pause)).await;
            println!("{name}, {pause} ms, {honest_pause} ms: {mean:?}, {oldest:?}");
            assert!(mean < SECOND * most, "{name}: {mean:?}");
        }
    }
}

/// A page that wants a cookie, beside a stranger whose sessions are locked. A session that brings
/// the page is found among so many by calls that end soon.
#[tokio::test(start_paused = true)]
async fn locked_sessions_keep_a_page_that_wants_one_stale_for_seconds() {
    for (status, pause, honest_pause, most) in [
        (302, 50, 1000, 10),
        (302, 300, 1000, 5),
        (401, 50, 1000, 10),
        (503, 50, 1000, 10),
        (302, 300, 10_000, 30),
        (302, 50, 10_000, 100),
    ] {
        let begun = Instant::now();
        let origin = Origin::new(move |request: Request<()>| async move {
            let session = field(&request, "cookie").map(str::to_owned);
            if session.as_deref().is_some_and(|s| s.starts_with("locked")) {
                sleep(FOR_EVER).await;
            }
            let made = begun.elapsed().as_millis().to_string();
            sleep(SLOW).await;
            Ok(match session {
                None => answer(
                    status,
                    &[("location", "/a"), ("cache-control", "no-store")],
                    "",
                ),
                Some(_) => answer(200, &[("cache-control", FOR_ALL)], made),
            })
        });
        let service = layer().layer(origin.clone());
        let own = |number: usize| with(traced(number), "cookie", &format!("s={number}"));
        let locked = |number: usize| with(get("/a"), "cookie", &format!("locked={number}"));
        send(&service, own(0)).await;
        sleep(SECOND * 3).await;
        let (mean, oldest) = ages(&service, begun, (own, honest_pause), (locked, pause)).await;
        println!("{status}, {pause} ms, {honest_pause} ms: {mean:?}, {oldest:?}");
        assert!(
            mean < SECOND * most,
            "{status}, {pause}, {honest_pause}: {mean:?}"
        );
    }
}

/// A page that wants a field of its clients which is neither cookie nor credential, beside a
/// stranger that came first.
#[tokio::test(start_paused = true)]
async fn a_page_that_wants_a_field_is_stale_for_seconds() {
    for status in [400, 403] {
        let begun = Instant::now();
        let origin = Origin::new(move |request: Request<()>| async move {
            if field(&request, "x-odd").is_some() && begun.elapsed() > SECOND * 5 {
                sleep(FOR_EVER).await;
            }
            let made = begun.elapsed().as_millis().to_string();
            sleep(SLOW).await;
            Ok(match field(&request, "user-agent") {
                None => answer(status, &[], "no"),
                Some(_) => answer(200, &[("cache-control", FOR_ALL)], made),
            })
        });
        let service = layer().layer(origin.clone());
        let own = |request| with(request, "user-agent", "good");
        send(&service, own(odd(0))).await;
        sleep(SECOND * 6).await;
        let (honest, stranger) = (|n| own(traced(n)), move |n| own(odd(n)));
        let (mean, oldest) = ages(&service, begun, (honest, 1000), (stranger, 50)).await;
        println!("{status}: {mean:?}, {oldest:?}");
        assert!(mean < SECOND * 12, "{status}: {mean:?}");
    }
}

/// Counts the calls under way.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A page that wants a cookie, and takes a time with it. How many calls there are at once at most,
/// and all in all in ten minutes.
async fn calls_for_sessions(delay: Duration) -> (usize, usize) {
    let [under_way, most] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let (counted, maximum) = (under_way.clone(), most.clone());
    let origin = Origin::new(move |request: Request<()>| {
        let (counted, maximum) = (counted.clone(), maximum.clone());
        async move {
            let count = counted.fetch_add(1, Ordering::SeqCst) + 1;
            maximum.fetch_max(count, Ordering::SeqCst);
            let _ends = Counted(counted);
            sleep(SLOW).await;
            let Some(session) = field(&request, "cookie") else {
                return Ok(answer(302, &[("location", "/b")], ""));
            };
            if session != "s=0" {
                sleep(delay).await;
            }
            Ok(answer(200, &[("cache-control", FOR_ALL)], "page"))
        }
    });
    let service = layer().layer(origin.clone());
    for number in 0..12_000 {
        let own = with(traced(number), "cookie", &format!("s={number}"));
        let service = service.clone();
        tokio::spawn(async move { send(&service, own).await });
        sleep(MS * 50).await;
    }
    (most.load(Ordering::SeqCst), origin.calls())
}

/// Promise: sessions that are slow for all have few calls at once, those that hang have more.
#[tokio::test(start_paused = true)]
async fn sessions_that_are_slow_or_hang_have_few_calls_at_once() {
    for (delay, most, many) in [
        (SECOND * 3, 4, 700),
        (SECOND * 6, 4, 900),
        (SECOND * 12, 5, 1200),
        (FOR_EVER, 12, 3600),
    ] {
        let (at_once, calls) = calls_for_sessions(delay).await;
        println!("{delay:?}: {at_once} at once, {calls} calls");
        assert!(
            at_once <= most && calls <= many,
            "{delay:?}: {at_once}, {calls}"
        );
    }
}
