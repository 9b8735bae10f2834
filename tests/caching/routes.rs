//! Rules of routes: what counts for the requests whose path matches a pattern.

use std::time::Duration;

use http::{Method, Request};
use tokio::time::{advance, sleep};
use tower::Layer;
use tower_response_cache::key::QueryRules;
use tower_response_cache::stats::Bypass;
use tower_response_cache::{CachePolicy, Rules, Ttl};

use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, answer, slow};
use crate::support::time::{SECOND, SLOW, settle, settled};
use crate::support::{get, in_memory, is_stored, put, request, send, with};

fn page() -> Origin {
    Origin::at_once(|request| {
        let seen = request.uri().to_string();
        answer(200, &[("x-cookie", cookie_of(request))], seen)
    })
}

fn cookie_of(request: &Request<()>) -> &str {
    let cookie = request.headers().get("cookie");
    cookie.map_or("none", |cookie| cookie.to_str().expect("text"))
}

/// Promise: the most specific route counts, in whatever spelling its path comes; what it does not
/// say falls to the layer, whether that was set before or after it.
#[tokio::test(start_paused = true)]
async fn the_most_specific_route_counts() {
    on_both_backends(async |layer| {
        let ttl = |seconds: u64| Rules::new().ttl(SECOND * seconds as u32);
        let layer = layer
            .max_ttl(SECOND * 500)
            .route("/api/{*rest}", ttl(20))
            .route("/api/fixed/{id}", ttl(30))
            .route("/api/fixed", ttl(40))
            .route("/endless", Rules::new().ttl(Ttl::UntilInvalidated))
            .route("/nothing", Rules::new())
            .ttl(SECOND * 10);
        let service = layer.layer(page());
        for (path, expected) in [
            ("/", "10"),
            ("/api", "10"),
            ("/api/", "10"),
            ("/api/a/b", "20"),
            ("/api/fixed/a", "30"),
            ("//api/fixed/%61?q", "30"),
            ("/x/../api/fixed/a", "30"),
            ("/api/fixed/a/b", "20"),
            ("/api/fixed", "40"),
            ("/api/f%69xed", "40"),
            ("/endless", "500"),
            ("/nothing", "10"),
        ] {
            send(&service, get(path)).await;
            settled().await;
            let hit = send(&service, get(path)).await;
            let status = format!("hit; ttl={expected}");
            assert!(hit.cache_status().starts_with(&status), "{path}: {hit:?}");
        }
    })
    .await;
}

/// Promise: rules come after what a response says, and before the layer.
#[tokio::test(start_paused = true)]
async fn a_response_says_more_than_its_route() {
    let origin = Origin::at_once(|request| match request.uri().path() {
        "/r/plain" => answer(200, &[], ""),
        "/r/field" => answer(200, &[("cache-control", "max-age=20")], ""),
        "/r/private" => answer(200, &[("cache-control", "private")], ""),
        _ => {
            let mut response = answer(200, &[("cache-control", "max-age=20")], "");
            let policy = CachePolicy::new().ttl(SECOND * 30);
            response.extensions_mut().insert(policy);
            response
        }
    });
    let rules = Rules::new().ttl(SECOND * 40);
    let layer = in_memory()
        .route("/r/{case}", rules)
        .ttl_by(|_, _| Some(Ttl::For(SECOND * 50)));
    let service = layer.layer(origin);
    for (case, expected) in [
        ("plain", "hit; ttl=40"),
        ("field", "hit; ttl=20"),
        ("policy", "hit; ttl=30"),
        ("private", "fwd=uri-miss; detail=private"),
    ] {
        let path = format!("/r/{case}");
        send(&service, get(&path)).await;
        let second = send(&service, get(&path)).await.cache_status();
        assert!(second.starts_with(expected), "{case}: {second}");
    }
}

/// Promise: stale windows of a route are used.
#[tokio::test(start_paused = true)]
async fn a_route_has_stale_windows_of_its_own() {
    let origin = slow(|_, call| match call {
        1 | 2 => answer(
            200,
            &[("cache-control", "max-age=10")],
            format!("call {call}"),
        ),
        _ => answer(503, &[], "down"),
    });
    let rules = Rules::new()
        .stale_while_revalidate(SECOND * 5)
        .stale_if_error(SECOND * 20);
    let service = in_memory().route("/a", rules).layer(origin);
    send(&service, get("/a")).await;
    settle().await;
    advance(SECOND * 12).await;
    assert_eq!(send(&service, get("/a")).await.body, "call 1");
    sleep(SLOW * 2).await;
    advance(SECOND * 18).await;
    assert_eq!(
        send(&service, get("/a")).await.body,
        "call 2",
        "for an error"
    );
    advance(SECOND * 20).await;
    assert_eq!(send(&service, get("/a")).await.body, "down");
}

