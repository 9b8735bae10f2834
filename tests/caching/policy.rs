//! `CachePolicy`: what a handler says for this cache alone. Its precedence is a table beside
//! `semantics::storing`.

use std::time::Duration;

use http::{HeaderName, Request, Response};
use tokio::time::advance;
use tower::{Layer, ServiceExt};
use tower_response_cache::{CachePolicy, Ttl};

use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, Response as OriginResponse, answer, slow};
use crate::support::time::{SECOND, settle, settled};
use crate::support::{get, in_memory, put, request, send, send_all, with};

fn says(policy: CachePolicy, mut response: OriginResponse) -> OriginResponse {
    response.extensions_mut().insert(policy);
    response
}

fn has_policy<B>(response: &Response<B>) -> bool {
    response.extensions().get::<CachePolicy>().is_some()
}

/// Promise: a handler's policy decides, on every backend, and shows nowhere.
#[tokio::test(start_paused = true)]
async fn a_handler_says_how_long_its_response_is_fresh() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|request| match request.uri().path() {
            "/minute" => says(CachePolicy::new().ttl(SECOND * 60), answer(200, &[], "a")),
            "/endless" => {
                let policy = CachePolicy::new().ttl(Ttl::UntilInvalidated);
                says(policy, answer(200, &[("cache-control", "max-age=1")], "a"))
            }
            "/never" => {
                let policy = CachePolicy::new().ttl(SECOND).no_store();
                says(policy, answer(200, &[("cache-control", "max-age=60")], "a"))
            }
            _ => answer(200, &[], "a"),
        });
        let service = layer.layer(origin.clone());
        for (path, waits, is_hit) in [
            ("/minute", 59, true),
            ("/minute", 2, false),
            ("/endless", 100_000, true),
            ("/never", 0, false),
            ("/nothing", 0, false),
        ] {
            let first = service.clone().oneshot(get(path)).await.expect("an answer");
            assert!(!has_policy(&first), "{path}");
            drop(crate::support::collect(first).await);
            settled().await;
            advance(SECOND * waits).await;
            let second = send(&service, get(path)).await;
            assert_eq!(second.is_hit(), is_hit, "{path} after {waits} s");
        }
        let refused = send(&service, get("/never")).await.cache_status();
        assert_eq!(refused, "fwd=uri-miss; detail=no-store");
    })
    .await;
}

/// Promise: the windows of a policy are used.
#[tokio::test(start_paused = true)]
async fn a_handler_says_how_long_its_response_may_be_stale() {
    let origin = slow(|_, call| {
        let policy = CachePolicy::new()
            .ttl(SECOND * 10)
            .stale_while_revalidate(SECOND * 5);
        says(policy, answer(200, &[], format!("call {call}")))
    });
    let service = in_memory().layer(origin.clone());
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 14).await;
    assert_eq!(send(&service, get("/a")).await.body, "call 1");
    settled().await;
    advance(SECOND).await;
    assert_eq!(send(&service, get("/a")).await.body, "call 2");
}

/// Promise: fields of a policy select like those of `Vary`, for followers and after a 304 that
/// does not name them, and show nowhere.
#[tokio::test(start_paused = true)]
async fn a_handler_says_what_selects_its_response() {
    let tenant = HeaderName::from_static("x-tenant");
    let origin = slow(move |request, _| {
        let name = request.headers().get("x-tenant");
        let name = name.map_or("none", |name| name.to_str().expect("text"));
        let lines = [("cache-control", "max-age=10"), ("etag", "\"a\"")];
        match request.headers().contains_key("if-none-match") {
            // It says nothing of what selects it.
            true => answer(304, &lines, ""),
            false => {
                let policy = CachePolicy::new().vary_on([tenant.clone()]);
                says(policy, answer(200, &lines, format!("of {name}")))
            }
        }
    });
    let service = in_memory().layer(origin.clone());
    let of = |name: &str| with(get("/a"), "x-tenant", name);
    let all = || [of("a"), of("b"), of("a"), get("/a")];
    let expected = ["of a", "of b", "of a", "of none"];
    for round in 0..3 {
        let answers = send_all(&service, all()).await;
        let bodies: Vec<_> = answers.iter().map(|answer| &*answer.body).collect();
        assert_eq!(bodies, expected, "round {round}");
        assert!(
            answers
                .iter()
                .all(|answer| answer.header("vary").is_empty())
        );
        settled().await;
        advance(SECOND * 11).await;
    }
}

