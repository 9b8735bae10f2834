//! RFC 9110 §9.3.3: an answer to POST with a lifetime that says that it is the target's
//! representation serves later GETs. No other does, and none answers a POST.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, answer, cacheable};
use crate::support::{get, put, request, send, with};

type Line = (&'static str, &'static str);

fn post(path: &str) -> Request<()> {
    request(Method::POST, path)
}

/// An origin whose POSTs answer with these lines, and whose GETs do not.
fn origin(status: u16, lines: &'static [Line]) -> Origin {
    Origin::at_once(move |request| match *request.method() {
        Method::POST => answer(status, lines, "posted"),
        Method::PUT => answer(204, &[], ""),
        _ => cacheable("got"),
    })
}

const MINUTE: Line = ("cache-control", "max-age=60");
const OWN: Line = ("content-location", "/a?x=1");

#[tokio::test(start_paused = true)]
async fn an_answer_to_post_that_says_so_serves_later_gets() {
    on_both_backends(async |layer| {
        for own in [
            &[MINUTE, OWN][..],
            &[MINUTE, ("content-location", "http://test.example/a?x=1")],
        ] {
            let origin = origin(200, own);
            let service = layer.layer(origin.clone());
            let posted = send(&service, post("/a?x=1")).await;
            assert_eq!(
                posted.cache_status(),
                "fwd=method; stored; detail=invalidated"
            );
            let hit = send(&service, get("/a?x=1")).await;
            assert_eq!((hit.is_hit(), &*hit.body), (true, "posted"));
            let head = send(&service, request(Method::HEAD, "/a?x=1")).await;
            assert!(head.is_hit());
            // A POST is never answered from it, and a write takes it.
            send(&service, post("/a?x=1")).await;
            assert_eq!(origin.calls(), 2);
            send(&service, put("/a")).await;
            assert_eq!(send(&service, get("/a?x=1")).await.body, "got");
            layer.handle().clear().await.expect("cleared");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn no_other_answer_to_post_is_stored() {
    #[rustfmt::skip]
    let rows: &[(&str, u16, &'static [Line])] = &[
        ("no Content-Location", 200, &[MINUTE]),
        ("no lifetime", 200, &[OWN]),
        ("a guessed lifetime is none", 200, &[OWN, ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")]),
        ("another path", 200, &[MINUTE, ("content-location", "/b?x=1")]),
        ("another query", 200, &[MINUTE, ("content-location", "/a?x=2")]),
        ("another site", 200, &[MINUTE, ("content-location", "http://else.example/a?x=1")]),
        ("twice", 200, &[MINUTE, OWN, OWN]),
        ("no-store", 200, &[("cache-control", "max-age=60, no-store"), OWN]),
        ("private", 200, &[("cache-control", "max-age=60, private"), OWN]),
        ("a cookie", 200, &[MINUTE, OWN, ("set-cookie", "id=1")]),
        ("created, elsewhere", 201, &[MINUTE, OWN]),
        ("an error", 404, &[MINUTE, OWN]),
    ];
    for (case, status, lines) in rows {
        let service = CacheLayer::new(MemoryBackend::default())
            .ttl(Duration::from_secs(60))
            .layer(origin(*status, lines));
        let posted = send(&service, post("/a?x=1")).await;
        assert!(
            !posted.cache_status().contains("stored"),
            "{case}: {}",
            posted.cache_status()
        );
        for path in ["/a?x=1", "/a?x=2", "/b?x=1"] {
            assert_eq!(send(&service, get(path)).await.body, "got", "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_can_be_turned_off() {
    let layer = CacheLayer::new(MemoryBackend::default()).store_posts(false);
    let service = layer.layer(origin(200, &[MINUTE, OWN]));
    send(&service, post("/a?x=1")).await;
    assert_eq!(send(&service, get("/a?x=1")).await.body, "got");
}

/// Only the first of writes that overlap may store , or a fill could store an older one over it.
#[tokio::test(start_paused = true)]
async fn a_post_that_another_write_overlaps_only_invalidates() {
    on_both_backends(async |layer| {
        let version = Arc::new(AtomicU64::new(0));
        let origin = Origin::new(move |request: Request<()>| {
            let version = version.clone();
            async move {
                if request.method() == Method::GET {
                    return Ok(cacheable(format!("v{}", version.load(Ordering::SeqCst))));
                }
                let own = version.fetch_add(1, Ordering::SeqCst) + 1;
                let slow = request.headers().contains_key("x-slow");
                sleep(Duration::from_millis(if slow { 50 } else { 10 })).await;
                Ok(answer(200, &[MINUTE, OWN], format!("v{own}")))
            }
        });
        let service = layer.layer(origin);
        let slow = with(post("/a?x=1"), "x-slow", "1");
        let later = async {
            sleep(Duration::from_millis(5)).await;
            send(&service, post("/a?x=1")).await
        };
        let (slow, fast) = tokio::join!(send(&service, slow), later);
        assert_eq!(
            fast.cache_status(),
            "fwd=method; stored; detail=invalidated"
        );
        assert_eq!(slow.cache_status(), "fwd=method; detail=invalidated");
        assert_eq!(slow.status, StatusCode::OK);
        assert_eq!(send(&service, get("/a?x=1")).await.body, "v2");
    })
    .await;
}

/// Every method that is not known to be safe is a write.
#[tokio::test(start_paused = true)]
async fn unknown_methods_invalidate_and_safe_ones_do_not() {
    for (method, invalidates) in [
        ("POST", true),
        ("PUT", true),
        ("PATCH", true),
        ("DELETE", true),
        ("PURGE", true),
        ("MKCOL", true),
        ("get", true),
        ("X-ANYTHING", true),
        ("OPTIONS", false),
        ("TRACE", false),
        ("QUERY", false),
        ("PROPFIND", false),
    ] {
        let origin = Origin::at_once(|request| match *request.method() {
            Method::GET => cacheable("got"),
            _ => answer(200, &[MINUTE], "done"),
        });
        let service = CacheLayer::new(MemoryBackend::default()).layer(origin.clone());
        send(&service, get("/a")).await;
        let method = method.parse::<Method>().expect("a method");
        send(&service, request(method.clone(), "/a")).await;
        let again = send(&service, get("/a")).await;
        assert_eq!(again.is_hit(), !invalidates, "{method}");
        assert_eq!(origin.calls(), if invalidates { 3 } else { 2 }, "{method}");
    }
}
