//! Whose options count for a request that passes two layers of one cache.

use http::Method;
use tokio::time::Instant;
use tower::Layer;
use tower_response_cache::stats::{Refusal, WriteOutcome};

use super::{MINUTE, layer, members, plain};
use crate::support::origin::{Origin, answer, cacheable};
use crate::support::time::SLOW;
use crate::support::{get, gets, put, request, send, send_all, with};

/// How long a response is fresh, how long it is used afterwards, whether it is stored.
#[tokio::test(start_paused = true)]
async fn those_of_the_inner_one_judge_the_response() {
    let layer = layer().ttl(MINUTE);
    let plain = plain("x");
    let shorter = layer.layer(layer.clone().ttl(MINUTE / 2).layer(plain.clone()));
    send(&shorter, get("/ttl")).await;
    let hit = send(&shorter, get("/ttl")).await;
    assert_eq!(hit.cache_status(), "hit; ttl=30");

    let smaller = layer.layer(layer.clone().max_body(0).layer(plain.clone()));
    let refused = send(&smaller, get("/size")).await;
    assert_eq!(refused.cache_status(), "fwd=uri-miss; detail=no-room");

    let fields = [("set-cookie", "a=b"), ("cache-control", "max-age=60")];
    let cookies = Origin::at_once(move |_| answer(200, &fields, "x"));
    let stored = layer.layer(layer.clone().store_set_cookie(true).layer(cookies));
    send(&stored, get("/cookie")).await;
    assert!(send(&stored, get("/cookie")).await.is_hit());
}

/// A hit never reaches the inner layer, so that its name would be there on misses alone.
#[tokio::test(start_paused = true)]
async fn those_of_the_outer_one_look_up_and_name_the_cache() {
    let layer = layer().cache_status_name("outer");
    let inner = layer.clone().cache_status_name("inner").ttl(MINUTE);
    let service = layer.layer(inner.layer(plain("x")));
    for expected in ["outer; fwd=uri-miss; stored", "outer; hit; ttl=60"] {
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.header("cache-status"), expected);
    }
    let asks = with(get("/a"), "cache-control", "no-cache");
    let deaf = layer.clone().ignore_client_freshness(true);
    let service = layer.layer(deaf.layer(plain("x")));
    assert!(!send(&service, asks).await.is_hit());
}

/// What may not be cached by the inner layer is not stored by the outer one.
#[tokio::test(start_paused = true)]
async fn an_inner_skip_or_key_hook_keeps_a_response_from_being_stored() {
    let outer = layer().ttl(MINUTE);
    let skips = outer.clone().skip(|_| true);
    let keys = outer.clone().key_by(|_, key| Some(key));
    for inner in [skips, keys] {
        let origin = plain("x");
        let service = outer.layer(inner.layer(origin.clone()));
        for call in 1..=2 {
            let answer = send(&service, get("/a")).await;
            assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=exempt");
            assert_eq!((origin.calls(), members(&answer)), (call, 1));
        }
    }
    let stats = outer.handle().stats();
    assert_eq!((stats.refusals.get(Refusal::Exempt), stats.stores), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_the_outer_one_bypasses_is_bypassed_by_both() {
    let layer = layer().ttl(MINUTE);
    let service = layer.clone().skip(|_| true).layer(layer.layer(plain("x")));
    for _ in 0..2 {
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.cache_status(), "fwd=bypass; detail=skipped");
        assert_eq!(members(&answer), 1);
    }
    assert_eq!(layer.handle().stats().stores, 0);
}

/// Too much may be invalidated, too little may not: the hooks of both are asked.
#[tokio::test(start_paused = true)]
async fn a_write_invalidates_what_either_names() {
    let layer = layer();
    let inner = layer.clone().also_invalidate(|_| ["/b"]);
    let outer = layer.clone().also_invalidate(|_| ["/c"]);
    let service = outer.layer(inner.layer(Origin::at_once(|_| cacheable("x"))));
    let paths = ["/a", "/b", "/c", "/d"];
    for path in paths {
        send(&service, get(path)).await;
    }
    send(&service, put("/a")).await;
    for path in paths {
        assert_eq!(
            send(&service, get(path)).await.is_hit(),
            path == "/d",
            "{path}"
        );
    }
    assert_eq!(layer.handle().stats().invalidations, 3);
}

/// Each has a fence to capture before the call, so that both must allow it.
#[tokio::test(start_paused = true)]
async fn a_write_is_stored_if_both_allow_it() {
    let fields = [("cache-control", "max-age=60"), ("content-location", "/a")];
    let layer = layer();
    for (outer, inner, is_stored) in [
        (true, true, true),
        (true, false, false),
        (false, true, false),
    ] {
        let origin = Origin::at_once(move |_| answer(200, &fields, "x"));
        let inner = layer.clone().write_through(inner).layer(origin);
        let service = layer.clone().write_through(outer).layer(inner);
        send(&service, put("/a")).await;
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.is_hit(), is_stored);
    }
}

