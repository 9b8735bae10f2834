//! The outcome of a write decides about invalidation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request};
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::stats::{Refusal, WriteOutcome};

use super::origin;
use crate::support::origin::{Origin, OriginError, answer, cacheable, data, scripted};
use crate::support::polling::{catch_unwind, poll_once};
use crate::support::time::settle;
use crate::support::{collect, get, in_memory, is_stored, put, request, send, with};

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_write_decides_about_invalidation() {
    for (status, outcome, stays) in [
        (200, WriteOutcome::Committed, false),
        (204, WriteOutcome::Committed, false),
        (303, WriteOutcome::Committed, false),
        (400, WriteOutcome::Rejected, true),
        (404, WriteOutcome::Rejected, true),
        (409, WriteOutcome::Rejected, true),
        (501, WriteOutcome::Rejected, true),
        (505, WriteOutcome::Rejected, true),
        (408, WriteOutcome::Unknown, false),
        (500, WriteOutcome::Unknown, false),
        (503, WriteOutcome::Unknown, false),
    ] {
        let layer = in_memory();
        let service = layer.layer(origin(&Arc::default(), move |_| async move {
            Ok(answer(status, &[], ""))
        }));
        send(&service, get("/a")).await;
        assert!(is_stored(&service, get("/a")).await);
        let written = send(&service, put("/a")).await;
        assert_eq!(
            written.cache_status(),
            format!("fwd=method; detail={outcome}"),
            "{status}"
        );
        assert_eq!(is_stored(&service, get("/a")).await, stays, "{status}");
        assert_eq!(layer.handle().stats().writes.get(outcome), 1, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn unsafe_and_unknown_methods_invalidate_and_safe_ones_do_not() {
    for (method, stays) in [
        ("POST", false),
        ("PUT", false),
        ("PATCH", false),
        ("DELETE", false),
        ("BREW", false),
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("TRACE", true),
        ("QUERY", true),
    ] {
        let service = in_memory().layer(Origin::at_once(|_| cacheable("x")));
        send(&service, get("/a")).await;
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        send(&service, request(method.clone(), "/a")).await;
        assert_eq!(is_stored(&service, get("/a")).await, stays, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_queries_and_variants_vanish_together() {
    let origin = Origin::at_once(|request| match *request.method() {
        Method::GET => answer(
            200,
            &[("cache-control", "max-age=60"), ("vary", "accept-language")],
            "x",
        ),
        _ => answer(200, &[], ""),
    });
    let service = in_memory().layer(origin.clone());
    let asks = || {
        let paths = ["/a", "/a?q=1", "/a?q=2"].into_iter();
        paths.flat_map(|path| {
            ["de", "en"].map(|language| with(get(path), "accept-language", language))
        })
    };
    for ask in asks() {
        send(&service, ask).await;
    }
    for ask in asks() {
        assert!(send(&service, ask).await.is_hit());
    }
    send(&service, put("/a?anything")).await;
    let calls = origin.calls();
    for ask in asks() {
        assert!(!send(&service, ask).await.is_hit());
    }
    assert_eq!(origin.calls(), calls + 6);
}

/// The fill's body goes to its own client and is not stored.
#[tokio::test(start_paused = true)]
async fn a_fill_that_a_write_overtakes_is_not_stored() {
    let (body, response) = scripted();
    let response = std::sync::Mutex::new(Some(response));
    let origin = Origin::at_once(move |request| {
        let scripted = response.lock().expect("a lock").take();
        match (request.method(), scripted) {
            (&Method::GET, Some(body)) => {
                answer(200, &[("cache-control", "max-age=60")], "").map(|_| body)
            }
            (&Method::GET, None) => cacheable("new"),
            (_, scripted) => {
                assert!(scripted.is_none());
                answer(200, &[], "")
            }
        }
    });
    let layer = in_memory();
    let service = layer.layer(origin.clone());
    let slow = service.clone().oneshot(get("/a")).await.expect("a head");
    body.send(data("ol")).expect("a reader");
    send(&service, put("/a")).await;
    body.send(data("d")).expect("a reader");
    drop(body);
    assert_eq!(collect(slow).await.body, "old");
    assert_eq!(layer.handle().stats().refusals.get(Refusal::Superseded), 1);
    assert_eq!(send(&service, get("/a")).await.body, "new");
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_write_of_unknown_outcome_invalidates_and_refuses_stores_for_a_while() {
    type End = fn() -> Result<crate::support::origin::Response, OriginError>;
    let ends: [End; 3] = [
        || Ok(answer(502, &[], "")),
        || Err(OriginError("connection lost")),
        || panic!("the handler's own panic"),
    ];
    for end in ends {
        let layer = in_memory().write_grace_window(Duration::from_secs(7));
        let service = layer.layer(origin(&Arc::default(), move |_| async move {
            tokio::task::yield_now().await;
            end()
        }));
        send(&service, get("/a")).await;
        let written = catch_unwind(service.clone().oneshot(put("/a"))).await;
        if let Ok(Err(error)) = written {
            assert_eq!(error, OriginError("connection lost"));
        }
        assert!(!is_stored(&service, get("/a")).await);
        assert_eq!(layer.handle().stats().writes.get(WriteOutcome::Unknown), 1);
        let within = send(&service, get("/a")).await;
        assert_eq!(within.cache_status(), "fwd=uri-miss; detail=write-grace");
        assert!(!is_stored(&service, get("/a")).await);
        advance(Duration::from_secs(8)).await;
        send(&service, get("/a")).await;
        assert!(is_stored(&service, get("/a")).await);
    }
}

/// A fill that begins within the grace and ends after it has read what a late commit changes.
#[tokio::test(start_paused = true)]
async fn the_grace_counts_for_fills_that_begin_in_it() {
    let service = in_memory().layer(origin(&Arc::default(), |_| async {
        Ok(answer(500, &[], ""))
    }));
    send(&service, put("/a")).await;
    let begun = service.clone().oneshot(get("/a")).await.expect("a head");
    advance(Duration::from_secs(60)).await;
    collect(begun).await;
    assert!(!is_stored(&service, get("/a")).await);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_never_reached_the_service_invalidates_nothing() {
    let origin = Origin::at_once(|_| cacheable("x"));
    let layer = in_memory();
    let mut saturated = tower::limit::ConcurrencyLimit::new(origin.clone(), 1);
    std::future::poll_fn(|cx| saturated.poll_ready(cx))
        .await
        .expect("the only permit");
    let limited = saturated.clone();
    let service = layer.layer(limited);
    let mut write = Box::pin(service.clone().oneshot(put("/a")));
    assert!(!poll_once(&mut write).is_ready());
    drop(write);
    settle().await;
    assert_eq!(layer.handle().stats().invalidations, 0);
    assert_eq!(origin.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_handle_invalidates_and_clears() {
    let layer = in_memory();
    let service = layer.layer(Origin::at_once(|_| cacheable("x")));
    for path in ["/a", "/a?q", "/b"] {
        send(&service, get(path)).await;
    }
    let handle = layer.handle();
    handle
        .invalidate("http://test.example/a")
        .await
        .expect("acknowledged");
    assert!(!is_stored(&service, get("/a")).await && !is_stored(&service, get("/a?q")).await);
    assert!(is_stored(&service, get("/b")).await);
    for wrong in ["a", "a.example:80", "not a uri", ""] {
        let error = handle
            .invalidate(wrong)
            .await
            .expect_err("names no resource");
        assert!(error.is_invalid_uri(), "{wrong}");
    }
    handle.clear().await.expect("acknowledged");
    assert!(!is_stored(&service, get("/b")).await);
}

/// An origin whose call itself, not its future, panics after it has committed.
#[derive(Clone)]
struct PanicsWhenCalled(Origin, Arc<AtomicU64>);

impl Service<Request<()>> for PanicsWhenCalled {
    type Response = crate::support::origin::Response;
    type Error = OriginError;
    type Future = crate::support::origin::OriginFuture;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), OriginError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        if request.method() == Method::PUT {
            self.1.fetch_add(1, Ordering::SeqCst);
            panic!("the service's own panic");
        }
        self.0.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_panics_when_called_invalidates() {
    let version = Arc::<AtomicU64>::default();
    let inner = PanicsWhenCalled(
        origin(&version, |_| std::future::pending()),
        version.clone(),
    );
    let service = in_memory().layer(inner);
    assert_eq!(send(&service, get("/a")).await.body, "/a v0");
    let written = catch_unwind(service.clone().oneshot(put("/a"))).await;
    assert!(written.is_err());
    assert_eq!(send(&service, get("/a")).await.body, "/a v1");
}

#[tokio::test(start_paused = true)]
async fn a_refetch_is_no_eviction() {
    let layer = in_memory();
    let service = layer.layer(Origin::at_once(|_| {
        answer(200, &[("cache-control", "max-age=1")], "x")
    }));
    for _ in 0..10 {
        send(&service, get("/a")).await;
        advance(Duration::from_secs(2)).await;
    }
    let stats = layer.handle().stats();
    assert_eq!(
        (stats.stores, stats.usage.expect("it tells").evictions),
        (10, 0)
    );
}
