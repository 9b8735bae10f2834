//! Stale responses are validated (RFC 9111 §4.3.1, §4.3.3).

use std::time::Duration;

use http::StatusCode;
use tokio::time::{advance, sleep};
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::stats::Refusal;

use super::{MINUTE, MODIFIED, Site, TAG, asks, settled};
use crate::support::both::on_both_backends;
use crate::support::time::SECOND;
use crate::support::{Answer, get, put, send, send_all};

/// §4.3.1, §4.3.3, §4.3.4, §3.2
#[tokio::test(start_paused = true)]
async fn a_stale_response_is_validated_and_freshened() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE, MODIFIED, ("x-old", "1")], "text");
        let service = layer.layer(site.origin.clone());
        assert_eq!(
            send(&service, get("/a")).await.cache_status(),
            "fwd=uri-miss; stored"
        );
        site.change(|page| {
            page.unchanged = vec![TAG, ("cache-control", "max-age=90"), ("x-new", "1")]
        });
        settled().await;
        advance(61 * SECOND).await;
        let validated = send(&service, get("/a")).await;
        assert_eq!(site.saw("if-none-match").as_deref(), Some("\"a\""));
        assert_eq!(site.saw("if-modified-since").as_deref(), Some(MODIFIED.1));
        assert_eq!(
            (validated.status, &*validated.body),
            (StatusCode::OK, "text")
        );
        assert_eq!(
            validated.cache_status(),
            "fwd=stale; fwd-status=304; stored"
        );
        settled().await;
        let hit = send(&service, get("/a")).await;
        assert!(
            hit.cache_status().starts_with("hit; ttl=90"),
            "{}",
            hit.cache_status()
        );
        assert_eq!(hit.header("age"), "0");
        assert_eq!((&*hit.header("x-old"), &*hit.header("x-new")), ("1", "1"));
        assert_eq!(&*hit.body, "text");
        assert_eq!(site.calls(), 2);
        assert_eq!(layer.handle().stats().validations, 1);
    })
    .await;
}

/// §4.3.3: a full response replaces the stored one.
#[tokio::test(start_paused = true)]
async fn a_changed_response_is_replaced() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE], "old");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        site.change(|page| {
            page.lines[0].1 = "\"b\"";
            page.text = "new";
        });
        settled().await;
        advance(61 * SECOND).await;
        let answer = send(&service, get("/a")).await;
        assert_eq!(
            (&*answer.body, &*answer.cache_status()),
            ("new", "fwd=stale; stored")
        );
        settled().await;
        let hit = send(&service, get("/a")).await;
        assert!(hit.is_hit());
        assert_eq!((&*hit.body, &*hit.header("etag")), ("new", "\"b\""));
    })
    .await;
}

/// §5.2.2.4: each use is validated, and no request shares another one's validation.
#[tokio::test(start_paused = true)]
async fn a_no_cache_response_is_stored_and_validated_each_time() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, ("cache-control", "max-age=60, no-cache")], "text");
        let service = layer.layer(site.origin.clone());
        assert_eq!(
            send(&service, get("/a")).await.cache_status(),
            "fwd=uri-miss; stored"
        );
        settled().await;
        // The second one in a row that others may not use: none waits from here on.
        send(&service, get("/a")).await;
        settled().await;
        for answer in send_all(&service, (0..20).map(|_| get("/a"))).await {
            assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "text"));
            assert_eq!(answer.cache_status(), "fwd=stale; fwd-status=304; stored");
        }
        assert_eq!(site.calls(), 22);
        // A write takes it, validators and all.
        send(&service, put("/a")).await;
        assert_eq!(
            send(&service, get("/a")).await.cache_status(),
            "fwd=uri-miss; stored"
        );
        assert_eq!(site.saw("if-none-match"), None);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_validator_no_cache_is_not_stored() {
    let site = Site::new(&[("cache-control", "max-age=60, no-cache")], "text");
    let layer = CacheLayer::new(MemoryBackend::default());
    let service = layer.layer(site.origin.clone());
    for _ in 0..2 {
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=no-cache");
    }
    assert_eq!(layer.handle().stats().refusals.get(Refusal::NoCache), 2);
    let site = Site::new(&[TAG, ("cache-control", "no-cache")], "text");
    let unkept = CacheLayer::new(MemoryBackend::default()).revalidation_window(Duration::ZERO);
    let service = unkept.layer(site.origin.clone());
    let answer = send(&service, get("/a")).await;
    assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=no-cache");
}

/// §4.3.3: a failure while validating.
#[tokio::test(start_paused = true)]
async fn an_error_while_validating_is_passed_on_or_replaced_by_the_stale_response() {
    for (cache_control, status, expected) in [
        ("max-age=60, must-revalidate", 503, 503),
        ("max-age=60, stale-if-error=600", 503, 200),
        ("no-cache", 503, 503),
        ("no-cache, stale-if-error=600", 500, 500),
    ] {
        let site = Site::new(&[TAG, ("cache-control", cache_control)], "text");
        let service = CacheLayer::new(MemoryBackend::default()).layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        site.change(|page| page.status = Some(status));
        advance(61 * SECOND).await;
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.status, expected, "{cache_control}");
        // The stored response survives the failure: once the origin is well again, it is confirmed.
        site.change(|page| page.status = None);
        advance(6 * SECOND).await;
        let answer = send(&service, get("/a")).await;
        assert!(
            answer
                .cache_status()
                .starts_with("fwd=stale; fwd-status=304"),
            "{cache_control}"
        );
    }
}

