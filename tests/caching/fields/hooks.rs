//! The functions of the application that judge a response: they see its request, too, and forbid
//! no more than storing.

use std::sync::{Arc, Mutex};

use http::Method;
use tokio::time::advance;
use tower::Layer;
use tower_response_cache::Ttl;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::Refusal;

use super::saying;
use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, answer, cacheable};
use crate::support::time::{SECOND, in_virtual_time, settle, settled};
use crate::support::{get, gets, in_memory, put, request, send, send_all, with};

/// An extension of a request, as a router's `MatchedPath`.
#[derive(Clone)]
struct Route(&'static str);

#[tokio::test(start_paused = true)]
async fn a_lifetime_can_go_by_the_request() {
    on_both_backends(async |layer| {
        let layer = layer.ttl(60 * SECOND).ttl_by(|request, _| {
            let route = request.extensions.get::<Route>()?.0;
            let asked = request.headers.get("x-speed").is_some();
            match (request.uri.path(), route) {
                ("/a", "short") => Some(Ttl::For(2 * SECOND)),
                ("/a", "asked") if asked => Some(Ttl::UntilInvalidated),
                _ => None,
            }
        });
        for (path, route, expected) in [
            ("/a", "short", "hit; ttl=2"),
            ("/a", "asked", "hit"),
            ("/a", "other", "hit; ttl=60"),
            ("/b", "short", "hit; ttl=60"),
        ] {
            let service = layer.layer(saying(200, &[]));
            let mut request = with(get(path), "x-speed", "1");
            request.extensions_mut().insert(Route(route));
            send(&service, put(path)).await;
            send(&service, request).await;
            settled().await;
            assert_eq!(send(&service, get(path)).await.cache_status(), expected);
        }
    })
    .await;
}

/// A request is judged as the inner service got it: without what the cache answers by itself, and
/// without what the cache adds.
#[tokio::test(start_paused = true)]
async fn hooks_see_no_condition_that_is_not_the_clients() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let see = seen.clone();
    let layer = in_virtual_time(MemoryBackend::default()).store_if(move |request, _| {
        let has = |name: &str| request.headers.contains_key(name);
        let is_conditional = has("if-none-match");
        let seen = (request.method.clone(), is_conditional);
        see.lock().expect("a lock").push(seen);
        true
    });
    let service = layer.layer(Origin::at_once(|request| {
        match request.headers().contains_key("if-none-match") {
            true => answer(304, &[("etag", "\"1\"")], ""),
            false => answer(
                200,
                &[("etag", "\"1\""), ("cache-control", "max-age=1")],
                "x",
            ),
        }
    }));
    send(&service, with(get("/a"), "if-none-match", "\"0\"")).await;
    advance(2 * SECOND).await;
    // Validated by the cache, and by a HEAD in the name of GET.
    assert_eq!(send(&service, get("/a")).await.body, "x");
    advance(2 * SECOND).await;
    send(&service, request(Method::HEAD, "/a")).await;
    let seen = seen.lock().expect("a lock");
    assert!(seen.len() >= 2, "{seen:?}");
    assert!(
        seen.iter().all(|seen| *seen == (Method::GET, false)),
        "{seen:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_response_that_store_if_declines_is_counted_and_named() {
    on_both_backends(async |layer| {
        let layer = layer.store_if(|request, response| {
            request.uri.path() != "/admin" && !response.headers.contains_key("x-debug")
        });
        let origin = Origin::at_once(|request| {
            let mut response = cacheable("x");
            if request.uri().path() == "/debug" {
                response
                    .headers_mut()
                    .insert("x-debug", "1".parse().expect("a value"));
            }
            response
        });
        let service = layer.layer(origin.clone());
        for path in ["/admin", "/debug", "/admin"] {
            let got = send(&service, get(path)).await;
            assert_eq!(got.cache_status(), "fwd=uri-miss; detail=store-if");
            assert_eq!(got.body, "x");
            settled().await;
        }
        send(&service, get("/a")).await;
        settled().await;
        assert!(send(&service, get("/a")).await.is_hit());
        let refusals = layer.handle().stats().refusals;
        assert_eq!((refusals.get(Refusal::StoreIf), origin.calls()), (3, 4));
    })
    .await;
}

/// RFC 9111 §3: a permission of the application is none of the RFC's.
#[tokio::test(start_paused = true)]
async fn store_if_allows_nothing_that_is_forbidden() {
    for (control, detail) in [
        ("no-store", "no-store"),
        ("private", "private"),
        ("x=1", "no-lifetime"),
    ] {
        let lines = [("cache-control", control)];
        let origin = Origin::at_once(move |_| answer(200, &lines, "x"));
        let service = in_memory().store_if(|_, _| true).layer(origin);
        let got = send(&service, get("/a")).await;
        assert_eq!(got.cache_status(), format!("fwd=uri-miss; detail={detail}"));
    }
}

/// The hook may mean one request alone: another one's response is stored all the same.
#[tokio::test(start_paused = true)]
async fn a_declined_response_stops_no_other_one_from_being_stored() {
    let layer = in_virtual_time(MemoryBackend::default())
        .store_if(|request, _| !request.headers.contains_key("x-debug"));
    let origin = crate::support::origin::slow(|_, _| cacheable("x"));
    let service = layer.layer(origin.clone());
    let mut requests = vec![with(get("/a"), "x-debug", "1")];
    requests.extend(gets(50));
    for answer in send_all(&service, requests).await {
        assert_eq!(answer.body, "x");
    }
    settle().await;
    assert_eq!(origin.calls(), 2, "one of the others has taken over");
    assert!(send(&service, get("/a")).await.is_hit());
}

/// A response to a write that is stored for GET is judged as the response to that GET.
#[tokio::test(start_paused = true)]
async fn store_if_judges_what_a_write_stores() {
    let lines = [("content-location", "/a"), ("cache-control", "max-age=60")];
    for (allowed, expected) in [("/a", true), ("/b", false)] {
        let layer = in_memory().write_through(true).store_if(move |request, _| {
            (&request.method, request.uri.path()) == (&Method::GET, allowed)
                && request.extensions.get::<Route>().is_some()
        });
        let service = layer.layer(Origin::at_once(move |_| answer(200, &lines, "x")));
        let mut write = put("/a");
        write.extensions_mut().insert(Route("written"));
        send(&service, write).await;
        let refused = layer.handle().stats().refusals.get(Refusal::StoreIf);
        assert_eq!(refused == 0, expected);
        assert_eq!(send(&service, get("/a")).await.is_hit(), expected);
    }
}
