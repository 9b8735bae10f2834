//! What an operator says about the outcomes of writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};
use tower_response_cache::{CacheLayer, WriteOutcome, backend::MemoryBackend};

use super::origin;
use crate::support::origin::{Origin, OriginError, answer, cacheable};
use crate::support::polling::{catch_unwind, poll_once};
use crate::support::time::settle;
use crate::support::{get, in_memory, is_stored, put, send};

/// An origin whose writes are answered with a status and fields.
fn writes(status: u16, fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::at_once(move |request| match *request.method() {
        Method::GET => cacheable("x"),
        _ => answer(status, fields, "y"),
    })
}

/// Every status has one outcome by default: RFC 9111 §4.4, RFC 9110 §15.
#[test]
fn the_outcome_by_default_follows_from_the_status() {
    for code in 200..600 {
        let status = StatusCode::from_u16(code).expect("a status");
        let outcome = match code {
            408 => WriteOutcome::Unknown,
            501 | 505 => WriteOutcome::Rejected,
            200..=399 => WriteOutcome::Committed,
            400..=499 => WriteOutcome::Rejected,
            _ => WriteOutcome::Unknown,
        };
        assert_eq!(WriteOutcome::from_status(status), outcome, "{code}");
    }
}

/// The hook decides, in either direction, also about a write whose client has left.
#[tokio::test(start_paused = true)]
async fn the_hook_decides_about_the_outcome_of_a_write() {
    use WriteOutcome::{Committed, Rejected, Unknown};
    for (status, outcome, stays, is_refused) in [
        (200, Rejected, true, false),
        (503, Rejected, true, false),
        (404, Committed, false, false),
        (500, Committed, false, false),
        (202, Unknown, false, true),
        (400, Unknown, false, true),
    ] {
        for leaves in [false, true] {
            let layer = in_memory().classify_writes(move |head| {
                assert_eq!(head.status, status);
                assert_eq!(head.headers["x-told"], "yes");
                outcome
            });
            let service = layer.layer(origin(&Arc::default(), move |_| async move {
                tokio::task::yield_now().await;
                Ok(answer(status, &[("x-told", "yes")], ""))
            }));
            send(&service, get("/a")).await;
            if leaves {
                let mut write = Box::pin(service.clone().oneshot(put("/a")));
                assert!(!poll_once(&mut write).is_ready());
                drop(write);
                settle().await;
            } else {
                send(&service, put("/a")).await;
            }
            let case = format!("{status} {outcome} leaves: {leaves}");
            assert_eq!(layer.handle().stats().writes.get(outcome), 1, "{case}");
            assert_eq!(is_stored(&service, get("/a")).await, stays, "{case}");
            send(&service, get("/a")).await;
            assert_eq!(is_stored(&service, get("/a")).await, !is_refused, "{case}");
        }
    }
}

/// A hook that panics says nothing: the write may have been committed.
#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_leaves_the_outcome_unknown() {
    for status in [200, 404] {
        let layer = in_memory().classify_writes(|_| panic!("the hook's own panic"));
        let service = layer.layer(writes(status, &[]));
        send(&service, get("/a")).await;
        let written = send(&service, put("/a")).await;
        assert_eq!(written.cache_status(), "fwd=method; detail=outcome-unknown");
        let again = send(&service, get("/a")).await;
        assert_eq!(again.cache_status(), "fwd=uri-miss; detail=write-grace");
    }
}

/// The response to a write that changed nothing is no new representation.
#[tokio::test(start_paused = true)]
async fn a_rejected_write_stores_no_response() {
    let layer = in_memory()
        .write_through(true)
        .classify_writes(|_| WriteOutcome::Rejected);
    let fields = &[("content-location", "/a"), ("cache-control", "max-age=60")];
    let service = layer.layer(writes(200, fields));
    send(&service, get("/a")).await;
    send(&service, put("/a")).await;
    assert_eq!(send(&service, get("/a")).await.body, "x");
    assert_eq!(layer.handle().stats().stores, 1);
}

