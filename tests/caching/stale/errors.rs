//! A stale response in place of an error (RFC 5861 §4).

use std::time::Duration;

use tokio::time::{Instant, advance, sleep};
use tower::{Layer, ServiceExt};
use tower_response_cache::stats::FetchReason;

use super::{Health, Patient};
use crate::support::origin::OriginError;
use crate::support::time::{SECOND, settle};
use crate::support::{get, gets, in_memory, send, send_all, with};

#[tokio::test(start_paused = true)]
async fn an_error_is_replaced_where_that_is_allowed() {
    for (cache_control, status, expected) in [
        ("max-age=10, stale-if-error=30", 500, "call 1"),
        ("max-age=10, stale-if-error=30", 502, "call 1"),
        ("max-age=10, stale-if-error=30", 503, "call 1"),
        ("max-age=10, stale-if-error=30", 504, "call 1"),
        ("max-age=10, stale-if-error=30", 501, "an error"),
        ("max-age=10, stale-if-error=30", 404, "an error"),
        ("max-age=10, stale-if-error=1", 503, "an error"),
        ("max-age=10, stale-while-revalidate=1", 503, "an error"),
        ("max-age=10", 503, "an error"),
        (
            "max-age=10, stale-if-error=30, must-revalidate",
            503,
            "an error",
        ),
    ] {
        let origin = Patient::new(cache_control);
        let service = in_memory().layer(origin.origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * 12).await;
        origin.set_health(Health::Status(status));
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.body, expected, "{cache_control} {status}");
        if expected == "call 1" {
            let status = format!("fwd=stale; fwd-status={status}; ttl=-2; detail=stale-if-error");
            assert_eq!(answer.cache_status(), status);
            assert_eq!(answer.header("age"), "12");
        }
    }
    let origin = Patient::new("max-age=10");
    let service = in_memory()
        .stale_if_error(SECOND * 30)
        .layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    origin.set_health(Health::Status(503));
    assert_eq!(send(&service, get("/a")).await.body, "call 1");
}

/// While the inner service does not answer, a stale response is served by default, for a minute.
#[tokio::test(start_paused = true)]
async fn a_dead_origins_stale_response_is_served_unless_that_is_forbidden() {
    for (cache_control, after, stands_in) in [
        ("max-age=10", 69, true),
        ("max-age=10", 71, false),
        ("max-age=10, stale-if-error=90", 99, true),
        ("max-age=10, must-revalidate", 12, false),
        ("max-age=10, proxy-revalidate", 12, false),
        ("s-maxage=10", 12, false),
    ] {
        let origin = Patient::new(cache_control);
        let service = in_memory().layer(origin.origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * after).await;
        origin.set_health(Health::Dead);
        match service.clone().oneshot(get("/a")).await {
            Ok(response) => {
                assert!(stands_in, "{cache_control} {after}");
                let status = response.headers()["cache-status"].to_str().expect("text");
                assert!(status.ends_with("detail=stale-if-unreachable"), "{status}");
            }
            Err(error) => {
                assert!(!stands_in, "{cache_control} {after}");
                assert_eq!(error, OriginError("nobody there"));
            }
        }
    }
    let origin = Patient::new("max-age=10");
    let service = in_memory()
        .stale_if_unreachable(Duration::ZERO)
        .layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    origin.set_health(Health::Dead);
    assert!(service.clone().oneshot(get("/a")).await.is_err());
}

/// Many clients, ten minutes, each way of being down; followers of a failed call get the stale
/// response, too.
#[tokio::test(start_paused = true)]
async fn an_origin_that_is_down_is_asked_once_per_key_and_pause() {
    for failure in [Health::Status(503), Health::Dead] {
        let origin = Patient::new("max-age=10, stale-if-error=3600");
        let layer = in_memory().failure_backoff(SECOND * 5);
        let service = layer.layer(origin.origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * 11).await;
        origin.set_health(failure);
        let begun = Instant::now();
        while begun.elapsed() < SECOND * 600 {
            let answers = send_all(&service, gets(20)).await;
            assert!(answers.iter().all(|answer| answer.body == "call 1"));
            sleep(SECOND / 2).await;
        }
        let calls = origin.calls() - 1;
        assert!((100..=120).contains(&calls), "{calls}");
        assert_eq!(layer.handle().stats().in_flight, Default::default());
    }
}

#[tokio::test(start_paused = true)]
async fn the_pause_is_of_one_key_and_ends_with_an_answer() {
    let origin = Patient::new("max-age=10, stale-if-error=3600");
    let layer = in_memory().failure_backoff(SECOND * 60);
    let service = layer.layer(origin.origin.clone());
    send(&service, get("/a")).await;
    send(&service, get("/b")).await;
    settle().await;
    advance(SECOND * 12).await;
    origin.set_health(Health::Status(503));
    assert_eq!(send(&service, get("/a")).await.body, "call 1");
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "hit; ttl=-2; detail=stale-if-error"
    );
    origin.set_health(Health::Well);
    assert_eq!(send(&service, get("/b")).await.body, "call 4");
    // A client that insists still causes a call, and its answer is for all.
    let insists = with(get("/a"), "cache-control", "no-cache");
    assert_eq!(send(&service, insists).await.body, "call 5");
    settle().await;
    assert_eq!(send(&service, get("/a")).await.body, "call 5");
    assert_eq!(layer.handle().stats().fetches.get(FetchReason::Stale), 3);
}

/// A dead origin is an error, too: what the response says of errors holds for it.
#[tokio::test(start_paused = true)]
async fn an_explicit_stale_if_error_is_the_last_word() {
    let origin = Patient::new("max-age=10, stale-if-error=0");
    let service = in_memory().layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    origin.set_health(Health::Dead);
    assert!(service.clone().oneshot(get("/a")).await.is_err());
}
