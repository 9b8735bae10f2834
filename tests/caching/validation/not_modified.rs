//! Updates by a 304 or a HEAD (RFC 9111 §4.3.4, §4.3.5).

use http::{Method, StatusCode};
use tokio::time::advance;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use super::{MINUTE, Site, TAG, settled};
use crate::support::both::on_both_backends;
use crate::support::time::SECOND;
use crate::support::{get, request, send, with};

/// A 304 may forbid storing: then only its client gets the response.
#[tokio::test(start_paused = true)]
async fn a_304_that_forbids_storing_is_obeyed() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE], "text");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        site.change(|page| page.unchanged = vec![("cache-control", "private")]);
        advance(61 * SECOND).await;
        let answer = send(&service, get("/a")).await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "text"));
        assert_eq!(
            answer.cache_status(),
            "fwd=stale; fwd-status=304; detail=private"
        );
        settled().await;
        assert!(!send(&service, get("/a")).await.is_hit());
    })
    .await;
}

/// §4.3.5
#[tokio::test(start_paused = true)]
async fn head_updates_or_invalidates() {
    for (case, change, is_kept) in [
        ("the same", TAG, Some("2")),
        ("another tag", ("etag", "\"b\""), None),
    ] {
        on_both_backends(async |layer| {
            let site = Site::new(&[TAG, MINUTE, ("x-version", "1")], "text");
            let service = layer.layer(site.origin.clone());
            send(&service, get("/a")).await;
            settled().await;
            advance(61 * SECOND).await;
            site.change(|page| page.lines = vec![change, MINUTE, ("x-version", "2")]);
            let answer = send(&service, request(Method::HEAD, "/a")).await;
            assert_eq!(
                (answer.status, &*answer.body),
                (StatusCode::OK, ""),
                "{case}"
            );
            settled().await;
            let answer = send(&service, get("/a")).await;
            match is_kept {
                Some(version) => {
                    assert!(answer.is_hit(), "{case}: {}", answer.cache_status());
                    assert_eq!(
                        (&*answer.body, &*answer.header("x-version")),
                        ("text", version)
                    );
                }
                None => assert_eq!(answer.cache_status(), "fwd=uri-miss; stored", "{case}"),
            }
        })
        .await;
    }
}

/// HEAD without a validator says nothing about the stored response.
#[tokio::test(start_paused = true)]
async fn head_without_a_validator_changes_nothing() {
    let site = Site::new(&[MINUTE, ("x-version", "1")], "text");
    let service = CacheLayer::new(MemoryBackend::default()).layer(site.origin.clone());
    send(&service, get("/a")).await;
    settled().await;
    site.change(|page| page.lines = vec![MINUTE, ("x-version", "2")]);
    let asked = with(request(Method::HEAD, "/a"), "cache-control", "no-cache");
    assert_eq!(send(&service, asked).await.header("x-version"), "2");
    settled().await;
    let hit = send(&service, get("/a")).await;
    assert_eq!((hit.is_hit(), &*hit.header("x-version")), (true, "1"));
}