/// The response to a write answers a GET, so it is stored only if that of the GET would be.
#[tokio::test(start_paused = true)]
async fn a_write_is_not_stored_if_an_inner_layer_exempts_its_get() {
    let fields = [("cache-control", "max-age=60"), ("content-location", "/a")];
    let outer = layer().write_through(true);
    let skips = outer.clone().skip(|request| request.method == Method::GET);
    for inner in [skips, outer.clone().key_by(|_, key| Some(key))] {
        let origin = Origin::at_once(move |_| answer(200, &fields, "x"));
        let service = outer.layer(inner.layer(origin.clone()));
        send(&service, put("/a")).await;
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=exempt");
    }
    assert_eq!(outer.handle().stats().stores, 0);
}

/// The route knows best what its answers mean.
#[tokio::test(start_paused = true)]
async fn the_inner_one_classifies_writes() {
    let layer = layer();
    let inner = layer
        .clone()
        .classify_writes(|_| WriteOutcome::Rejected)
        .layer(Origin::at_once(|_| cacheable("x")));
    let outer = layer
        .clone()
        .classify_writes(|_| WriteOutcome::Committed)
        .layer(inner);
    send(&outer, get("/a")).await;
    let written = send(&outer, put("/a")).await;
    assert_eq!(written.cache_status(), "fwd=method; detail=rejected");
    assert!(send(&outer, get("/a")).await.is_hit());
}

/// A HEAD that an inner layer skips is about a response of its own: it says nothing of a stored
/// one.
#[tokio::test(start_paused = true)]
async fn a_head_that_an_inner_layer_skips_does_not_change_the_stored_response() {
    let origin = Origin::at_once(|request| {
        let user = request.headers().get("x-user").map_or("none", |_| "alice");
        let fields = [
            ("cache-control", "max-age=60"),
            ("etag", "\"1\""),
            ("x-for", user),
        ];
        answer(200, &fields, "x")
    });
    let layer = layer();
    let inner = layer
        .clone()
        .skip(|request| request.headers.contains_key("x-user"));
    let service = layer.layer(inner.layer(origin));
    send(&service, get("/a")).await;
    let head = with(request(Method::HEAD, "/a"), "cache-control", "no-cache");
    send(&service, with(head, "x-user", "alice")).await;
    let hit = send(&service, get("/a")).await;
    assert_eq!((hit.is_hit(), &*hit.header("x-for")), (true, "none"));
}

/// Promise: no request of one client keeps those of others from sharing a call.
#[tokio::test(start_paused = true)]
async fn a_request_that_an_inner_layer_skips_does_not_keep_others_from_sharing() {
    let layer = layer().ttl(MINUTE);
    let inner = layer
        .clone()
        .skip(|request| request.headers.contains_key("x-user"));
    let origin = plain("x");
    let service = layer.layer(inner.layer(origin.clone()));
    let skipped = || with(get("/a"), "x-user", "alice");
    send(&service, skipped()).await;
    let requests = std::iter::once(skipped()).chain(gets(20));
    for answer in send_all(&service, requests).await {
        assert_eq!(answer.body, "x");
    }
    assert_eq!(origin.calls(), 3);
    assert!(send(&service, get("/a")).await.is_hit());
}

/// What concerns every request makes no queue.
#[tokio::test(start_paused = true)]
async fn requests_that_an_inner_layer_skips_wait_for_few_others() {
    let layer = layer().ttl(MINUTE);
    let origin = plain("x");
    let service = layer.layer(layer.clone().skip(|_| true).layer(origin.clone()));
    let begun = Instant::now();
    send_all(&service, gets(20)).await;
    assert!(begun.elapsed() <= SLOW * 4, "{:?}", begun.elapsed());
    let begun = Instant::now();
    send_all(&service, gets(20)).await;
    assert_eq!((begun.elapsed(), origin.calls()), (SLOW, 40));
}
