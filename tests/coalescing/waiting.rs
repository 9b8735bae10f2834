//! The time a request waits for another one's call, and the end of the wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_response_cache::Cache;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::{FetchReason, Refusal};

use crate::support::origin::{Origin, after, cacheable, slow};
use crate::support::time::{SECOND, SLOW, settle};
use crate::support::{collect, get, gets, send, with};
use crate::{burst, layer};

/// However impatient: calls that hang are taken over ever more rarely.
#[tokio::test(start_paused = true)]
async fn takeovers_become_rarer() {
    let origin = after(SECOND * 10_000, |_, _| cacheable("x"));
    let service = layer()
        .coalesce_takeover_timeout(SLOW)
        .layer(origin.clone());
    let calls = burst(&service, gets(100));
    assert!(timeout(SECOND * 29, calls).await.is_err());
    assert!(origin.calls() <= 11, "{}", origin.calls());
}

#[tokio::test(start_paused = true)]
async fn a_slow_origin_is_called_once_more_not_by_all() {
    let origin = after(SECOND * 12, |_, call| cacheable(format!("call {call}")));
    let service = layer().layer(origin.clone());
    let (_, answers) = burst(&service, gets(1000)).await;
    assert_eq!(origin.calls(), 2, "one more after ten seconds");
    let first = answers
        .iter()
        .filter(|answer| answer.as_deref() == Ok("call 1"));
    assert_eq!(first.count(), 999, "whichever comes first serves all");
}

/// A call that never ends costs one more call at intervals, then each request calls for itself.
#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_taken_over() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = calls.clone();
    let origin = Origin::new(move |_| {
        let call = count.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            if call == 1 {
                std::future::pending::<()>().await;
            }
            sleep(SLOW).await;
            Ok(cacheable("x"))
        }
    });
    let service = layer().layer(origin);
    let mut hanging = Box::pin(service.clone().oneshot(get("/a")));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(hanging.as_mut().poll(&mut cx).is_pending());
    let (took, answers) = burst(&service, gets(200)).await;
    assert_eq!(took, SECOND * 10 + SLOW);
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("x")));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

/// `Duration::MAX` is how one says "no limit".
#[tokio::test(start_paused = true)]
async fn limits_may_be_none() {
    let origin = slow(|_, _| cacheable("x"));
    let longest = Duration::MAX;
    let service = layer()
        .fill_timeout(longest)
        .coalesce_timeout(longest)
        .coalesce_takeover_timeout(longest)
        .slow_reader_timeout(longest)
        .uncacheable_ttl(longest)
        .failure_backoff(longest)
        .write_grace_window(longest)
        .detached_write_timeout(longest)
        .stale_while_revalidate(longest)
        .stale_if_error(longest)
        .ttl(longest)
        .layer(origin.clone());
    let (_, answers) = burst(&service, gets(10)).await;
    assert!(answers.iter().all(|answer| answer.as_deref() == Ok("x")));
    assert_eq!(origin.calls(), 1);
}

/// The queue before the inner service is bounded: a request too many gets a 503 with `Retry-After`.
#[tokio::test(start_paused = true)]
async fn too_many_waiting_fills_are_turned_away() {
    let origin = slow(|_, _| cacheable("x"));
    let inner = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(1))
        .service(origin.clone());
    let layer = layer().max_waiting_fills(10);
    let service = layer.layer(inner);
    let mut tasks = JoinSet::new();
    for n in 0..100 {
        tasks.spawn(service.clone().oneshot(get(&format!("/{n}"))));
    }
    let mut answers = Vec::new();
    for response in tasks.join_all().await {
        answers.push(collect(response.expect("an answer")).await);
    }
    let served = answers.iter().filter(|answer| answer.body == "x").count();
    assert_eq!(served, 11, "one called, ten waited");
    for answer in answers.iter().filter(|answer| answer.body != "x") {
        assert_eq!(
            (answer.status.as_u16(), answer.header("retry-after")),
            (503, "1".into())
        );
        assert_eq!(answer.cache_status(), "detail=too-many-waiting");
    }
    let stats = layer.handle().stats();
    assert_eq!(stats.overloads, 89);
    assert_eq!(stats.fetches.get(FetchReason::UriMiss), 100);
    // Places are given back, also by requests that leave the queue.
    let left = (0..10).map(|n| service.clone().oneshot(get(&format!("/left/{n}"))));
    for mut call in left.map(Box::pin).collect::<Vec<_>>() {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
    }
    let mut tasks = JoinSet::new();
    for n in 0..11 {
        tasks.spawn(service.clone().oneshot(get(&format!("/late/{n}"))));
    }
    for response in tasks.join_all().await {
        assert_eq!(response.expect("an answer").status(), 200);
    }
}

/// A follower that gets no head within its timeout calls for itself.
#[tokio::test(start_paused = true)]
async fn a_request_that_has_waited_for_too_long_calls_for_itself() {
    let origin = after(SECOND * 8, |_, call| cacheable(format!("call {call}")));
    let layer = layer()
        .coalesce_takeover_timeout(SECOND * 100)
        .coalesce_timeout(SECOND * 2);
    let service = layer.layer(origin.clone());
    let (took, answers) = burst(&service, gets(3)).await;
    assert_eq!((took, origin.calls()), (SECOND * 10, 3));
    assert!(answers.iter().all(Result::is_ok));
}

/// Zero turns waiting off: every request calls at once, and only the leader's response is stored.
#[tokio::test(start_paused = true)]
async fn without_time_to_wait_every_request_calls_for_itself() {
    let origin = slow(|_, call| cacheable(format!("call {call}")));
    let layer = layer().coalesce_timeout(Duration::ZERO);
    let service = layer.layer(origin.clone());
    let (took, answers) = burst(&service, gets(100)).await;
    assert_eq!((took, origin.calls()), (SLOW, 100));
    assert!(answers.iter().all(Result::is_ok));
    settle().await;
    let stats = layer.handle().stats();
    assert_eq!(
        (stats.stores, stats.refusals.get(Refusal::WaitedTooLong)),
        (1, 99)
    );
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_requests_itself_through_its_cache_is_not_stuck() {
    let service: Arc<std::sync::OnceLock<Cache<Origin, MemoryBackend>>> = Arc::default();
    let own = service.clone();
    let origin = Origin::new(move |request| {
        let own = own.clone();
        async move {
            if !request.headers().contains_key("x-inner")
                && let Some(service) = own.get()
            {
                let asked = with(get("/a"), "x-inner", "1");
                let _ = Box::pin(service.clone().oneshot(asked)).await;
            }
            Ok(cacheable("x"))
        }
    });
    let cache = layer().layer(origin);
    let _ = service.set(cache.clone());
    let answered = timeout(SECOND * 60, cache.oneshot(get("/a"))).await;
    assert!(answered.expect("in time").is_ok());
}

/// A leader that hangs.
#[tokio::test(start_paused = true)]
async fn no_request_waits_longer_than_it_may() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let origin = Origin::new(move |_| {
        let call = counted.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            if call == 1 {
                std::future::pending::<()>().await;
            }
            Ok(cacheable(format!("call {call}")))
        }
    });
    let layer = layer()
        .coalesce_timeout(Duration::from_secs(2))
        .fill_timeout(Duration::from_secs(5));
    let service = layer.layer(origin);
    let hangs = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    let begun = Instant::now();
    let waited = send(&service, get("/a")).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    assert_eq!(waited.cache_status(), "fwd=uri-miss; stored");
    assert!(send(&service, get("/a")).await.is_hit());
    hangs.abort();
}