/// Promise: a response is invalidated with the groups of its policy, also after a 304 that names
/// none.
#[tokio::test(start_paused = true)]
async fn a_handler_says_what_its_response_is_invalidated_with() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|request| {
            let lines = [("cache-control", "max-age=10"), ("etag", "\"a\"")];
            match request.headers().contains_key("if-none-match") {
                true => answer(304, &lines, ""),
                false => {
                    let policy = CachePolicy::new().group("one").groups(["two"]);
                    says(policy, answer(200, &lines, "a"))
                }
            }
        });
        let (service, cache) = (layer.clone().layer(origin.clone()), layer.handle());
        for is_validated in [false, true] {
            for group in ["one", "two", "three"] {
                send(&service, get("/a")).await;
                settled().await;
                if is_validated {
                    advance(SECOND * 11).await;
                    let validated = send(&service, get("/a")).await.cache_status();
                    assert_eq!(validated, "fwd=stale; fwd-status=304; stored");
                    settled().await;
                }
                let invalidated = cache.invalidate_group("test.example", group).await;
                invalidated.expect("acknowledged");
                let is_hit = send(&service, get("/a")).await.is_hit();
                assert_eq!(is_hit, group == "three", "{group}, {is_validated}");
                settled().await;
                cache.clear().await.expect("acknowledged");
            }
        }
    })
    .await;
}

/// Bad input is a refusal that is counted and said, and the response goes to its client.
#[tokio::test(start_paused = true)]
async fn too_many_groups_or_fields_keep_a_response_out_of_the_store() {
    let many = |prefix: &str| {
        (0..1000)
            .map(|n| format!("{prefix}-{n}"))
            .collect::<Vec<_>>()
    };
    let fields = move || {
        let names = many("x").into_iter();
        names.map(|name| HeaderName::try_from(name).expect("a name"))
    };
    let policies = [
        (CachePolicy::new().groups(many("g")), "detail=groups"),
        (
            CachePolicy::new().group("g".repeat(1 << 20)),
            "detail=groups",
        ),
        (CachePolicy::new().vary_on(fields()), "detail=vary"),
    ];
    for (policy, detail) in policies {
        let said = policy.ttl(SECOND * 60);
        let origin = Origin::at_once(move |_| says(said.clone(), answer(200, &[], "whole")));
        let service = in_memory().layer(origin);
        let refused = send(&service, get("/a")).await;
        assert_eq!(refused.body, "whole");
        assert!(refused.cache_status().ends_with(detail), "{refused:?}");
    }
}

/// Promise: a policy leaves with no response: not with that to a write, nor to a request that
/// bypasses the cache. A layer of the same cache further inside leaves it to the outer one.
#[tokio::test(start_paused = true)]
async fn a_policy_never_leaves() {
    let origin =
        Origin::at_once(|_| says(CachePolicy::new().ttl(SECOND * 60), answer(200, &[], "")));
    let layer = in_memory();
    let service = layer.clone().layer(layer.clone().layer(origin.clone()));
    let requests: [Request<()>; 5] = [
        get("/a"),
        put("/a"),
        request(http::Method::OPTIONS, "/a"),
        request(http::Method::HEAD, "/b"),
        with(get("/c"), "cache-control", "no-store"),
    ];
    for request in requests {
        let method = request.method().clone();
        let response = service.clone().oneshot(request).await.expect("an answer");
        assert!(!has_policy(&response), "{method}");
    }
    send(&service, get("/d")).await;
    assert!(
        send(&service, get("/d")).await.is_hit(),
        "the outer layer has obeyed it"
    );
}

/// Promise: the stored response to a write has the policy that came with it.
#[tokio::test(start_paused = true)]
async fn a_write_through_obeys_the_policy_of_its_response() {
    let origin = Origin::at_once(|request| {
        let lines = [("content-location", "/a")];
        let policy = CachePolicy::new().ttl(SECOND * 30).group("g");
        says(policy, answer(200, &lines, request.method().to_string()))
    });
    let layer = in_memory().write_through(true);
    let service = layer.clone().layer(origin.clone());
    send(&service, put("/a")).await;
    let hit = send(&service, get("/a")).await;
    assert!(hit.is_hit() && hit.body == "PUT", "{hit:?}");
    assert!(hit.cache_status().contains("ttl=30"));
    let invalidated = layer.handle().invalidate_group("", "g").await;
    invalidated.expect("acknowledged");
    assert_eq!(send(&service, get("/a")).await.body, "GET");
}

/// Promise: the response to a HEAD updates the stored one by its own policy, as the GET would have.
#[tokio::test(start_paused = true)]
async fn a_head_updates_by_its_policy() {
    let origin = Origin::at_once(|_| {
        let policy = CachePolicy::new()
            .ttl(Duration::from_secs(20))
            .group("g")
            .vary_on([HeaderName::from_static("x-tenant")]);
        let lines = [("etag", "\"a\""), ("content-length", "4")];
        says(policy, answer(200, &lines, "text"))
    });
    let layer = in_memory();
    let service = layer.clone().layer(origin.clone());
    send(&service, get("/a")).await;
    settled().await;
    advance(SECOND * 25).await;
    let head = with(request(http::Method::HEAD, "/a"), "x-none", "1");
    send(&service, head).await;
    settled().await;
    let hit = send(&service, get("/a")).await;
    assert!(
        hit.is_hit() && hit.cache_status().contains("ttl=20"),
        "{hit:?}"
    );
    let other = send(&service, with(get("/a"), "x-tenant", "b")).await;
    assert!(!other.is_hit(), "selected by the tenant");
    let invalidated = layer.handle().invalidate_group("", "g").await;
    invalidated.expect("acknowledged");
    assert!(!send(&service, get("/a")).await.is_hit());
}
