//! Background refreshes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request};
use tokio::time::{advance, sleep};
use tower::Layer;

use super::{Health, Patient, refreshed};
use crate::support::origin::{Origin, OriginError, answer};
use crate::support::time::{SECOND, SLOW, settle};
use crate::support::{get, in_memory, put, request, send, with};

#[tokio::test(start_paused = true)]
async fn a_refresh_that_a_write_overtakes_stores_nothing() {
    let origin = Patient::new("max-age=10, stale-while-revalidate=30");
    let service = in_memory().layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    assert_eq!(send(&service, get("/a")).await.body, "call 1");
    // The refresh samples now; the write is answered before it ends.
    sleep(SLOW / 2).await;
    assert_eq!(send(&service, put("/a")).await.status, 204);
    refreshed().await;
    let after = send(&service, get("/a")).await;
    assert_eq!(after.cache_status(), "fwd=uri-miss; stored");
    assert_eq!(after.body, "call 4");
}

#[tokio::test(start_paused = true)]
async fn a_refresh_asks_for_the_whole_whatever_triggered_it() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = seen.clone();
    let origin = Origin::at_once(move |request| {
        let conditions = ["if-none-match", "if-modified-since", "range", "if-range"]
            .iter()
            .filter(|name| request.headers().contains_key(**name))
            .count();
        log.lock()
            .expect("a log")
            .push((request.method().clone(), conditions));
        answer(
            200,
            &[("cache-control", "max-age=10, stale-while-revalidate=30")],
            "whole",
        )
    });
    let service = in_memory().layer(origin);
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    let mut head = request(Method::HEAD, "/a");
    for (name, value) in [
        ("if-none-match", "\"x\""),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("range", "bytes=0-1"),
    ] {
        head = with(head, name, value);
    }
    let answered = send(&service, head).await;
    assert!(answered.is_hit() && answered.body.is_empty());
    settle().await;
    let seen = seen.lock().expect("a log");
    assert_eq!(*seen, [(Method::GET, 0), (Method::GET, 0)]);
}

/// Whatever ends a refresh, the next one can begin.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_panics_or_hangs_blocks_no_later_one() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let origin = Origin::new(move |_| {
        let call = count.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            match call {
                2 => panic!("in a refresh"),
                3 => sleep(SECOND * 10_000).await,
                _ => {}
            }
            let line = ("cache-control", "max-age=10, stale-while-revalidate=3600");
            Ok(answer(200, &[line], format!("call {call}")))
        }
    });
    let layer = in_memory().fill_timeout(SECOND * 30);
    let service = layer.layer(origin);
    send(&service, get("/a")).await;
    settle().await;
    for (wait, calls_then) in [(12, 2), (6, 3), (31, 4)] {
        advance(SECOND * wait).await;
        assert_eq!(send(&service, get("/a")).await.body, "call 1");
        settle().await;
        assert_eq!(calls.load(Ordering::SeqCst), calls_then);
    }
    assert_eq!(send(&service, get("/a")).await.body, "call 4");
    assert_eq!(layer.handle().stats().in_flight, Default::default());
}

/// A 5xx that may be stored does not replace a usable response, and a failed refresh is not retried
/// at once.
#[tokio::test(start_paused = true)]
async fn a_failed_refresh_keeps_the_stored_response_and_pauses() {
    for failure in [Health::Status(503), Health::Dead] {
        let origin = Patient::new("max-age=10, stale-while-revalidate=3600");
        let service = in_memory()
            .failure_backoff(SECOND * 5)
            .ttl_by(|_, head| {
                head.status
                    .is_server_error()
                    .then(|| Duration::from_secs(60).into())
            })
            .layer(origin.origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * 12).await;
        origin.set_health(failure);
        for _ in 0..100 {
            assert_eq!(send(&service, get("/a")).await.body, "call 1");
            sleep(SECOND / 5).await;
        }
        assert!((4..=6).contains(&origin.calls()), "{}", origin.calls());
        origin.set_health(Health::Well);
        sleep(SECOND * 6).await;
        send(&service, get("/a")).await;
        refreshed().await;
        let recovered = send(&service, get("/a")).await;
        assert!(recovered.is_hit() && recovered.body != "call 1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_becomes_uncacheable_is_no_longer_served_stale() {
    let private = Arc::new(AtomicBool::new(false));
    let turned = private.clone();
    let origin = Origin::at_once(move |_| {
        let line = match turned.load(Ordering::SeqCst) {
            false => "max-age=10, stale-while-revalidate=3600",
            true => "private",
        };
        answer(200, &[("cache-control", line)], line)
    });
    let service = in_memory().layer(origin);
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    private.store(true, Ordering::SeqCst);
    // Its refresh is refused, which counts for requests with the same fields.
    assert!(send(&service, get("/a")).await.is_hit());
    settle().await;
    let next = send(&service, get("/a")).await;
    assert_eq!((next.body.as_str(), next.is_hit()), ("private", false));
}

/// Whatever keeps a refresh from bringing anything new, the next one is not tried at once.
#[tokio::test(start_paused = true)]
async fn refreshes_that_bring_nothing_pause_whatever_the_reason() {
    for (case, kind) in ["429", "507", "panic", "broken", "length"].iter().zip(0..) {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        let origin = Origin::new(move |_| {
            let call = count.fetch_add(1, Ordering::SeqCst) + 1;
            async move {
                let line = ("cache-control", "max-age=10, stale-while-revalidate=3600");
                if call == 1 {
                    return Ok(answer(200, &[line], "call 1"));
                }
                Ok(match kind {
                    0 => answer(429, &[], ""),
                    1 => answer(507, &[], ""),
                    2 => std::panic::resume_unwind(Box::new("in a refresh")),
                    3 => {
                        let (script, body) = crate::support::origin::scripted();
                        let _ = script.send(Err(OriginError("broken off").into()));
                        answer(200, &[line], "").map(|_| body)
                    }
                    _ => answer(200, &[line, ("content-length", "3")], "longer"),
                })
            }
        });
        let service = in_memory().failure_backoff(SECOND * 5).layer(origin);
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * 12).await;
        for _ in 0..100 {
            assert_eq!(send(&service, get("/a")).await.body, "call 1", "{case}");
            sleep(SECOND / 10).await;
        }
        let calls = calls.load(Ordering::SeqCst);
        assert!(
            (3..=4).contains(&calls),
            "{case}: {calls} calls in ten seconds"
        );
    }
}

/// Each variant has its own refresh and its own pause.
#[tokio::test(start_paused = true)]
async fn variants_are_refreshed_one_by_one() {
    let calls = Arc::new(AtomicU64::new(0));
    let count = calls.clone();
    let origin = Origin::at_once(move |request| {
        let call = count.fetch_add(1, Ordering::SeqCst) + 1;
        let language = request.headers()["accept-language"].to_str().expect("text");
        let lines = [
            ("cache-control", "max-age=10, stale-while-revalidate=30"),
            ("vary", "accept-language"),
        ];
        answer(200, &lines, format!("{language} {call}"))
    });
    let service = in_memory().layer(origin);
    let ask = |language: &str| -> Request<()> { with(get("/a"), "accept-language", language) };
    for language in ["de", "fr"] {
        send(&service, ask(language)).await;
        settle().await;
    }
    advance(SECOND * 12).await;
    assert_eq!(send(&service, ask("de")).await.body, "de 1");
    assert_eq!(send(&service, ask("fr")).await.body, "fr 2");
    settle().await;
    assert_eq!(send(&service, ask("de")).await.body, "de 3");
    assert_eq!(send(&service, ask("fr")).await.body, "fr 4");
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}
