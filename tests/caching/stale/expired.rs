//! Responses that were made stale by the application: `CacheHandle::expire`.

use http::{Request, StatusCode};
use tokio::time::{advance, sleep};
use tower::Layer;

use super::{Health, Patient, refreshed};
use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, Response, answer, cacheable, slow};
use crate::support::time::{SECOND, SLOW, settle, settled};
use crate::support::{get, in_memory, put, send, with};

const HOUR: (&str, &str) = ("cache-control", "max-age=3600");

/// Its page has a strong validator, and never changes.
fn unchanged(request: &Request<()>, groups: &'static str) -> Response {
    let lines = [HOUR, ("etag", "\"a\""), ("cache-groups", groups)];
    match request.headers().contains_key("if-none-match") {
        true => answer(304, &lines, ""),
        false => answer(200, &lines, "text"),
    }
}

/// Promise: a response that was made stale keeps its validators, and a 304 makes it fresh again.
#[tokio::test(start_paused = true)]
async fn an_expired_response_is_validated() {
    on_both_backends(async |layer| {
        for by in ["uri", "group", "all"] {
            let origin = Origin::at_once(|request| unchanged(request, "\"pages\""));
            let (service, cache) = (layer.clone().layer(origin.clone()), layer.handle());
            let path = format!("/{by}");
            let ask = || get(&path);
            send(&service, ask()).await;
            settled().await;
            assert!(send(&service, ask()).await.is_hit());
            match by {
                "uri" => cache.expire(&path).await.expect("acknowledged"),
                "group" => {
                    let expired = cache.expire_group("test.example", "pages").await;
                    expired.expect("acknowledged");
                }
                _ => cache.expire_all().await.expect("acknowledged"),
            }
            let validated = send(&service, ask()).await;
            assert_eq!(validated.status, StatusCode::OK);
            let status = validated.cache_status();
            assert_eq!(status, "fwd=stale; fwd-status=304; stored", "{by}");
            settled().await;
            assert!(send(&service, ask()).await.is_hit());
            cache.invalidate(&path).await.expect("acknowledged");
            let fetched = send(&service, ask()).await.cache_status();
            assert_eq!(fetched, "fwd=uri-miss; stored", "{by}");
            assert_eq!(origin.calls(), 3, "{by}");
            settled().await;
        }
    })
    .await;
}

/// Promise: the window of `stale-while-revalidate` begins when the response is made stale.
#[tokio::test(start_paused = true)]
async fn an_expired_response_is_served_while_it_is_refreshed() {
    for (waits, is_served) in [(0, true), (29, true), (31, false)] {
        let origin = Patient::new("max-age=3600, stale-while-revalidate=30");
        let layer = in_memory();
        let service = layer.clone().layer(origin.origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        advance(SECOND * 100).await;
        let cache = layer.handle();
        cache.expire("/a").await.expect("acknowledged");
        advance(SECOND * waits).await;
        // A second one does not begin the window anew.
        cache.expire("/a").await.expect("acknowledged");
        let stale = send(&service, get("/a")).await;
        let expected = if is_served { "call 1" } else { "call 2" };
        assert_eq!(stale.body, expected, "after {waits} s");
        refreshed().await;
        let fresh = send(&service, get("/a")).await;
        assert!(fresh.is_hit() && fresh.body == "call 2", "{fresh:?}");
        assert_eq!(origin.calls(), 2);
    }
}

/// Promise: a response that was made stale stands in for an error, where its rules allow that.
#[tokio::test(start_paused = true)]
async fn an_expired_response_stands_in_for_an_error() {
    for (cache_control, stands_in) in [
        ("max-age=3600, stale-if-error=60", true),
        ("max-age=3600, stale-if-error=60, must-revalidate", false),
    ] {
        let origin = Patient::new(cache_control);
        let layer = in_memory();
        let service = layer.clone().layer(origin.origin.clone());
        send(&service, get("/a")).await;
        settle().await;
        origin.set_health(Health::Status(503));
        layer.handle().expire("/a").await.expect("acknowledged");
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.body == "call 1", stands_in, "{cache_control}");
        assert!(!answer.is_hit());
    }
}

/// Promise: nothing of a call that began before is stored, and a later request does not share it.
#[tokio::test(start_paused = true)]
async fn a_fill_that_began_before_is_not_stored() {
    let origin = slow(|_, call| cacheable(format!("call {call}")));
    let layer = in_memory();
    let service = layer.clone().layer(origin.clone());
    let early = tokio::spawn({
        let service = service.clone();
        async move { send(&service, get("/a")).await.body }
    });
    sleep(SLOW / 2).await;
    layer.handle().expire("/a").await.expect("acknowledged");
    assert_eq!(send(&service, get("/a")).await.body, "call 2");
    assert_eq!(early.await.expect("an answer"), "call 1");
    settle().await;
    let hit = send(&service, get("/a")).await;
    assert!(hit.is_hit() && hit.body == "call 2", "{hit:?}");
}

/// Promise: queries and variants are made stale together, other resources are not, and a write
/// removes all.
#[tokio::test(start_paused = true)]
async fn a_resource_is_made_stale_as_a_whole_and_removed_by_a_write() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|request| match request.method().as_str() {
            "PUT" => answer(204, &[], ""),
            _ if request.headers().contains_key("if-none-match") => answer(304, &[HOUR], ""),
            _ => {
                let vary = ("vary", "accept-language");
                answer(200, &[HOUR, ("etag", "\"a\""), vary], "text")
            }
        });
        let service = layer.clone().layer(origin.clone());
        let requests = || {
            let of = |language: &'static str| with(get("/a"), "accept-language", language);
            [
                of("de"),
                of("en"),
                with(get("/a?q"), "accept-language", "de"),
            ]
        };
        let ask_all = async || {
            let mut statuses = Vec::new();
            for request in requests() {
                let status = send(&service, request).await.cache_status();
                statuses.push(status.split(';').next().unwrap_or_default().to_owned());
                settled().await;
            }
            statuses
        };
        send(&service, get("/b")).await;
        assert_eq!(
            ask_all().await,
            ["fwd=uri-miss", "fwd=vary-miss", "fwd=uri-miss"]
        );
        let cache = layer.handle();
        for _ in 0..2 {
            assert_eq!(ask_all().await, ["hit"; 3]);
            cache.expire("/a").await.expect("acknowledged");
            assert_eq!(ask_all().await, ["fwd=stale"; 3]);
        }
        cache.expire("/a").await.expect("acknowledged");
        send(&service, put("/a")).await;
        assert_eq!(
            ask_all().await,
            ["fwd=uri-miss", "fwd=vary-miss", "fwd=uri-miss"]
        );
        assert!(send(&service, get("/b")).await.is_hit());
    })
    .await;
}
