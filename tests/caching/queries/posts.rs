//! POSTs that only read, as the application says: `read_only_posts`.

use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Backend, MemoryBackend};

use crate::support::both::on_both_backends;
use crate::support::contents::{Contents, ask, line, post, query, versioned};
use crate::support::time::{SECOND, in_virtual_time, settled};

fn reads<B: Backend>(layer: CacheLayer<B>) -> CacheLayer<B> {
    layer.read_only_posts(|request| {
        assert!(
            !request.headers.contains_key("x-panic"),
            "a panic of the application"
        );
        request.headers.contains_key("x-read")
    })
}

fn read(content: &str) -> http::Request<crate::support::origin::OriginBody> {
    line(post("/graphql", content), "x-read", "1")
}

/// Promise: a POST that only reads is answered by its content, and one that writes to the same path
/// invalidates as ever.
#[tokio::test(start_paused = true)]
async fn a_read_only_post_is_stored_and_another_one_invalidates() {
    on_both_backends(async |layer| {
        let origin = Contents::new();
        let service = reads(layer).layer(origin.clone());
        for version in 0..2 {
            for round in 0..2 {
                for content in ["{a}", "{b}"] {
                    let got = ask(&service, read(content)).await;
                    settled().await;
                    assert_eq!(got.body, format!("POST {content} v{version}"));
                    assert_eq!(got.is_hit(), round == 1, "{}", got.cache_status());
                }
            }
            ask(&service, post("/graphql", "write")).await;
        }
        assert_eq!(origin.calls(), 6);
    })
    .await;
}

/// Promise: a POST that only reads and a QUERY of the same content share nothing; without
/// `cache_queries` the QUERY goes past the cache.
#[tokio::test(start_paused = true)]
async fn a_read_only_post_is_no_query() {
    on_both_backends(async |layer| {
        for cached in [false, true] {
            let mut layer = reads(layer.clone()).scope(&cached.to_string());
            if cached {
                layer = layer.cache_queries(100);
            }
            let service = layer.layer(Contents::new());
            ask(&service, read("a")).await;
            settled().await;
            let asked = async || ask(&service, line(query("/graphql", "a"), "x-read", "1")).await;
            assert_eq!(asked().await.body, "QUERY a v0");
            settled().await;
            assert_eq!(asked().await.is_hit(), cached);
            assert!(ask(&service, read("a")).await.is_hit());
        }
    })
    .await;
}

/// Promise: whatever the function does not clearly say yes to is a write.
#[tokio::test(start_paused = true)]
async fn a_post_for_which_the_function_panics_is_a_write() {
    on_both_backends(async |layer| {
        let origin = Contents::new();
        let service = reads(layer).layer(origin.clone());
        ask(&service, read("a")).await;
        settled().await;
        assert!(ask(&service, read("a")).await.is_hit());
        let panicking = line(post("/graphql", "write"), "x-panic", "1");
        assert_eq!(ask(&service, panicking).await.status, 204);
        assert_eq!(ask(&service, read("a")).await.body, "POST a v1");
        // No other method is asked about: it writes.
        let put = crate::support::contents::with_content("PUT", "/graphql", "");
        ask(&service, line(put, "x-read", "1")).await;
        assert_eq!(ask(&service, read("a")).await.body, "POST a v2");
    })
    .await;
}

/// RFC 9110 §13.1.2: conditions of a POST are about something else. None is answered or added, and
/// a read that goes past the cache invalidates nothing.
#[tokio::test(start_paused = true)]
async fn conditions_of_a_post_are_the_origins() {
    let layer = reads(in_virtual_time(MemoryBackend::default()));
    let origin = Contents::answering(|heard, writes| versioned(heard, writes, "max-age=10"));
    let service = layer.layer(origin.clone());
    ask(&service, read("a")).await;
    settled().await;
    for (name, value) in [("if-none-match", "\"a-0\""), ("range", "bytes=0-3")] {
        let got = ask(&service, line(read("a"), name, value)).await;
        assert_eq!(got.cache_status(), "fwd=method");
    }
    assert!(ask(&service, read("a")).await.is_hit());
    let long = ask(&service, read(&"x".repeat(64 * 1024 + 1))).await;
    assert_eq!(long.cache_status(), "fwd=bypass; detail=content-too-long");
    assert!(ask(&service, read("a")).await.is_hit());

    tokio::time::sleep(SECOND * 20).await;
    let got = ask(&service, read("a")).await;
    assert_eq!((got.status.as_u16(), &*got.body), (200, "POST a v0"));
    assert!(!origin.last().headers.contains_key("if-none-match"));
}
