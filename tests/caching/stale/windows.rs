//! How long a stale response may be served, and by whom that is decided (RFC 5861 §3).

use std::time::Duration;

use tokio::time::{Instant, advance};
use tower::{Layer, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::stats::{Refresh, StaleUse};

use super::{Health, Patient, refreshed};
use crate::support::origin::{Origin, Response, answer};
use crate::support::time::{SECOND, settle};
use crate::support::yielding::yielding;
use crate::support::{get, gets, in_memory, put, send, send_all, with};

async fn a_thousand_at_expiry(backend: impl Backend) {
    let origin = Patient::new("max-age=10, stale-while-revalidate=30");
    let layer = CacheLayer::new(backend);
    let service = layer.layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    let begun = Instant::now();
    let answers = send_all(&service, gets(1000)).await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waits");
    for answer in answers {
        assert_eq!(answer.body, "call 1");
        assert_eq!(answer.header("age"), "12");
        assert_eq!(
            answer.cache_status(),
            "hit; ttl=-2; detail=stale-while-revalidate"
        );
    }
    refreshed().await;
    assert_eq!(origin.calls(), 2, "one refresh for all");
    let after = send(&service, get("/a")).await;
    assert_eq!((after.body.as_str(), after.is_hit()), ("call 2", true));
    let stats = layer.handle().stats();
    assert_eq!(stats.refreshes.get(Refresh::Stale), 1);
    assert_eq!(stats.stale.get(StaleUse::WhileRevalidate), 1000);
    assert_eq!((stats.hits, stats.fetches.total()), (1001, 1));
    assert_eq!(stats.in_flight, Default::default());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_are_answered_at_once_while_one_refresh_runs() {
    a_thousand_at_expiry(MemoryBackend::default()).await;
    a_thousand_at_expiry(yielding(MemoryBackend::default())).await;
}

#[tokio::test(start_paused = true)]
async fn beyond_its_window_or_without_one_a_stale_response_is_not_served() {
    for (cache_control, after) in [
        ("max-age=10, stale-while-revalidate=30", 41),
        ("max-age=10", 11),
        ("max-age=10, stale-while-revalidate=30, must-revalidate", 11),
        (
            "max-age=10, stale-while-revalidate=30, proxy-revalidate",
            11,
        ),
        ("s-maxage=10, stale-while-revalidate=30", 11),
    ] {
        let origin = Patient::new(cache_control);
        let service = in_memory().layer(origin.origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * after).await;
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.body, "call 2", "{cache_control}");
        assert_eq!(
            answer.cache_status(),
            "fwd=stale; stored",
            "{cache_control}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn options_speak_for_responses_that_say_nothing() {
    let origin = Patient::new("max-age=10");
    let service = in_memory()
        .stale_while_revalidate(SECOND * 5)
        .layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    assert_eq!(send(&service, get("/a")).await.body, "call 1");
    refreshed().await;
    assert_eq!(send(&service, get("/a")).await.body, "call 2");

    let origin = Patient::new("s-maxage=10, stale-while-revalidate=30");
    let service = in_memory()
        .stale_despite_s_maxage(true)
        .layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    assert_eq!(send(&service, get("/a")).await.body, "call 1");
}

/// A response may say that it is never fresh, but will do while it is fetched anew.
#[tokio::test(start_paused = true)]
async fn a_response_stale_from_the_start_is_stored_for_its_window() {
    let origin = Patient::new("max-age=0, stale-while-revalidate=30");
    let service = in_memory().layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    let second = send(&service, get("/a")).await;
    assert_eq!(second.body, "call 1");
    refreshed().await;
    assert_eq!(send(&service, get("/a")).await.body, "call 2");
}

#[tokio::test(start_paused = true)]
async fn a_clients_own_limits_are_kept() {
    for (directive, expected) in [
        ("no-cache", "call 2"),
        ("max-age=60", "call 2"),
        ("min-fresh=0", "call 2"),
        ("no-store", "call 2"),
        ("only-if-cached", "call 1"),
    ] {
        let origin = Patient::new("max-age=10, stale-while-revalidate=30, stale-if-error=30");
        let service = in_memory().layer(origin.origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * 12).await;
        let asked = with(get("/a"), "cache-control", directive);
        assert_eq!(send(&service, asked).await.body, expected, "{directive}");
        refreshed().await;
        let calls = if directive == "only-if-cached" { 1 } else { 2 };
        assert_eq!(origin.calls(), calls, "{directive}");
    }
    let origin = Patient::new("max-age=10, stale-if-error=30");
    let service = in_memory().layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    origin.set_health(Health::Status(503));
    for (directive, expected) in [("no-cache", 503), ("max-age=60", 503), ("max-stale", 200)] {
        let asked = with(get("/a"), "cache-control", directive);
        assert_eq!(send(&service, asked).await.status, expected, "{directive}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalidated_response_is_gone_not_stale() {
    let origin = Patient::new("max-age=10, stale-while-revalidate=30, stale-if-error=30");
    let service = in_memory().layer(origin.origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    send(&service, put("/a")).await;
    origin.set_health(Health::Status(503));
    assert_eq!(send(&service, get("/a")).await.status, 503);
    origin.set_health(Health::Dead);
    assert!(service.clone().oneshot(get("/a")).await.is_err());
}

/// No task could refresh it: the request itself fetches it.
#[test]
fn outside_of_a_runtime_a_stale_response_is_not_served() {
    let origin = Origin::at_once(|_| -> Response {
        answer(
            200,
            &[("cache-control", "max-age=0, stale-while-revalidate=30")],
            "x",
        )
    });
    let service = in_memory().layer(origin.clone());
    for calls in 1..=2 {
        let asked = std::pin::pin!(send(&service, get("/a")));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(asked.poll(&mut cx).is_ready());
        assert_eq!(origin.calls(), calls);
    }
}
