//! What strangers try on a cache: to clear it, to see into it, to have it ask for ever, to leave
//! something in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::RequestDirective;

use crate::support::origin::{Origin, answer, cacheable};
use crate::support::time::settled;
use crate::support::{get, in_memory, put, request, send, with};

/// An origin whose answers are numbered, and which refuses forbidden requests.
fn numbered() -> Origin {
    let number = AtomicUsize::new(0);
    Origin::at_once(move |request| match *request.method() {
        Method::GET | Method::HEAD => cacheable(number.fetch_add(1, Ordering::SeqCst).to_string()),
        _ => answer(405, &[], "not allowed"),
    })
}

/// No method, field, path or parameter clears anything that the service did not change itself.
#[tokio::test(start_paused = true)]
async fn no_http_request_clears_the_cache() {
    let layer = in_memory();
    let service = layer.layer(numbered());
    send(&service, get("/a")).await;
    settled().await;
    let method = |name: &str, path| {
        let method = Method::from_bytes(name.as_bytes()).expect("a method");
        request(method, path)
    };
    for hostile in [
        method("PURGE", "/a"),
        method("PURGE", "/*"),
        method("BAN", "/a"),
        method("DELETE", "/a"),
        method("REFRESH", "/a"),
        get("/a/purge"),
        get("/purge/a"),
        get("/_cache/clear"),
        get("/cache-status"),
    ] {
        let told = format!("{} {}", hostile.method(), hostile.uri());
        send(&service, hostile).await;
        settled().await;
        let again = send(&service, get("/a")).await;
        assert_eq!((again.is_hit(), &*again.body), (true, "0"), "{told}");
    }
    for (name, value) in [
        ("x-purge", "1"),
        ("x-cache-debug", "1"),
        ("fastly-debug", "1"),
        ("pragma", "akamai-x-get-cache-key"),
        ("surrogate-key", "a"),
        ("cache-group-invalidation", "\"a\""),
        ("cdn-cache-control", "no-store"),
        ("cache-status", "stranger; hit"),
    ] {
        let plain = send(&service, get("/a")).await;
        let debug = send(&service, with(get("/a"), name, value)).await;
        assert_eq!(debug.body, plain.body, "{name}");
        assert_eq!(debug.headers, plain.headers, "{name}");
    }
    // This one is for the service alone.
    let other = with(get("/a"), "x-http-method-override", "PURGE");
    assert!(!send(&service, other).await.is_hit());
    let again = send(&service, get("/a")).await;
    assert_eq!((again.is_hit(), &*again.body), (true, "0"));
    assert_eq!(layer.handle().stats().invalidations, 0);
}

/// What the key is made of is in no answer, whatever its way was.
#[tokio::test(start_paused = true)]
async fn no_answer_reveals_the_key() {
    let service = in_memory().scope("the-scope").layer(numbered());
    let path = "/the-path?the-query=1";
    for ask in [
        get(path),
        get(path),
        with(get(path), "cache-control", "no-cache"),
        with(get("/other-path"), "cache-control", "only-if-cached"),
        with(get(path), "if-none-match", "*"),
        put(path),
    ] {
        let answer = send(&service, ask).await;
        settled().await;
        let all = format!("{:?}", answer.headers);
        for secret in [
            "the-scope",
            "the-path",
            "the-query",
            "other-path",
            "test.example",
            "key=",
        ] {
            assert!(!all.contains(secret), "{all}");
        }
    }
}

/// There is nothing to be told by timing of what only one client may have, because it is not there.
#[tokio::test(start_paused = true)]
async fn personal_responses_are_never_stored() {
    let layer = in_memory();
    let origin = Origin::at_once(|request| {
        let line = match request.uri().path() {
            "/private" => ("cache-control", "private, max-age=60"),
            "/cookie" => ("set-cookie", "session=1"),
            _ => ("cache-control", "max-age=60"),
        };
        answer(200, &[line], "mine")
    });
    let service = layer.layer(origin.clone());
    let mine = |path| with(get(path), "authorization", "Bearer 1");
    send(&service, get("/private")).await;
    send(&service, get("/cookie")).await;
    send(&service, mine("/account")).await;
    settled().await;
    assert_eq!(layer.handle().stats().usage.expect("known").entries, 0);
    for path in ["/private", "/cookie", "/account"] {
        let calls = origin.calls();
        assert!(!send(&service, get(path)).await.is_hit());
        assert_eq!(origin.calls(), calls + 1, "{path}");
        settled().await;
    }
}

