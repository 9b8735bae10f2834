//! Responses that are never shared, and requests that have different keys.

use http::{Method, Request};
use tower::Layer;
use tower_response_cache::Ttl;
use tower_response_cache::stats::{Bypass, FetchReason};

use crate::support::origin::{Origin, answer, cacheable};
use crate::support::{get, in_memory, request, send, with};

/// An origin that echoes the target, so that a wrong answer shows.
fn echo() -> Origin {
    Origin::at_once(|request| {
        let host = request
            .headers()
            .get("host")
            .map(|host| host.to_str().expect("text"));
        let host = request
            .uri()
            .authority()
            .map_or(host, |authority| Some(authority.as_str()));
        cacheable(format!("{} {}", host.unwrap_or("-"), request.uri()))
    })
}

fn to(host: &str, target: &str) -> Request<()> {
    let builder = Request::get(target).header("host", host);
    builder.body(()).expect("a request")
}

/// Asked twice, answered twice by the service.
#[tokio::test(start_paused = true)]
async fn personal_responses_are_not_stored() {
    for (case, asked, answered) in [
        (
            "private",
            &[][..],
            &[("cache-control", "private, max-age=60")][..],
        ),
        (
            "no-store",
            &[],
            &[("cache-control", "no-store, max-age=60")],
        ),
        (
            "no-cache",
            &[],
            &[("cache-control", "no-cache, max-age=60")],
        ),
        ("says nothing", &[], &[]),
        (
            "public, says no lifetime",
            &[],
            &[("cache-control", "public")],
        ),
        (
            "set-cookie",
            &[],
            &[("cache-control", "max-age=60"), ("set-cookie", "a=b")],
        ),
        (
            "authorization",
            &[("authorization", "x")],
            &[("cache-control", "max-age=60")],
        ),
        (
            "vary: *",
            &[],
            &[("cache-control", "max-age=60"), ("vary", "*")],
        ),
    ] {
        let origin = Origin::at_once(move |_| answer(200, answered, "x"));
        let service = in_memory().layer(origin.clone());
        for calls in 1..=2 {
            let mut ask = get("/a");
            for (name, value) in asked {
                ask = with(ask, name, value);
            }
            let got = send(&service, ask).await;
            assert!(
                got.cache_status().contains("; detail="),
                "{case}: {}",
                got.cache_status()
            );
            assert_eq!(origin.calls(), calls, "{case}");
        }
    }
}

