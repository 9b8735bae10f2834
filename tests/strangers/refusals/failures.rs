//! Requests whose fields make the origin fail, or hang: stale content is refreshed all the same, by
//! the requests of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use tokio::time::{Instant, sleep};
use tower::Layer;

use super::layer;
use crate::support::origin::{Origin, OriginError, answer};
use crate::support::time::{SECOND, SLOW, settle};
use crate::support::{Answer, get, send, send_all, with};

/// Stale use without an end, in either way.
const STALE_USES: [&str; 2] = [
    "max-age=1, stale-while-revalidate=3600",
    "max-age=1, stale-if-error=3600",
];

/// What the origin makes of a request that it does not like.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Status(u16),
    Error,
    Hangs,
}

/// An origin whose page says at which second it was made, and that fails for requests with `x-odd`.
fn versions(directives: &'static str, fault: Fault) -> Origin {
    let begun = Instant::now();
    Origin::new(move |request: Request<()>| async move {
        let is_odd = request.headers().contains_key("x-odd");
        match fault {
            Fault::Hangs if is_odd => sleep(SECOND * 3600).await,
            _ => sleep(SLOW).await,
        }
        match fault {
            Fault::Status(status) if is_odd => Ok(answer(status, &[], "odd")),
            Fault::Error if is_odd => Err(OriginError("odd")),
            _ => {
                let second = begun.elapsed().as_secs().to_string();
                Ok(answer(200, &[("cache-control", directives)], second))
            }
        }
    })
}

/// The greatest age of content that a client sees who asks every 2.6 seconds, while a stranger
/// sends a request every 300 ms. `stranger` makes each of them of its number.
async fn oldest(origin: Origin, seconds: u64, stranger: impl Fn(usize) -> Request<()>) -> Duration {
    let service = layer().layer(origin);
    let begun = Instant::now();
    send(&service, get("/a")).await;
    let (mut oldest, mut number) = (Duration::ZERO, 0);
    while begun.elapsed() < SECOND * u32::try_from(seconds).expect("few") {
        for _ in 0..8 {
            sleep(Duration::from_millis(300)).await;
            let (service, request) = (service.clone(), stranger(number));
            tokio::spawn(async move {
                let response = tower::ServiceExt::oneshot(service, request).await;
                drop(response);
            });
            number += 1;
        }
        sleep(Duration::from_millis(200)).await;
        let got = send(&service, get("/a")).await;
        let made = Duration::from_secs(got.body.parse().expect("a number"));
        oldest = oldest.max(begun.elapsed().saturating_sub(made));
    }
    oldest
}

fn odd(value: usize) -> Request<()> {
    with(get("/a"), "x-odd", &value.to_string())
}

/// F4: a plain request with a field that makes the origin fail starts a backoff for requests with
/// the same fields, and for no others.
#[tokio::test(start_paused = true)]
async fn failing_requests_of_one_client_keep_nothing_stale() {
    for directives in STALE_USES {
        for fault in [Fault::Status(503), Fault::Status(500), Fault::Error] {
            let oldest = oldest(versions(directives, fault), 120, |_| odd(0)).await;
            println!("{directives}, {fault:?}: {oldest:?}");
            assert!(oldest <= SECOND * 8, "{directives}, {fault:?}: {oldest:?}");
        }
    }
}

/// Requests that differ in their field, a few of them within a backoff.
#[tokio::test(start_paused = true)]
async fn a_few_different_failing_requests_keep_nothing_stale() {
    for directives in STALE_USES {
        let origin = versions(directives, Fault::Status(503));
        let oldest = oldest(origin, 120, |number| odd(number % 7)).await;
        println!("{directives}: {oldest:?}");
        assert!(oldest <= SECOND * 8, "{directives}: {oldest:?}");
    }
}

/// Requests that hang: a refresh that does is no reason not to try another one once
/// `coalesce_takeover_timeout` has passed, and the next is not the stranger's.
#[tokio::test(start_paused = true)]
async fn hanging_requests_of_one_client_keep_nothing_stale_for_long() {
    let origin = versions(STALE_USES[0], Fault::Hangs);
    let oldest = oldest(origin, 600, |_| odd(0)).await;
    println!("{oldest:?}");
    assert!(oldest <= SECOND * 20, "{oldest:?}");
}

/// Requests that hang and force their calls, each of which takes over from the one before.
#[tokio::test(start_paused = true)]
async fn forced_requests_that_hang_keep_nothing_stale_for_long() {
    for directive in ["max-age=0", "no-cache", "no-store", "min-fresh=100"] {
        let origin = versions(STALE_USES[0], Fault::Hangs);
        let forced = |_| with(odd(0), "cache-control", directive);
        let oldest = oldest(origin, 600, forced).await;
        println!("{directive}: {oldest:?}");
        assert!(oldest <= SECOND * 20, "{directive}: {oldest:?}");
    }
}

/// An origin that is down after its first response, and fails after a time.
fn down(directives: &'static str, after: Duration) -> Origin {
    let calls = Arc::new(AtomicU64::new(0));
    Origin::new(move |_: Request<()>| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        async move {
            if call == 0 {
                return Ok(answer(200, &[("cache-control", directives)], "page"));
            }
            sleep(after).await;
            Ok(answer(503, &[], "down"))
        }
    })
}

/// Requests that all differ in their fields.
fn different(count: usize) -> impl Iterator<Item = Request<()>> {
    (0..count).map(|number| with(get("/a"), "user-agent", &number.to_string()))
}

fn all_stale(answers: &[Answer]) -> bool {
    answers.iter().all(|answer| answer.body == "page")
}

