//! Methods that are neither read nor written through the cache.

use std::time::Duration;

use http::{Method, StatusCode};
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::stats::Bypass;

use crate::on_both_backends;
use crate::support::origin::{Origin, answer, cacheable, versions};
use crate::support::time::settled;
use crate::support::{get, in_memory, request, send, with};

#[tokio::test(start_paused = true)]
async fn three_identical_writes_reach_the_handler_three_times() {
    on_both_backends(async |backend| {
        for layer in [
            CacheLayer::new(backend.clone()).ttl(Duration::from_secs(60)),
            CacheLayer::new(backend.clone()).write_through(true),
        ] {
            let origin = Origin::at_once(|request| {
                let path = request.uri().path();
                let own = [
                    ("cache-control", "public, max-age=3600"),
                    ("content-location", path),
                ];
                answer(200, &own, "done")
            });
            let service = layer.layer(origin.clone());
            for method in ["POST", "PUT", "PATCH", "DELETE", "PURGE"] {
                let method = Method::from_bytes(method.as_bytes()).expect("a method");
                let before = origin.calls();
                for time in 1..=3 {
                    let answer = send(&service, request(method.clone(), "/a")).await;
                    assert!(!answer.is_hit(), "{method}");
                    assert_eq!(origin.calls() - before, time, "{method}");
                    settled().await;
                }
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn head_never_poisons_get() {
    on_both_backends(async |backend| {
        let origin = Origin::at_once(|request| match *request.method() {
            Method::HEAD => {
                let lines = [("cache-control", "max-age=3600"), ("content-length", "4")];
                answer(200, &lines, "")
            }
            _ => cacheable("body"),
        });
        let service = CacheLayer::new(backend).layer(origin.clone());
        let head = send(&service, request(Method::HEAD, "/a")).await;
        assert_eq!(head.cache_status(), "fwd=uri-miss; detail=method");
        settled().await;
        let get_after = send(&service, get("/a")).await;
        assert_eq!(get_after.cache_status(), "fwd=uri-miss; stored");
        assert_eq!(get_after.body, "body");
        settled().await;
        // Nor does one that goes past a stored response.
        let fresh = with(request(Method::HEAD, "/a"), "cache-control", "no-cache");
        assert!(!send(&service, fresh).await.is_hit());
        settled().await;
        assert_eq!(send(&service, get("/a")).await.body, "body");
        assert_eq!(origin.calls(), 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn head_is_answered_from_a_stored_get() {
    let origin = Origin::at_once(|_| {
        let lines = [("cache-control", "max-age=3600"), ("etag", "\"1\"")];
        answer(200, &lines, "body")
    });
    let service = in_memory().layer(origin.clone());
    let stored = send(&service, get("/a")).await;
    let head = send(&service, request(Method::HEAD, "/a")).await;
    assert!(head.is_hit());
    assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
    assert_eq!(head.header("content-length"), "4");
    assert_eq!(head.header("etag"), "\"1\"");
    assert_eq!(head.header("date"), stored.header("date"));
    assert!(head.headers.contains_key("age"));
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn methods_that_are_neither_reads_nor_writes_pass() {
    let layer = in_memory();
    let service = layer.layer(versions());
    send(&service, get("/a")).await;
    for method in [Method::OPTIONS, Method::TRACE, Method::CONNECT] {
        let passed = send(&service, request(method, "/a")).await;
        assert_eq!(passed.cache_status(), "fwd=method");
    }
    assert!(send(&service, get("/a")).await.is_hit());
    assert_eq!(layer.handle().stats().bypasses.get(Bypass::Method), 3);
}
