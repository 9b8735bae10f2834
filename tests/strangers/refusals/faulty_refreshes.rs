//! Refreshes that bring nothing, for the fields of their requests, keep nothing stale for others.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_response_cache::Cache;
use tower_response_cache::backend::MemoryBackend;

use super::{around, layer};
use crate::support::origin::{Origin, answer, scripted};
use crate::support::time::{SECOND, SLOW};
use crate::support::{get, send, with};

const MS: Duration = Duration::from_millis(1);
const FOR_ALL: &str = "public, max-age=1, stale-while-revalidate=86400";

/// What the origin does with a request.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answer,
    Hang,
    Fail(u16),
    /// It fails after so many milliseconds.
    FailLate(u64),
    /// It sends a head, and no body.
    Stall,
}

/// A page that tells when it was made.
fn page(does: impl Fn(&Request<()>) -> Does + Send + Sync + 'static) -> Origin {
    let begun = Instant::now();
    let stalled = Arc::new(Mutex::new(Vec::new()));
    Origin::new(move |request: Request<()>| {
        let (does, stalled) = (does(&request), stalled.clone());
        async move {
            sleep(SLOW).await;
            match does {
                Does::Answer => {}
                Does::Hang => sleep(3600 * SECOND).await,
                Does::FailLate(after) => {
                    sleep(Duration::from_millis(after)).await;
                    return Ok(answer(503, &[], "no"));
                }
                Does::Stall => {
                    let (sender, body) = scripted();
                    stalled.lock().expect("no panic").push(sender);
                    let head = answer(200, &[("cache-control", FOR_ALL)], "");
                    return Ok(head.map(|_| body));
                }
                Does::Fail(status) => return Ok(answer(status, &[], "no")),
            }
            let made = begun.elapsed().as_millis().to_string();
            Ok(answer(200, &[("cache-control", FOR_ALL)], made))
        }
    })
}

fn has(request: &Request<()>, name: &str) -> bool {
    request.headers().contains_key(name)
}

fn odd(number: usize) -> Request<()> {
    with(get("/a"), "x-odd", &number.to_string())
}

fn honest(number: usize) -> Request<()> {
    with(get("/a"), "x-number", &number.to_string())
}

/// The age of the oldest page that honest clients get within ten minutes, beside a stranger who
/// sends a request each 100 ms. All of them get the page at once.
async fn oldest(
    service: &Cache<Origin, MemoryBackend>,
    honest: impl Fn(usize) -> Request<()>,
    stranger: impl Fn(usize) -> Request<()>,
) -> Duration {
    let begun = Instant::now();
    let mut oldest = Duration::ZERO;
    let mut state = 7;
    for number in 0..6000 {
        let (own, request) = (service.clone(), stranger(number));
        tokio::spawn(async move { send(&own, request).await });
        sleep(around(100, &mut state)).await;
        if number % 20 == 0 {
            let asked = begun.elapsed();
            let got = send(service, honest(number)).await;
            assert_eq!((got.status.as_u16(), begun.elapsed()), (200, asked));
            let made = Duration::from_millis(got.body.parse().expect("a number"));
            oldest = oldest.max(asked.saturating_sub(made));
        }
    }
    oldest
}

/// Requests that fail at once, each with other fields: as many as back off for all.
#[tokio::test(start_paused = true)]
async fn different_failing_requests_keep_nothing_stale() {
    for fault in [
        Does::Fail(503),
        Does::Fail(500),
        Does::Hang,
        // Too slow for eight of them within a backoff, too fast to be overtaken.
        Does::FailLate(900),
        Does::Stall,
    ] {
        let origin = page(move |request| match has(request, "x-odd") {
            true => fault,
            false => Does::Answer,
        });
        let service = layer().layer(origin);
        send(&service, honest(0)).await;
        let oldest = oldest(&service, honest, odd).await;
        println!("{fault:?}: {oldest:?}");
        let most = match fault {
            // Each of its calls takes its time, and none is given up.
            Does::FailLate(_) | Does::Stall => 240 * SECOND,
            _ => 60 * SECOND,
        };
        assert!(oldest <= most, "{fault:?}: {oldest:?}");
    }
}

/// Also where the stranger forces the calls.
#[tokio::test(start_paused = true)]
async fn forced_requests_without_a_body_keep_nothing_stale() {
    let origin = page(|request| match has(request, "x-odd") {
        true => Does::Stall,
        false => Does::Answer,
    });
    let service = layer().layer(origin);
    send(&service, honest(0)).await;
    let forced = |number| with(odd(number), "cache-control", "no-cache");
    let oldest = oldest(&service, honest, forced).await;
    println!("{oldest:?}");
    assert!(oldest <= 6 * SECOND, "{oldest:?}");
}

/// Also where the page wants a cookie, or a credential.
#[tokio::test(start_paused = true)]
async fn a_page_that_wants_a_cookie_is_refreshed_with_that_of_a_client() {
    for name in ["cookie", "authorization"] {
        let answers = move |request: &Request<()>| (has(request, name), has(request, "x-odd"));
        let origin = page(move |request| match answers(request) {
            (false, _) => Does::Fail(401),
            (true, true) => Does::Hang,
            (true, false) => Does::Answer,
        });
        let service = layer().layer(origin);
        let own = move |request, number: usize| with(request, name, &format!("s={number}"));
        send(&service, own(honest(0), 0)).await;
        let honest = |number| own(honest(number), number);
        let oldest = oldest(&service, honest, |number| own(odd(number), number)).await;
        println!("{name}: {oldest:?}");
        assert!(oldest <= 60 * SECOND, "{name}: {oldest:?}");
    }
}

/// Requests that brought responses, and hang from some time on.
#[tokio::test(start_paused = true)]
async fn requests_that_hang_later_keep_nothing_stale() {
    let begun = Instant::now();
    let origin = page(move |request| match has(request, "x-odd") {
        true if begun.elapsed() > 60 * SECOND => Does::Hang,
        _ => Does::Answer,
    });
    let service = layer().layer(origin);
    send(&service, odd(0)).await;
    let (mut oldest, mut sum) = (Duration::ZERO, Duration::ZERO);
    for number in 0..6000 {
        let (own, request) = (service.clone(), odd(number));
        tokio::spawn(async move { send(&own, request).await });
        sleep(100 * MS).await;
        let got = send(&service, honest(number)).await;
        let made = Duration::from_millis(got.body.parse().expect("a number"));
        let age = begun.elapsed().saturating_sub(made);
        oldest = oldest.max(age);
        sum += age;
    }
    let mean = sum / 6000;
    println!("{oldest:?}, mean {mean:?}");
    assert!(
        oldest <= 60 * SECOND && mean < 5 * SECOND,
        "{oldest:?}, mean {mean:?}"
    );
}
