//! What goes on in the background is owned: refreshes begin when they should, and all of it ends
//! with the cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::{Instant, advance, sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::random::SeededRandom;
use tower_response_cache::stats::{Refresh, WriteOutcome};

use crate::support::origin::{Origin, answer, cacheable, scripted};
use crate::support::time::{SECOND, SLOW, in_virtual_time, settle};
use crate::support::yielding::yielding;
use crate::support::{get, put, send};

fn layer() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default())
}

fn slow(text: &'static str) -> Origin {
    Origin::new(move |request| async move {
        sleep(SLOW).await;
        Ok(match request.method().is_safe() {
            true => answer(
                200,
                &[("cache-control", "max-age=10, stale-while-revalidate=30")],
                text,
            ),
            false => answer(204, &[], ""),
        })
    })
}

/// Over many lifetimes a key that is asked for often is refreshed about once each, before it
/// expires.
#[tokio::test(start_paused = true)]
async fn early_refreshes_come_about_once_a_lifetime_and_save_the_miss() {
    let layer = layer().early_refresh(1.0).random(SeededRandom::new(1));
    let service = layer.layer(slow("x"));
    send(&service, get("/a")).await;
    settle().await;
    let begun = Instant::now();
    let mut misses = 0;
    while begun.elapsed() < SECOND * 10 * 100 {
        misses += usize::from(!send(&service, get("/a")).await.is_hit());
        sleep(Duration::from_millis(10)).await;
    }
    let stats = layer.handle().stats();
    let early = stats.refreshes.get(Refresh::Early);
    assert!(
        (97..=104).contains(&early),
        "{early} in about 100 lifetimes"
    );
    assert_eq!((misses, stats.refreshes.get(Refresh::Stale)), (0, 0));
}

/// Nothing is refreshed that was invalidated, nor does a refresh that a write overtook store
/// anything.
#[tokio::test(start_paused = true)]
async fn nothing_is_refreshed_early_once_it_is_invalidated() {
    // Always draws zero: the refresh is due at once.
    let layer = layer().early_refresh(1.0).random(|| 0);
    let service = layer.layer(slow("x"));
    send(&service, get("/a")).await;
    settle().await;
    // Fifty milliseconds of cost and the smallest draw reach less than two seconds back.
    advance(SECOND * 8).await;
    assert!(send(&service, get("/a")).await.is_hit());
    assert_eq!(layer.handle().stats().refreshes.total(), 0);
    advance(SECOND).await;
    assert!(send(&service, get("/a")).await.is_hit());
    assert_eq!(layer.handle().stats().refreshes.get(Refresh::Early), 1);
    sleep(SLOW / 2).await;
    send(&service, put("/a")).await;
    sleep(SLOW * 2).await;
    assert_eq!(layer.handle().stats().refreshes.total(), 1);
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "fwd=uri-miss; stored"
    );
}

/// No refresh for a request with `only-if-cached`, or whose response would not be stored; whether
/// it would, one refresh shows.
#[tokio::test(start_paused = true)]
async fn early_refreshes_are_for_requests_that_help() {
    for (name, value, calls) in [
        ("x-plain", "1", 2),
        ("cache-control", "no-store", 1),
        ("cache-control", "only-if-cached", 1),
        ("authorization", "Basic x", 2),
    ] {
        let layer = layer().early_refresh(1.0).random(|| 0);
        let origin = slow("x");
        let service = layer.layer(origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(Duration::from_millis(9_500)).await;
        for _ in 0..5 {
            let asked = crate::support::with(get("/a"), name, value);
            assert!(send(&service, asked).await.is_hit());
            sleep(SLOW * 2).await;
        }
        assert_eq!(origin.calls(), calls, "{name}: {value}");
    }
}

/// Stored in the same second, expired over a quarter of their lifetime, evenly (chi-square at 0.1
/// %).
#[tokio::test(start_paused = true)]
async fn jitter_spreads_expiries() {
    const KEYS: usize = 5_000;
    let origin = Origin::at_once(|_| answer(200, &[("cache-control", "max-age=1000")], ""));
    let layer = in_virtual_time(MemoryBackend::new(256 << 20))
        .ttl_jitter(0.25)
        .random(SeededRandom::new(2));
    let service = layer.layer(origin);
    for key in 0..KEYS {
        send(&service, get(&format!("/{key}"))).await;
    }
    let mut expiries = [0_u32; 10];
    for key in 0..KEYS {
        let hit = send(&service, get(&format!("/{key}"))).await;
        let status = hit.cache_status();
        let ttl: f64 = status
            .strip_prefix("hit; ttl=")
            .and_then(|ttl| ttl.parse().ok())
            .expect("a hit");
        assert!((750.0..=1000.0).contains(&ttl));
        expiries[((ttl - 750.0) / 25.0).min(9.0) as usize] += 1;
    }
    let expected = KEYS as f64 / 10.0;
    let deviation = |count: &u32| (f64::from(*count) - expected).powi(2) / expected;
    let chi_square: f64 = expiries.iter().map(deviation).sum();
    assert!(chi_square < 27.9, "{chi_square}: {expiries:?}");
}

/// Running work may end; at the deadline the rest is cancelled, and nothing is left.
#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_what_ends_and_cancels_the_rest() {
    async fn check(backend: impl Backend) {
        let layer = in_virtual_time(backend);
        let service = layer.layer(slow("x"));
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * 12).await;
        // A refresh, and a write whose client is gone.
        send(&service, get("/a")).await;
        let write = tokio::spawn(service.clone().oneshot(put("/b")));
        sleep(SLOW / 2).await;
        write.abort();
        settle().await;
        assert_eq!(layer.handle().stats().in_flight.tasks, 2);
        let begun = Instant::now();
        let ended = layer.handle().shutdown(SECOND * 10).await;
        assert_eq!(ended.cancelled, 0);
        assert!(begun.elapsed() <= SLOW * 2, "{:?}", begun.elapsed());
        let stats = layer.handle().stats();
        assert_eq!(stats.in_flight, Default::default());
        assert_eq!(
            (stats.stores, stats.writes.get(WriteOutcome::Committed)),
            (2, 1)
        );
    }
    check(MemoryBackend::default()).await;
    check(yielding(MemoryBackend::default())).await;

    let layer = layer();
    let (script, body) = scripted();
    let body = std::sync::Mutex::new(Some(body));
    let service = layer.layer(Origin::at_once(move |_| {
        let body = body.lock().expect("a body").take().expect("one call");
        cacheable("").map(|_| body)
    }));
    let response = service.clone().oneshot(get("/a")).await.expect("a head");
    settle().await;
    let begun = Instant::now();
    let ended = layer.handle().shutdown(SECOND * 10).await;
    assert_eq!((ended.cancelled, begun.elapsed()), (1, SECOND * 10));
    settle().await;
    assert_eq!(layer.handle().stats().in_flight, Default::default());
    assert!(response.into_body().collect().await.is_err(), "it is told");
    drop(script);
}