/// With an assigned lifetime, an answer to a request with a cookie is not shared.
#[tokio::test(start_paused = true)]
async fn an_assigned_lifetime_is_not_for_answers_to_cookies() {
    let origin = Origin::at_once(|_| answer(200, &[], "x"));
    let service = in_memory()
        .ttl(std::time::Duration::from_secs(60))
        .layer(origin.clone());
    send(&service, with(get("/a"), "cookie", "id=1")).await;
    send(&service, with(get("/a"), "cookie", "id=2")).await;
    assert_eq!(origin.calls(), 2);
    send(&service, get("/a")).await;
    assert!(send(&service, get("/a")).await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn selecting_fields_are_compared() {
    for field in ["accept-language", "cookie", "origin"] {
        let origin = Origin::at_once(move |request| {
            let value = request
                .headers()
                .get(field)
                .map(|value| value.to_str().expect("text"));
            let lines = [("cache-control", "max-age=60"), ("vary", field)];
            answer(200, &lines, value.unwrap_or("none").to_owned())
        });
        let service = in_memory().layer(origin.clone());
        for _ in 0..2 {
            for value in ["a", "b", ""] {
                let got = send(&service, with(get("/a"), field, value)).await;
                assert_eq!(got.body, value);
            }
            assert_eq!(send(&service, get("/a")).await.body, "none");
        }
        assert_eq!(origin.calls(), 4, "each variant is stored once");
    }
}

/// Each target gets its own answer, twice.
#[tokio::test(start_paused = true)]
async fn different_targets_never_share() {
    let service = in_memory().layer(echo());
    let mut asks = Vec::new();
    for target in [
        "/a",
        "/A",
        "/a/",
        "//a",
        "/./a",
        "/b/../a",
        "/%61",
        "/a?",
        "/a?x",
        "/a?x=",
        "/a?x=1&y=2",
        "/a?y=2&x=1",
        "/static/..%2faccount",
        "/account/x.css",
        "/account;x.css",
        "/account%2fx.css",
        "/account%00x.css",
        "/account%0ax.css",
        "/account%23x.css",
        "/account%3fx.css",
    ] {
        asks.push(("test.example", target));
        asks.push(("other.example", target));
    }
    asks.push(("third.example", "http://third.example/a"));
    asks.push(("third.example", "http://fourth.example/a"));
    asks.push(("test.example:8080", "/a"));
    for is_hit in [false, true] {
        for (host, target) in &asks {
            // The service gets every target in origin form.
            let expected = match target.strip_prefix("http://") {
                Some(target) => target.replacen('/', " /", 1),
                None => format!("{host} {target}"),
            };
            let got = send(&service, to(host, target)).await;
            assert_eq!(
                (
                    got.body,
                    got.headers["cache-status"]
                        .to_str()
                        .expect("text")
                        .contains("; hit")
                ),
                (expected, is_hit)
            );
        }
    }
}

/// Nothing is stored for its extension or path, whatever the path looks like.
#[tokio::test(start_paused = true)]
async fn a_path_that_looks_static_is_no_reason_to_store() {
    let origin = Origin::at_once(|_| answer(200, &[("content-type", "text/css")], "secret"));
    let service = in_memory().layer(origin.clone());
    for path in [
        "/account/x.css",
        "/account/x.js",
        "/logo.png",
        "/static/a",
        "/robots.txt",
    ] {
        send(&service, get(path)).await;
        send(&service, get(path)).await;
    }
    assert_eq!(origin.calls(), 10);
}

#[tokio::test(start_paused = true)]
async fn errors_that_a_request_provokes_do_not_poison_its_key() {
    for status in [400, 413, 431, 500, 503] {
        let origin =
            Origin::at_once(
                move |request| match request.headers().contains_key("x-bomb") {
                    true => answer(status, &[], "error"),
                    false => cacheable("good"),
                },
            );
        let service = in_memory().ttl(Ttl::UntilInvalidated).layer(origin.clone());
        send(&service, with(get("/a"), "x-bomb", "1")).await;
        assert_eq!(send(&service, get("/a")).await.body, "good", "{status}");
        let bomb = with(with(get("/a"), "x-bomb", "1"), "cache-control", "no-cache");
        send(&service, bomb).await;
        assert_eq!(send(&service, get("/a")).await.body, "good", "{status}");
    }
}

/// An error with explicit freshness is stored, but does not replace a good response.
#[tokio::test(start_paused = true)]
async fn a_good_response_is_not_pushed_out_by_a_5xx() {
    let origin = Origin::at_once(|request| match request.headers().contains_key("x-bomb") {
        true => answer(503, &[("cache-control", "max-age=60")], "error"),
        false => cacheable("good"),
    });
    let service = in_memory().layer(origin.clone());
    send(&service, get("/a")).await;
    let bomb = with(with(get("/a"), "x-bomb", "1"), "cache-control", "no-cache");
    let got = send(&service, bomb).await;
    assert_eq!(
        (got.status.as_u16(), got.cache_status().as_str()),
        (503, "fwd=request; detail=keeps-better")
    );
    assert_eq!(send(&service, get("/a")).await.body, "good");
    send(&service, with(get("/b"), "x-bomb", "1")).await;
    assert_eq!(send(&service, get("/b")).await.body, "error");
}

#[tokio::test(start_paused = true)]
async fn request_directives_are_obeyed_unless_ignored_by_option() {
    for (name, value, reason) in [
        ("cache-control", "no-cache", FetchReason::RequestNoCache),
        ("cache-control", "max-age=0", FetchReason::RequestMaxAge),
        (
            "cache-control",
            "min-fresh=4000",
            FetchReason::RequestMinFresh,
        ),
        ("pragma", "no-cache", FetchReason::RequestNoCache),
    ] {
        let obeys = in_memory();
        let service = obeys.layer(echo());
        send(&service, get("/a")).await;
        let got = send(&service, with(get("/a"), name, value)).await;
        assert_eq!(
            got.cache_status(),
            format!("fwd=request; stored; detail={reason}")
        );
        assert_eq!(obeys.handle().stats().fetches.get(reason), 1);

        let ignores = in_memory().ignore_client_freshness(true);
        let service = ignores.layer(echo());
        send(&service, get("/a")).await;
        assert!(send(&service, with(get("/a"), name, value)).await.is_hit());
    }
    let service = in_memory().layer(echo());
    let only = || with(get("/a"), "cache-control", "only-if-cached");
    let got = send(&service, only()).await;
    assert_eq!(
        (got.status.as_u16(), got.cache_status().as_str()),
        (504, "detail=only-if-cached")
    );
    send(&service, get("/a")).await;
    assert!(send(&service, only()).await.is_hit());
}

/// A field that the handler reflects must be in `Vary` or in the key; the key can hold it.
#[tokio::test(start_paused = true)]
async fn a_key_can_hold_a_field() {
    let layer = in_memory().key_by(|request, key| {
        let proto = request.headers.get("x-forwarded-proto")?.to_str().ok()?;
        let authority = format!("{proto}:{}", key.authority());
        Some(key.with_authority(authority))
    });
    let origin = Origin::at_once(|request| {
        cacheable(
            request.headers()["x-forwarded-proto"]
                .to_str()
                .expect("text")
                .to_owned(),
        )
    });
    let service = layer.layer(origin.clone());
    for _ in 0..2 {
        for proto in ["http", "https"] {
            let got = send(&service, with(get("/a"), "x-forwarded-proto", proto)).await;
            assert_eq!(got.body, proto);
        }
    }
    assert_eq!(origin.calls(), 2);
    assert_eq!(layer.handle().stats().bypasses.get(Bypass::NoKey), 0);
}

#[tokio::test(start_paused = true)]
async fn bypassed_requests_say_why() {
    let layer = in_memory().skip(|request| request.uri.path() == "/live");
    let service = layer.layer(echo());
    for (ask, status) in [
        (request(Method::OPTIONS, "/a"), "fwd=method"),
        (
            with(get("/a"), "upgrade", "websocket"),
            "fwd=bypass; detail=upgrade",
        ),
        (
            with(get("/a"), "content-length", "3"),
            "fwd=bypass; detail=request-content",
        ),
        (
            with(get("/a"), "transfer-encoding", "chunked"),
            "fwd=bypass; detail=request-content",
        ),
        (
            with(get("/a"), "host", "second.example"),
            "fwd=bypass; detail=authority",
        ),
        (get("/live"), "fwd=bypass; detail=skipped"),
    ] {
        for _ in 0..2 {
            let told = format!("{ask:?}");
            let mut again = Request::builder().method(ask.method()).uri(ask.uri());
            again
                .headers_mut()
                .expect("a builder")
                .extend(ask.headers().clone());
            let got = send(&service, again.body(()).expect("a request")).await;
            assert_eq!(got.cache_status(), status, "{told}");
        }
    }
    assert_eq!(layer.handle().stats().bypasses.total(), 12);
    let no_length = with(get("/a"), "content-length", "0");
    assert_eq!(
        send(&service, no_length).await.cache_status(),
        "fwd=uri-miss; stored"
    );
}

#[tokio::test(start_paused = true)]
async fn an_assigned_lifetime_is_for_few_statuses() {
    for (status, seconds) in [
        (200, 60),
        (203, 60),
        (204, 60),
        (301, 60),
        (308, 60),
        (404, 5),
        (410, 5),
        (201, 0),
        (202, 0),
        (302, 0),
        (307, 0),
        (303, 0),
        (400, 0),
        (405, 0),
        (500, 0),
        (503, 0),
    ] {
        let origin = Origin::at_once(move |_| answer(status, &[], ""));
        let service = in_memory()
            .ttl(std::time::Duration::from_secs(60))
            .layer(origin);
        send(&service, get("/a")).await;
        let got = send(&service, get("/a")).await;
        let expected = if seconds == 0 {
            "fwd=uri-miss; detail=no-lifetime".to_owned()
        } else {
            format!("hit; ttl={seconds}")
        };
        assert_eq!(got.cache_status(), expected, "{status}");
        assert!(
            !got.headers.contains_key("cache-control"),
            "the lifetime is this cache's own"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn lifetimes_can_be_given_by_the_response() {
    let origin = Origin::at_once(|request| answer(200, &[("x-kind", request.uri().path())], ""));
    let layer = in_memory()
        .ttl(std::time::Duration::from_secs(60))
        .ttl_by(|_, head| match head.headers.get("x-kind")?.as_bytes() {
            b"/short" => Some(Ttl::For(std::time::Duration::from_secs(2))),
            b"/forever" => Some(Ttl::UntilInvalidated),
            _ => None,
        });
    let service = layer.layer(origin);
    for (path, status) in [
        ("/short", "hit; ttl=2"),
        ("/forever", "hit"),
        ("/other", "hit; ttl=60"),
    ] {
        send(&service, get(path)).await;
        assert_eq!(send(&service, get(path)).await.cache_status(), status);
    }
}

/// Age grows, the lifetime shrinks, both end together.
#[tokio::test(start_paused = true)]
async fn age_and_ttl_add_up_to_the_lifetime() {
    let origin =
        Origin::at_once(|_| answer(200, &[("cache-control", "max-age=10"), ("age", "3")], ""));
    let service = in_memory().layer(origin.clone());
    let first = send(&service, get("/a")).await;
    assert_eq!(first.header("age"), "3", "an upstream's own is kept");
    for age in 3..10 {
        let got = send(&service, get("/a")).await;
        assert_eq!(got.header("age"), age.to_string());
        assert_eq!(got.cache_status(), format!("hit; ttl={}", 10 - age));
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
    }
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "fwd=stale; stored"
    );
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_caches_name_can_be_chosen_or_left_out() {
    let named = in_memory().cache_status_name("edge 1").layer(echo());
    send(&named, get("/a")).await;
    assert_eq!(
        send(&named, get("/a")).await.header("cache-status"),
        r#""edge 1"; hit; ttl=3600"#
    );
    let silent = in_memory().cache_status(false).layer(echo());
    send(&silent, get("/a")).await;
    let hit = send(&silent, get("/a")).await;
    assert!(hit.headers.contains_key("age") && !hit.headers.contains_key("cache-status"));
    assert!(in_memory().try_cache_status_name("").is_err());
}

#[tokio::test(start_paused = true)]
async fn scopes_are_apart_and_share_the_rest() {
    let layer = in_memory();
    let (a, b) = (layer.clone().scope("a"), layer.clone().scope("b"));
    let origin = Origin::at_once(|request| cacheable(request.method().to_string()));
    let (in_a, in_b) = (a.layer(origin.clone()), b.layer(origin.clone()));
    send(&in_a, get("/x")).await;
    assert!(!send(&in_b, get("/x")).await.is_hit());
    send(&in_b, request(Method::PUT, "/x")).await;
    assert!(send(&in_a, get("/x")).await.is_hit());
    assert_eq!(layer.handle().stats().hits, 1);
}

#[tokio::test(start_paused = true)]
async fn set_cookie_is_replayed_only_where_that_was_asked_for() {
    let origin = Origin::at_once(|_| {
        answer(
            200,
            &[("cache-control", "max-age=60"), ("set-cookie", "a=b")],
            "",
        )
    });
    let service = in_memory().store_set_cookie(true).layer(origin);
    send(&service, get("/a")).await;
    let hit = send(&service, get("/a")).await;
    assert_eq!(
        (hit.is_hit(), hit.header("set-cookie").as_str()),
        (true, "a=b")
    );
}

/// Nor is one of another variant, whose rule would go with it.
#[tokio::test(start_paused = true)]
async fn a_5xx_without_vary_does_not_push_out_the_variants() {
    let origin = Origin::at_once(|request| match request.headers().contains_key("x-bomb") {
        true => answer(503, &[("cache-control", "max-age=60")], "error"),
        false => answer(
            200,
            &[("cache-control", "max-age=60"), ("vary", "accept-language")],
            "good",
        ),
    });
    let service = in_memory().layer(origin);
    let german = || with(get("/a"), "accept-language", "de");
    send(&service, german()).await;
    let bomb = with(with(get("/a"), "x-bomb", "1"), "accept-language", "xx");
    send(&service, bomb).await;
    let got = send(&service, german()).await;
    assert_eq!((got.is_hit(), got.body.as_str()), (true, "good"));
}