/// Promise: query rules and cookies of a route are those of the key and of the request that the
/// inner service gets; another route's requests keep theirs.
#[tokio::test(start_paused = true)]
async fn a_route_has_a_key_of_its_own() {
    let rules = Rules::new()
        .query(QueryRules::only(["q", "page"]).sorted())
        .ignore_request_cookies(["_ga"]);
    let keeps_all = Rules::new().ignore_request_cookies(Vec::<String>::new());
    let layer = in_memory()
        .ttl(SECOND * 60)
        .ignore_request_cookies(["theme"])
        .route("/search", rules)
        .route("/raw", keeps_all);
    let service = layer.layer(page());
    let cookies = |path: &str| with(get(path), "cookie", "_ga=1; theme=2");
    let search = send(&service, cookies("/search?q=a&utm=1&page=2")).await;
    assert_eq!(search.body, "/search?page=2&q=a");
    assert_eq!(search.header("x-cookie"), "theme=2");
    let other = send(&service, cookies("/other?b&a")).await;
    assert_eq!(
        (&*other.body, &*other.header("x-cookie")),
        ("/other?b&a", "_ga=1")
    );
    let raw = send(&service, cookies("/raw")).await;
    assert_eq!(raw.header("x-cookie"), "_ga=1; theme=2");
    send(&service, get("/search?q=a")).await;
    assert!(is_stored(&service, get("/search?x=y&q=a")).await);
    assert!(!is_stored(&service, get("/other?a&b")).await);
}

/// Promise: nothing of a bypassed route is looked up or stored; writes to it invalidate all the
/// same.
#[tokio::test(start_paused = true)]
async fn writes_under_a_bypassed_route_invalidate() {
    let origin = Origin::at_once(|request| match *request.method() {
        Method::PUT => answer(204, &[("location", "/plain")], ""),
        _ => answer(200, &[("cache-control", "max-age=60")], ""),
    });
    let layer = in_memory();
    let (all, routed) = (
        layer.clone().layer(origin.clone()),
        layer
            .clone()
            .route("/account/{*rest}", Rules::new().bypass()),
    );
    let service = routed.layer(origin);
    for path in ["/account/7", "/plain"] {
        send(&all, get(path)).await;
        assert!(
            is_stored(&all, get(path)).await,
            "by the layer without the route"
        );
    }
    let passed = send(&service, get("/account/7")).await;
    assert_eq!(passed.cache_status(), "fwd=bypass; detail=skipped");
    assert_eq!(layer.handle().stats().bypasses.get(Bypass::Skipped), 1);
    send(&service, put("/account/7")).await;
    for path in ["/account/7", "/plain"] {
        assert!(!is_stored(&all, get(path)).await, "{path}");
    }
}

/// Promise: the response to a write is stored under the rules of the path that it is for, or not at
/// all.
#[tokio::test(start_paused = true)]
async fn a_write_stores_nothing_by_the_rules_of_another_route() {
    let origin = Origin::at_once(|request| {
        let named = match request.uri().path() {
            "/form" => "/item?x=1",
            path => path,
        };
        let lines = [("cache-control", "max-age=60"), ("content-location", named)];
        answer(200, &lines, request.method().to_string())
    });
    let drops_query = || Rules::new().query(QueryRules::only([]));
    for (routes, expected) in [
        (&[][..], [false, true]),
        (&["/form"], [false, false]),
        (&["/item"], [false, false]),
    ] {
        let mut layer = in_memory().write_through(true);
        for route in routes {
            layer = layer.route(route, drops_query());
        }
        let service = layer.layer(origin.clone());
        send(&service, request(Method::POST, "/form")).await;
        let stored = [
            is_stored(&service, get("/item")).await,
            is_stored(&service, get("/item?x=1")).await,
        ];
        assert_eq!(stored, expected, "{routes:?}");
        send(&service, request(Method::PUT, "/item")).await;
        assert!(is_stored(&service, get("/item")).await, "its own path");
    }
}

/// Promise: a route's responses are in its groups, a layer further inside hands its routes outwards,
/// and an explanation is that of the route.
#[tokio::test(start_paused = true)]
async fn routes_have_groups_and_are_handed_outwards_and_explained() {
    let outer = in_memory().ttl(SECOND * 10);
    let inner = outer
        .clone()
        .route("/a/{b}", Rules::new().ttl(SECOND * 20).group("g"));
    let service = outer.clone().layer(inner.clone().layer(page()));
    for path in ["/a/b", "/c"] {
        send(&service, get(path)).await;
    }
    let hit = send(&service, get("/a/b")).await.cache_status();
    assert!(hit.starts_with("hit; ttl=20"), "{hit}");
    let (parts, ()) = get("/a/b").into_parts();
    let explained = inner.handle().explain(&parts).await;
    let stored = explained.stored.expect("a stored response");
    assert_eq!(stored.lifetime, Some(Duration::from_secs(20)));
    assert_eq!(stored.lifetime_rule.as_str(), "layer-ttl");
    let invalidated = outer.handle().invalidate_group("", "g").await;
    invalidated.expect("acknowledged");
    assert!(!is_stored(&service, get("/a/b")).await);
    assert!(is_stored(&service, get("/c")).await);
}
