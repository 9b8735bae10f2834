//! A backend that comes back, now and then or for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::MemoryBackend;

use super::{LEADS, ask, burst, count, end, layer, numbered};
use crate::support::origin::{Origin, answer, cacheable};
use crate::support::time::{SECOND, SLOW, in_virtual_time, settle};
use crate::support::yielding::yielding;
use crate::support::{Answer, get, gets, put, send};

/// Once the backend is back, no request with a fence joins a call without one; a write is seen at
/// once.
#[tokio::test(start_paused = true)]
async fn a_backend_that_comes_back_is_used_at_once() {
    let version = Arc::new(AtomicU64::new(1));
    let own = version.clone();
    let origin = Origin::new(move |_| {
        let sampled = own.load(Ordering::SeqCst);
        async move {
            sleep(SLOW).await;
            Ok(cacheable(format!("version {sampled}")))
        }
    });
    let (layer, switch) = layer();
    let service = layer.layer(origin.clone());
    let running = ask(&service, get("/a"));
    settle().await;
    switch.revive();
    version.store(2, Ordering::SeqCst);
    let fenced = send(&service, get("/a")).await;
    assert_eq!(fenced.body, "version 2");
    assert_eq!(fenced.cache_status(), "fwd=uri-miss; stored");
    assert_eq!(end(running).await.expect("an answer").body, "version 1");
    settle().await;
    let hit = send(&service, get("/a")).await;
    assert!(hit.is_hit() && hit.body == "version 2", "{hit:?}");

    // A call that has not begun is for those with a fence, too.
    switch.kill();
    let begun = origin.calls();
    let _running = ask(&service, get("/b"));
    settle().await;
    let waiting = ask(&service, get("/b"));
    settle().await;
    switch.revive();
    version.store(3, Ordering::SeqCst);
    let (_, answers) = burst(&service, (0..100).map(|_| get("/b"))).await;
    assert_eq!(count(&answers, |a| a.body == "version 3"), 100);
    assert_eq!(end(waiting).await.expect("an answer").body, "version 3");
    assert_eq!(origin.calls() - begun, 2);
}

/// A backend that answers now and then makes no stampede either.
#[tokio::test(start_paused = true)]
async fn a_flapping_backend_is_no_stampede() {
    for works in 2..=5 {
        let (layer, switch) = layer();
        switch.works_every(works);
        let origin = numbered();
        let service = layer.layer(origin.clone());
        let (_, answers) = burst(&service, gets(1000)).await;
        assert!(answers.iter().all(Result::is_ok));
        let calls = origin.calls();
        assert!(calls <= 4, "every {works}th lookup works: {calls} calls");
    }
}

/// A shutdown cancels background work, not the answers.
#[tokio::test(start_paused = true)]
async fn a_shutdown_leaves_every_request_an_answer() {
    for deadline in [Duration::ZERO, SLOW, SECOND] {
        let (layer, _) = layer();
        let service = layer.layer(numbered());
        let handle = layer.handle();
        let shuts_down = async {
            sleep(SLOW / 2).await;
            handle.shutdown(deadline).await;
        };
        let ((_, answers), _) = tokio::join!(burst(&service, gets(50)), shuts_down);
        assert_eq!(count(&answers, |a| a.body.starts_with("call")), 50);
        let late = send(&service, get("/a")).await;
        assert_eq!(late.cache_status(), LEADS, "as ever");
    }
}

/// No stampede either where nothing may be stored because a write's outcome is unknown: it may
/// commit at any time.
#[tokio::test(start_paused = true)]
async fn the_grace_of_a_write_is_no_stampede() {
    let version = Arc::new(AtomicU64::new(1));
    let own = version.clone();
    let origin = Origin::new(move |request: Request<()>| {
        let sampled = own.load(Ordering::SeqCst);
        async move {
            if request.method() == Method::PUT {
                return Ok(answer(500, &[], ""));
            }
            sleep(SLOW).await;
            Ok(cacheable(format!("version {sampled}")))
        }
    });
    let layer = in_virtual_time(yielding(MemoryBackend::default()));
    let service = layer.layer(origin.clone());
    send(&service, put("/a")).await;
    let first = tokio::spawn(service.clone().oneshot(get("/a")));
    settle().await;
    version.store(2, Ordering::SeqCst);
    let (_, answers) = burst(&service, gets(200)).await;
    assert_eq!(count(&answers, |a| a.body == "version 2"), 200);
    let leads = |a: &Answer| a.cache_status() == "fwd=uri-miss; detail=write-grace";
    assert_eq!(count(&answers, leads), 1);
    assert_eq!(origin.calls(), 1 + 2);
    assert!(first.await.expect("no panic").is_ok());
    settle().await;
    assert_eq!(layer.handle().stats().stores, 0);
}
