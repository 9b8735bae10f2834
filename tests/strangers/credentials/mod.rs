//! Clients with credentials read nothing of each other's, and others read nothing of theirs.

mod ignored_cookies;
mod in_keys;

use http::{Method, Request};
use tokio::time::{Instant, advance, sleep};
use tower::Layer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::{FetchReason, Refresh, Refusal};
use tower_response_cache::{CacheLayer, DEFAULT_CREDENTIAL_FIELDS};

use crate::support::origin::{Origin, Response, answer, slow};
use crate::support::time::{SECOND, SLOW, in_virtual_time};
use crate::support::{get, is_stored, put, request, send, send_all, with};

/// The page of the client that a request is from, by a field that names it.
fn page_of(request: &Request<()>, name: &str, lines: &[(&'static str, &str)]) -> Response {
    let client = request.headers().get(name);
    let client = client.map_or("nobody", |client| client.to_str().expect("text"));
    answer(200, lines, format!("page of {client}"))
}

/// An origin with one page per client, which says nothing of it.
fn pages(name: &'static str) -> Origin {
    slow(move |request, _| page_of(request, name, &[]))
}

fn layer() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default()).ttl(SECOND * 60)
}

/// One after the other: what the first one got is not stored.
#[tokio::test(start_paused = true)]
async fn a_client_never_gets_the_page_of_another_one() {
    for name in DEFAULT_CREDENTIAL_FIELDS {
        let layer = layer();
        let service = layer.layer(pages(name));
        for client in ["alice", "bob"] {
            let got = send(&service, with(get("/me"), name, client)).await;
            assert_eq!(got.body, format!("page of {client}"), "{name}");
        }
        assert!(!is_stored(&service, get("/me")).await, "{name}");
        let stats = layer.handle().stats();
        assert_eq!(stats.refusals.get(Refusal::Credentials), 2, "{name}");
    }
}

/// At the same time: the fill of a client with credentials is not shared, and makes a queue of
/// two calls at most.
#[tokio::test(start_paused = true)]
async fn followers_do_not_get_the_page_of_their_leader() {
    for name in DEFAULT_CREDENTIAL_FIELDS {
        let origin = pages(name);
        let service = layer().layer(origin.clone());
        let clients = (0..50).map(|client| with(get("/me"), name, &client.to_string()));
        let begun = Instant::now();
        let answers = send_all(&service, clients.chain((0..50).map(|_| get("/me")))).await;
        assert!(begun.elapsed() <= SLOW * 3, "{name}: {:?}", begun.elapsed());
        for (client, got) in answers.iter().enumerate() {
            let expected = match client < 50 {
                true => format!("page of {client}"),
                false => "page of nobody".to_owned(),
            };
            assert_eq!(got.body, expected, "{name}");
        }
        assert_eq!(origin.calls(), 51, "{name}");
    }
}

/// RFC 9111 §3.5, for all credentials alike: the response may permit it.
#[tokio::test(start_paused = true)]
async fn what_the_response_permits_is_stored_and_shared() {
    for (line, expected) in [
        ("public", true),
        ("s-maxage=60", true),
        ("max-age=60, must-revalidate", true),
        ("max-age=60", false),
    ] {
        let service = layer().layer(slow(move |request, _| {
            page_of(request, "x-api-key", &[("cache-control", line)])
        }));
        send(&service, with(get("/rates"), "x-api-key", "alice")).await;
        let got = send(&service, with(get("/rates"), "x-api-key", "bob")).await;
        assert_eq!(got.is_hit(), expected, "{line}");
    }
}

/// The list is the application's, but for `Authorization`.
#[tokio::test(start_paused = true)]
async fn a_list_of_fields_replaces_the_default_one() {
    for (list, name, is_credential) in [
        (&["x-session"][..], "x-session", true),
        (&["x-session"], "authorization", true),
        (&["x-session"], "x-api-key", false),
        (&[], "authorization", true),
        (&[], "x-api-key", false),
        (&["cookie"], "cookie", true),
    ] {
        let origin = slow(move |request, _| {
            // What permits storing for a request with `Cookie`.
            page_of(request, name, &[("cache-control", "max-age=60")])
        });
        let fields = list.iter().copied();
        let service = layer().credential_fields(fields).layer(origin);
        let asks = ["alice", "bob"].map(|client| with(get("/me"), name, client));
        let answers = send_all(&service, asks).await;
        let is_shared = answers[0].body == answers[1].body;
        assert_eq!(is_shared, !is_credential, "{list:?} {name}");
        let is_stored = is_stored(&service, get("/me")).await;
        assert_eq!(is_stored, !is_credential, "{list:?} {name}");
    }
}

