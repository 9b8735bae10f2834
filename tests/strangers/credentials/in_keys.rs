//! `key_covers_credentials`: one response per client, where the key hook tells the clients apart.

use http::Request;
use tokio::time::{Instant, advance, sleep};
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::key::UriKey;
use tower_response_cache::stats::Refusal;

use super::{layer, page_of, pages};
use crate::support::origin::{answer, slow};
use crate::support::time::{SECOND, SLOW};
use crate::support::{get, is_stored, put, send, send_all, with};

/// The fields that make a request count as one of a client.
const FIELDS: [&str; 3] = ["authorization", "x-api-key", "cookie"];

/// A layer whose key hook puts the value of a field into the key, if it is there.
fn by_client(name: &'static str) -> CacheLayer<MemoryBackend> {
    layer()
        .key_by(move |request, key| {
            let Some(client) = request.headers.get(name) else {
                return Some(key);
            };
            let authority = format!("{}@{}", client.to_str().ok()?, key.authority());
            Some(key.with_authority(authority))
        })
        .key_covers_credentials(true)
}

fn ask(name: &'static str, client: &str) -> Request<()> {
    with(get("/me"), name, client)
}

/// Each client has a page of its own in the store, and those at once share one call per client.
#[tokio::test(start_paused = true)]
async fn each_client_gets_its_own_page_from_the_store() {
    for name in FIELDS {
        let origin = pages(name);
        let service = by_client(name).layer(origin.clone());
        let begun = Instant::now();
        let clients = (0..100).map(|n| ask(name, ["alice", "bob"][n % 2]));
        let answers = send_all(&service, clients).await;
        assert_eq!(begun.elapsed(), SLOW, "{name}");
        for (n, got) in answers.iter().enumerate() {
            assert_eq!(got.body, ["page of alice", "page of bob"][n % 2], "{name}");
        }
        assert_eq!(origin.calls(), 2, "{name}");
        for client in ["alice", "bob"] {
            let got = send(&service, ask(name, client)).await;
            assert!(
                got.is_hit() && got.body == format!("page of {client}"),
                "{name}"
            );
        }
        assert_eq!(send(&service, get("/me")).await.body, "page of nobody");
    }
}

/// Without a hook, with one that makes the default key, and for a client that the hook does not
/// know, the credentials are not in the key.
#[tokio::test(start_paused = true)]
async fn a_key_that_the_hook_left_as_it_was_covers_nothing() {
    let layers = [
        ("no hook", layer().key_covers_credentials(true)),
        (
            "the default key",
            layer().key(UriKey).key_covers_credentials(true),
        ),
        ("another field", by_client("x-session")),
        (
            "switched off",
            by_client("x-api-key").key_covers_credentials(false),
        ),
    ];
    for (case, layer) in layers {
        let service = layer.query(tower_response_cache::key::QueryRules::all().sorted());
        let service = service.layer(pages("x-api-key"));
        let ask = |client| with(get("/me?b=1&a=2"), "x-api-key", client);
        let asks = ["alice", "bob"].map(ask);
        for (client, got) in ["alice", "bob"].iter().zip(send_all(&service, asks).await) {
            assert_eq!(got.body, format!("page of {client}"), "{case}");
        }
        for client in ["alice", "bob"] {
            let got = send(&service, ask(client)).await;
            assert_eq!(got.body, format!("page of {client}"), "{case}");
            assert_eq!(
                got.cache_status(),
                "fwd=uri-miss; detail=credentials",
                "{case}"
            );
        }
    }
}

/// RFC 9110 §15.5.2: the stored refusal was made for the credentials in its key.
#[tokio::test(start_paused = true)]
async fn a_stored_refusal_answers_the_client_in_its_key() {
    for (covers, expected) in [(true, true), (false, false)] {
        let layer = by_client("authorization").key_covers_credentials(covers);
        let lines = [("cache-control", "public, max-age=60")];
        let service = layer.layer(slow(move |_, _| answer(401, &lines, "no")));
        send(&service, ask("authorization", "alice")).await;
        let got = send(&service, ask("authorization", "alice")).await;
        assert_eq!(got.is_hit(), expected);
        assert!(!send(&service, ask("authorization", "bob")).await.is_hit());
    }
}

/// A refresh in the background and a write are for the same key as the request.
#[tokio::test(start_paused = true)]
async fn refreshes_and_writes_store_for_the_client_in_the_key() {
    let layer = by_client("x-api-key").stale_while_revalidate(SECOND * 600);
    let origin = pages("x-api-key");
    let service = layer.layer(origin.clone());
    send(&service, ask("x-api-key", "alice")).await;
    advance(SECOND * 61).await;
    assert!(send(&service, ask("x-api-key", "alice")).await.is_hit());
    sleep(SLOW * 2).await;
    assert_eq!(origin.calls(), 2);
    let hit = send(&service, ask("x-api-key", "alice")).await;
    assert_eq!(hit.cache_status(), "hit; ttl=60");
    assert_eq!(layer.handle().stats().refusals.get(Refusal::Credentials), 0);

    let lines = [("content-location", "/me"), ("cache-control", "max-age=60")];
    let layer = by_client("x-api-key").write_through(true);
    let service = layer.layer(slow(move |request, _| {
        page_of(request, "x-api-key", &lines)
    }));
    send(&service, with(put("/me"), "x-api-key", "alice")).await;
    let hit = send(&service, ask("x-api-key", "alice")).await;
    assert!(hit.is_hit() && hit.body == "page of alice");
    assert!(!is_stored(&service, get("/me")).await);
    assert!(!is_stored(&service, ask("x-api-key", "bob")).await);
}