/// A 304 that a write overtakes freshens nothing.
#[tokio::test(start_paused = true)]
async fn a_write_overtakes_a_validation() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE], "old");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        advance(61 * SECOND).await;
        let writing = async {
            // The validation is under way, and its 304 is still to come.
            sleep(Duration::from_millis(5)).await;
            send(&service, put("/a")).await
        };
        let (validated, written) = tokio::join!(send(&service, get("/a")), writing);
        assert_eq!(written.cache_status(), "fwd=method; detail=invalidated");
        assert_eq!(&*validated.body, "old");
        settled().await;
        site.change(|page| {
            page.lines[0].1 = "\"b\"";
            page.text = "new";
        });
        let after = send(&service, get("/a")).await;
        assert_eq!(
            (&*after.body, &*after.cache_status()),
            ("new", "fwd=uri-miss; stored")
        );
    })
    .await;
}

/// A refresh in the background asks by validators, too.
#[tokio::test(start_paused = true)]
async fn a_refresh_in_the_background_validates() {
    let site = Site::new(
        &[
            TAG,
            ("cache-control", "max-age=60, stale-while-revalidate=60"),
        ],
        "text",
    );
    let service = CacheLayer::new(MemoryBackend::default()).layer(site.origin.clone());
    send(&service, get("/a")).await;
    settled().await;
    advance(61 * SECOND).await;
    let stale = send(&service, asks("\"a\"")).await;
    assert_eq!(stale.status, StatusCode::NOT_MODIFIED);
    assert!(
        stale.cache_status().starts_with("hit; ttl=-1"),
        "{}",
        stale.cache_status()
    );
    settled().await;
    assert_eq!(site.saw("if-none-match").as_deref(), Some("\"a\""));
    let hit = send(&service, get("/a")).await;
    assert_eq!((&*hit.cache_status(), &*hit.body), ("hit; ttl=60", "text"));
    assert_eq!(site.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_tag_of_its_own_where_the_origin_gives_none() {
    on_both_backends(async |layer| {
        let site = Site::new(&[MINUTE], "text");
        let service = layer.generate_etags(true).layer(site.origin.clone());
        assert_eq!(send(&service, get("/a")).await.header("etag"), "");
        settled().await;
        let hit = send(&service, get("/a")).await;
        let tag = hit.header("etag");
        assert!(tag.starts_with("\"trc-"), "{tag}");
        assert_eq!(
            send(&service, asks(&tag)).await.status,
            StatusCode::NOT_MODIFIED
        );
        advance(61 * SECOND).await;
        // The same content again has the same tag, and the origin is not asked by it.
        let answer = send(&service, asks(&tag)).await;
        assert_eq!(site.saw("if-none-match"), None);
        assert_eq!(answer.status, StatusCode::OK);
        settled().await;
        assert_eq!(
            send(&service, asks(&tag)).await.status,
            StatusCode::NOT_MODIFIED
        );
        site.change(|page| page.text = "else");
        advance(61 * SECOND).await;
        send(&service, get("/a")).await;
        settled().await;
        assert_eq!(send(&service, asks(&tag)).await.status, StatusCode::OK);
    })
    .await;
    let site = Site::new(&[MINUTE, MODIFIED], "text");
    let layer = CacheLayer::new(MemoryBackend::default()).generate_etags(true);
    let service = layer.layer(site.origin.clone());
    send(&service, get("/a")).await;
    settled().await;
    assert_eq!(
        send(&service, get("/a")).await.header("etag"),
        "",
        "it has a validator"
    );
}

/// What can be validated is kept for that beyond its lifetime, and no longer than that.
#[tokio::test(start_paused = true)]
async fn responses_kept_for_validation_are_dropped_in_time() {
    let site = Site::new(&[TAG, MINUTE], "text");
    let backend = MemoryBackend::default();
    let layer = CacheLayer::new(backend.clone()).revalidation_window(600 * SECOND);
    let service = layer.layer(site.origin.clone());
    let entries = || backend.usage().expect("known").entries;
    send(&service, get("/a")).await;
    settled().await;
    advance(650 * SECOND).await;
    send(&service, get("/b")).await;
    settled().await;
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "fwd=stale; fwd-status=304; stored"
    );
    settled().await;
    assert_eq!(entries(), 2);
    advance(700 * SECOND).await;
    for path in ["/c", "/d"] {
        send(&service, get(path)).await;
        settled().await;
    }
    let kept: Answer = send(&service, get("/a")).await;
    assert!(entries() <= 4 && !kept.is_hit());
}