/// A layer further inside that knows more fields is heard, whether the requests come one after the
/// other or at once.
#[tokio::test(start_paused = true)]
async fn the_fields_of_stacked_layers_add_up() {
    for (outside, inside) in [(&[][..], &["x-session"][..]), (&["x-session"], &[])] {
        let cache = layer();
        let route = cache.clone().credential_fields(inside.iter().copied());
        let router = cache.credential_fields(outside.iter().copied());
        let service = router.layer(route.layer(pages("x-session")));
        let ask = |client| match client {
            0 => get("/me"),
            client => with(get("/me"), "x-session", &client.to_string()),
        };
        for order in [[0, 1, 2], [1, 2, 0]] {
            for (client, got) in order.iter().zip(send_all(&service, order.map(ask)).await) {
                let own = match client {
                    0 => "page of nobody".to_owned(),
                    client => format!("page of {client}"),
                };
                assert_eq!(got.body, own, "{outside:?} {inside:?}");
            }
            advance(SECOND * 61).await;
        }
        for client in [1, 2] {
            let got = send(&service, ask(client)).await;
            assert_eq!(got.body, format!("page of {client}"));
        }
    }
}

/// A client with credentials may be answered with a stale response, but its refresh is not stored.
#[tokio::test(start_paused = true)]
async fn a_refresh_with_credentials_stores_nothing_of_its_client() {
    let layer = layer().stale_while_revalidate(SECOND * 600);
    let service = layer.layer(pages("x-api-key"));
    send(&service, get("/me")).await;
    advance(SECOND * 61).await;
    let got = send(&service, with(get("/me"), "x-api-key", "alice")).await;
    assert_eq!(got.body, "page of nobody");
    sleep(SLOW * 2).await;
    assert_eq!(layer.handle().stats().refreshes.get(Refresh::Stale), 1);
    for _ in 0..3 {
        assert_eq!(send(&service, get("/me")).await.body, "page of nobody");
        advance(SECOND * 10).await;
    }
}

/// What a write with credentials gets is its client's alone, too.
#[tokio::test(start_paused = true)]
async fn the_response_to_a_write_with_credentials_is_not_stored() {
    for method in [Method::PUT, Method::POST, Method::PATCH] {
        for name in DEFAULT_CREDENTIAL_FIELDS {
            let lines = [("content-location", "/me"), ("cache-control", "max-age=60")];
            let origin = slow(move |request, _| page_of(request, name, &lines));
            let service = layer().write_through(true).layer(origin);
            let write = with(request(method.clone(), "/me"), name, "alice");
            let written = send(&service, write).await;
            assert_eq!(written.body, "page of alice");
            assert!(!is_stored(&service, get("/me")).await, "{method} {name}");
        }
    }
    let lines = [("content-location", "/me")];
    let service = layer().write_through(true);
    let service = service.layer(slow(move |request, _| page_of(request, "x", &lines)));
    send(&service, put("/me")).await;
    assert!(is_stored(&service, get("/me")).await, "without credentials");
}

/// Nor is a part of a page.
#[tokio::test(start_paused = true)]
async fn parts_with_credentials_are_not_stored() {
    for name in DEFAULT_CREDENTIAL_FIELDS {
        let lines = [
            ("content-range", "bytes 0-3/10"),
            ("etag", "\"a\""),
            ("cache-control", "max-age=60"),
        ];
        let origin = Origin::at_once(move |_| answer(206, &lines, "page"));
        let service = layer().layer(origin.clone());
        let part = || with(get("/me"), "range", "bytes=0-3");
        for _ in 0..2 {
            send(&service, with(part(), name, "alice")).await;
        }
        assert_eq!(origin.calls(), 2, "{name}");
        send(&service, part()).await;
        assert!(
            send(&service, part()).await.is_hit(),
            "{name}: what others get is"
        );
    }
}

/// RFC 9111 §4.3.5: a HEAD brings new fields, but those for one client are not for all.
#[tokio::test(start_paused = true)]
async fn a_head_with_credentials_does_not_update_what_others_get() {
    for (name, expected) in [("x-api-key", ""), ("x-plain", "alice")] {
        let service = layer().layer(slow(move |request, _| {
            let client = request.headers().get(name);
            let client = client.map_or("", |client| client.to_str().expect("text"));
            let lines = [
                ("etag", "\"a\""),
                ("content-length", "4"),
                ("x-user", client),
            ];
            answer(200, &lines, "page")
        }));
        send(&service, get("/me")).await;
        let head = with(request(Method::HEAD, "/me"), "cache-control", "no-cache");
        send(&service, with(head, name, "alice")).await;
        let hit = send(&service, get("/me")).await;
        assert!(hit.is_hit());
        assert_eq!(hit.header("x-user"), expected, "{name}");
    }
}

/// RFC 9110 §15.5.2: a stored refusal is not for a client with credentials of its own, those that
/// the application lists included.
#[tokio::test(start_paused = true)]
async fn a_stored_refusal_is_not_for_clients_with_listed_credentials() {
    let layer = layer().credential_fields(["x-session"]);
    let service = layer.layer(slow(|request, _| {
        let status = match request.headers().contains_key("x-session") {
            true => 200,
            false => 401,
        };
        answer(status, &[("cache-control", "max-age=60")], "")
    }));
    send(&service, get("/me")).await;
    assert!(
        send(&service, with(get("/me"), "x-api-key", "1"))
            .await
            .is_hit()
    );
    let got = send(&service, with(get("/me"), "x-session", "alice")).await;
    assert_eq!(got.status, 200);
    let fetches = layer.handle().stats().fetches;
    assert_eq!(fetches.get(FetchReason::RequestCredentials), 1);
}