/// RFC 9111 §4.4: only a non-error response invalidates.
#[tokio::test(start_paused = true)]
async fn without_invalidation_on_unknown_only_success_invalidates() {
    type End = fn() -> Result<crate::support::origin::Response, OriginError>;
    let ends: [(End, bool); 6] = [
        (|| Ok(answer(500, &[], "")), true),
        (|| Ok(answer(408, &[], "")), true),
        (|| Err(OriginError("connection lost")), true),
        (|| panic!("the handler's own panic"), true),
        (|| Ok(answer(204, &[], "")), false),
        (|| Ok(answer(303, &[], "")), false),
    ];
    for (number, (end, stays)) in ends.into_iter().enumerate() {
        let layer = in_memory().invalidate_on_unknown(false);
        let service = layer.layer(origin(&Arc::default(), move |_| async move { end() }));
        send(&service, get("/a")).await;
        let _ = catch_unwind(service.clone().oneshot(put("/a"))).await;
        assert_eq!(is_stored(&service, get("/a")).await, stays, "{number}");
        send(&service, get("/cold")).await;
        assert!(is_stored(&service, get("/cold")).await, "{number}");
    }
    // The inner service names groups, whatever the outcome (RFC 9875 §3).
    let layer = in_memory().invalidate_on_unknown(false);
    let service = layer.layer(Origin::at_once(|request| match *request.method() {
        Method::GET => answer(
            200,
            &[("cache-control", "max-age=60"), ("cache-groups", "\"g\"")],
            "x",
        ),
        _ => answer(500, &[("cache-group-invalidation", "\"g\"")], ""),
    }));
    send(&service, get("/a")).await;
    send(&service, put("/b")).await;
    assert!(!is_stored(&service, get("/a")).await);
    send(&service, get("/a")).await;
    assert!(is_stored(&service, get("/a")).await, "no period follows");
}

/// A write that was dropped before its end is unknown, and this option says what that means.
#[tokio::test(start_paused = true)]
async fn without_invalidation_on_unknown_a_dropped_write_changes_nothing() {
    let layer = CacheLayer::new(MemoryBackend::default())
        .invalidate_on_unknown(false)
        .max_detached_writes(0);
    let service = layer.layer(origin(&Arc::default(), |_| std::future::pending()));
    send(&service, get("/a")).await;
    let mut write = Box::pin(service.clone().oneshot(put("/a")));
    assert!(!poll_once(&mut write).is_ready());
    drop(write);
    assert!(is_stored(&service, get("/a")).await);
    assert_eq!(layer.handle().stats().abandoned_writes, 1);
}

/// Promise: a committed write whose client has left invalidates as soon as its head is there, not
/// before, and all that the head names.
#[tokio::test(start_paused = true)]
async fn a_write_whose_client_left_invalidates_all_that_its_head_names() {
    let version = Arc::<AtomicU64>::default();
    let commits = version.clone();
    let layer = in_memory().also_invalidate(|write| write.status().map(|_| "/hooked"));
    let service = layer.layer(origin(&version, move |_| {
        let version = commits.clone();
        async move {
            sleep(Duration::from_secs(1)).await;
            version.fetch_add(1, Ordering::SeqCst);
            let fields = [("location", "/made"), ("content-location", "/list")];
            Ok(answer(201, &fields, ""))
        }
    }));
    let paths = ["/a", "/made", "/list", "/hooked"];
    for path in paths {
        send(&service, get(path)).await;
    }
    let mut write = Box::pin(service.clone().oneshot(put("/a")));
    assert!(!poll_once(&mut write).is_ready());
    drop(write);
    sleep(Duration::from_millis(990)).await;
    for path in paths {
        assert!(is_stored(&service, get(path)).await, "{path}: too early");
    }
    sleep(Duration::from_millis(20)).await;
    for path in paths {
        let read = send(&service, get(path)).await;
        assert_eq!(read.body, format!("{path} v1"));
        assert!(is_stored(&service, get(path)).await, "no period follows");
    }
}