/// A crowd that insists on something new shares two calls, and one that is not listened to costs
/// none.
#[tokio::test(start_paused = true)]
async fn a_crowd_that_insists_costs_little() {
    for (is_ignored, most) in [(false, 2), (true, 0)] {
        let origin = Origin::new(|_| async {
            sleep(Duration::from_millis(50)).await;
            Ok(cacheable("slow"))
        });
        let layer = match is_ignored {
            false => in_memory(),
            true => in_memory().ignore_request_directives([RequestDirective::NoCache]),
        };
        let service = layer.layer(origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        let before = origin.calls();
        let (local, mut crowd) = (LocalSet::new(), JoinSet::new());
        for _ in 0..500 {
            let service = service.clone();
            let asks = async move {
                let insists = with(get("/a"), "cache-control", "no-cache");
                send(&service, insists).await.body
            };
            crowd.spawn_local_on(asks, &local);
        }
        let bodies = local.run_until(crowd.join_all()).await;
        assert!(bodies.iter().all(|body| body == "slow"));
        let calls = origin.calls() - before;
        assert!(calls <= most, "{calls} calls");
    }
}

/// Writes that the service refuses flush nothing.
#[tokio::test(start_paused = true)]
async fn refused_writes_flush_nothing() {
    let layer = in_memory();
    let service = layer.layer(numbered());
    send(&service, get("/a")).await;
    settled().await;
    for method in [Method::PUT, Method::POST, Method::PATCH, Method::DELETE] {
        for _ in 0..50 {
            assert_eq!(
                send(&service, request(method.clone(), "/a")).await.status,
                405
            );
        }
    }
    assert!(send(&service, get("/a")).await.is_hit());
    assert_eq!(layer.handle().stats().invalidations, 0);
}

/// Fields that bind a client beyond the response are replayed like all others: what must not be is
/// not to be sent with what may be stored.
#[tokio::test(start_paused = true)]
async fn fields_with_a_reach_are_replayed_as_they_are() {
    const LINES: [(&str, &str); 5] = [
        ("cache-control", "max-age=60"),
        ("strict-transport-security", "max-age=31536000"),
        ("alt-svc", "h3=\":443\""),
        ("clear-site-data", "\"cache\""),
        ("content-security-policy", "default-src 'self'"),
    ];
    let origin = Origin::at_once(|_| answer(200, &LINES, "page"));
    let service = in_memory().layer(origin);
    send(&service, get("/a")).await;
    settled().await;
    let hit = send(&service, get("/a")).await;
    assert!(hit.is_hit());
    for (name, value) in LINES {
        assert_eq!(hit.header(name), value, "{name}");
    }
}

/// Each way of an answer tells its age and its status truthfully.
#[tokio::test(start_paused = true)]
async fn age_and_status_are_true_on_every_way() {
    let is_down = Arc::new(AtomicUsize::new(0));
    let down = is_down.clone();
    let origin = Origin::at_once(move |request: &Request<()>| {
        let lines = [
            ("cache-control", "max-age=60, stale-if-error=60"),
            ("age", "10"),
            ("etag", "\"a\""),
            ("cache-status", "upstream; hit"),
        ];
        match down.load(Ordering::SeqCst) {
            1 => answer(503, &[], ""),
            _ if request.headers().contains_key("if-none-match") => answer(304, &lines, ""),
            _ => answer(200, &lines, "text"),
        }
    });
    let service = in_memory().layer(origin);
    let told = async |expected_age: &str, expected: &str| {
        let answer = send(&service, get("/a")).await;
        settled().await;
        let status = answer.header("cache-status");
        let own = status.replace("tower-response-cache; ", "");
        assert_eq!((&*answer.header("age"), &*own), (expected_age, expected));
    };
    told("10", "upstream; hit, fwd=uri-miss; stored").await;
    sleep(Duration::from_secs(20)).await;
    told("30", "upstream; hit, hit; ttl=30").await;
    sleep(Duration::from_secs(40)).await;
    told("10", "upstream; hit, fwd=stale; fwd-status=304; stored").await;
    told("10", "upstream; hit, hit; ttl=50").await;
    sleep(Duration::from_secs(70)).await;
    is_down.store(1, Ordering::SeqCst);
    told(
        "80",
        "upstream; hit, fwd=stale; fwd-status=503; ttl=-20; detail=stale-if-error",
    )
    .await;
}