/// Requests are served as ever, with nothing in the background.
#[tokio::test(start_paused = true)]
async fn after_the_shutdown_requests_are_served_and_no_background_work_begins() {
    let layer = layer();
    let service = layer.layer(slow("x"));
    send(&service, get("/a")).await;
    settle().await;
    layer.handle().shutdown(SECOND).await;
    assert!(send(&service, get("/a")).await.is_hit());
    advance(SECOND * 12).await;
    for path in ["/a", "/b"] {
        let both = tokio::join!(send(&service, get(path)), send(&service, get(path)));
        assert_eq!((both.0.body.as_str(), both.1.body.as_str()), ("x", "x"));
        assert!(!both.0.is_hit());
    }
    assert_eq!(send(&service, put("/a")).await.status, 204);
    let stats = layer.handle().stats();
    assert_eq!(stats.in_flight, Default::default());
    assert_eq!(stats.refreshes.total(), 0);
    assert_eq!(
        layer.handle().shutdown(SECOND).await.cancelled,
        0,
        "it can be called again"
    );
}

/// A call in a task goes back to the client it was for when the task is cancelled.
#[tokio::test(start_paused = true)]
async fn a_leader_keeps_its_call_through_the_shutdown() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let service = Origin::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async {
            sleep(SECOND * 5).await;
            Ok(cacheable("x"))
        }
    });
    let layer = layer();
    let service = layer.layer(service);
    let leader = tokio::spawn(service.clone().oneshot(get("/a")));
    let follower = tokio::spawn(service.clone().oneshot(get("/a")));
    sleep(SECOND).await;
    let ended = layer.handle().shutdown(SECOND).await;
    assert_eq!(ended.cancelled, 1);
    for task in [leader, follower] {
        let response = timeout(SECOND * 1000, task).await.expect("it is woken");
        let response = response.expect("no panic").expect("an answer");
        let body = response.into_body().collect().await.expect("a whole body");
        assert_eq!(body.to_bytes(), "x");
    }
    assert!(calls.load(Ordering::SeqCst) <= 2);
    settle().await;
    assert_eq!(layer.handle().stats().in_flight, Default::default());
}

/// A runtime that ends takes the background work with it, quietly.
#[test]
fn a_runtime_that_ends_first_takes_everything_with_it() {
    let layer = CacheLayer::new(MemoryBackend::default());
    let service = layer.layer(slow("x"));
    for worker_threads in [0, 2] {
        let mut builder = match worker_threads {
            0 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = builder.enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let leader = tokio::spawn(service.clone().oneshot(get("/a")));
            let follower = tokio::spawn(service.clone().oneshot(get("/a")));
            let write = tokio::spawn(service.clone().oneshot(put("/b")));
            settle().await;
            drop((leader, follower));
            write.abort();
        });
        drop(runtime);
        assert_eq!(layer.handle().stats().in_flight.tasks, 0);
        assert_eq!(layer.handle().stats().in_flight.fills, 0);
    }
}