/// In an outage, eight different requests are tried per backoff, however many there are.
#[tokio::test(start_paused = true)]
async fn an_outage_costs_eight_calls_per_backoff_whatever_the_requests() {
    for directives in STALE_USES {
        let origin = down(directives, SLOW);
        let service = layer().failure_backoff(SECOND * 60).layer(origin.clone());
        send(&service, get("/a")).await;
        sleep(SECOND * 2).await;
        for number in 0..100 {
            let request = with(get("/a"), "user-agent", &number.to_string());
            assert!(all_stale(&[send(&service, request).await]));
            sleep(SLOW * 2).await;
        }
        assert_eq!(origin.calls() - 1, 8, "{directives}");
        // Once more after the backoff.
        sleep(SECOND * 70).await;
        assert!(all_stale(&send_all(&service, different(100)).await));
        sleep(SECOND).await;
        let calls = origin.calls() - 8 - 1;
        assert!((1..=8).contains(&calls), "{directives}: {calls}");
    }
}

/// In an outage that takes long to show, requests wait for one failure before they use a stale
/// response, however different they are; then for a second, as long as calls fail.
#[tokio::test(start_paused = true)]
async fn an_outage_costs_requests_one_call_time_at_most() {
    let origin = down(STALE_USES[1], SECOND * 5);
    let service = layer().layer(origin.clone());
    send(&service, get("/a")).await;
    sleep(SECOND * 2).await;
    let begun = Instant::now();
    assert!(all_stale(&send_all(&service, different(100)).await));
    assert_eq!((begun.elapsed(), origin.calls()), (SECOND * 5, 3));
    sleep(SECOND * 10).await;
    let begun = Instant::now();
    assert!(all_stale(
        &send_all(&service, (0..100).map(|_| odd(1))).await
    ));
    assert_eq!((begun.elapsed(), origin.calls()), (SECOND, 5));
    settle().await;
}

/// A client that spells its requests otherwise than they go to the origin backs off like others
/// (RFC 9113 §8.2.3, §8.3.1).
#[tokio::test(start_paused = true)]
async fn the_spelling_of_a_request_does_not_shorten_its_backoff() {
    let origin = down("public, max-age=1, stale-while-revalidate=3600", SLOW);
    let layer = layer().failure_backoff(SECOND * 60);
    let service = layer.layer(origin.clone());
    let spelled = || {
        let uri = "http://TEST.example/a";
        let request = Request::builder().uri(uri).header("cookie", "a=1");
        request.header("cookie", "b=2").body(()).expect("a request")
    };
    send(&service, spelled()).await;
    sleep(SECOND * 2).await;
    for _ in 0..20 {
        assert!(all_stale(&[send(&service, spelled()).await]));
        sleep(SECOND).await;
    }
    assert_eq!(origin.calls() - 1, 1);
}

/// A refresh that fails late is tried again after the backoff, not later.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_brings_nothing_pauses_for_the_backoff() {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let origin = Origin::new(move |_: Request<()>| {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let directives = [("cache-control", STALE_USES[0])];
            match call {
                0 => Ok(answer(200, &directives, "page")),
                _ => Ok(answer(429, &[], "later")),
            }
        }
    });
    let service = layer().layer(origin);
    send(&service, get("/a")).await;
    sleep(SECOND * 2).await;
    for _ in 0..20 {
        assert!(all_stale(&[send(&service, get("/a")).await]));
        sleep(SECOND).await;
    }
    assert_eq!(calls.load(Ordering::SeqCst) - 1, 4);
}

/// What clients force is no sign of what a refresh would bring, however different it is.
#[tokio::test(start_paused = true)]
async fn many_different_forced_requests_that_fail_keep_nothing_stale() {
    for directives in STALE_USES {
        for line in ["no-cache", "no-store", "max-age=9", "min-fresh=0"] {
            let service = layer().layer(versions(directives, Fault::Status(503)));
            let begun = Instant::now();
            send(&service, get("/a")).await;
            for _ in 0..5 {
                sleep(SECOND * 3).await;
                for number in 0..10 {
                    send(&service, with(odd(number), "cache-control", line)).await;
                }
                send(&service, get("/a")).await;
                sleep(SLOW * 2).await;
                let made: u64 = send(&service, get("/a"))
                    .await
                    .body
                    .parse()
                    .expect("a number");
                let age = begun.elapsed() - SECOND * u32::try_from(made).expect("few");
                assert!(age <= SECOND * 2, "{directives}, {line}: {age:?}");
            }
        }
    }
}

/// Answers of no use to all cost as few calls as failures do.
#[tokio::test(start_paused = true)]
async fn answers_of_no_use_to_all_cost_few_calls() {
    let line = "max-age=1, stale-while-revalidate=3600";
    for status in [429, 408, 413, 206, 503] {
        let is_well = Arc::new(AtomicUsize::new(1));
        let first = is_well.clone();
        let origin = Origin::new(move |_: Request<()>| {
            let is_first = first.swap(0, Ordering::SeqCst) == 1;
            async move {
                sleep(SLOW).await;
                Ok(match is_first {
                    true => answer(200, &[("cache-control", line)], "page"),
                    false => answer(status, &[], "no"),
                })
            }
        });
        let service = layer().layer(origin.clone());
        send(&service, get("/a")).await;
        sleep(SECOND * 2).await;
        for number in 0..6000 {
            let request = with(get("/a"), "user-agent", &number.to_string());
            assert_eq!(send(&service, request).await.body, "page", "{status}");
            sleep(SECOND / 100).await;
        }
        println!("{status}: {} calls in a minute", origin.calls());
        assert!(origin.calls() < 130, "{status}: {}", origin.calls());
    }
}
