//! Responses that are stored for one client alone: `private_by` and `CachePolicy::private_to`.

mod limits;
mod lives;

use http::{Method, Request};
use tower::Layer;
use tower_response_cache::backend::Backend;
use tower_response_cache::stats::Refusal;
use tower_response_cache::{Cache, CacheLayer, CachePolicy};

use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, Response, answer, slow};
use crate::support::time::{SECOND, settled};
use crate::support::{get, is_stored, put, request, send, send_all, with};

const CLIENTS: [&str; 3] = ["alice", "bob", ""];

/// The client that a request names. An application would verify it.
fn client(request: &Request<()>) -> &str {
    let name = request.headers().get("x-client");
    name.map_or("nobody", |name| name.to_str().expect("text"))
}

/// A GET of a client with a credential and a cookie; the empty name is nobody.
fn get_as(path: &str, name: &str) -> Request<()> {
    as_client(get(path), name)
}

fn as_client(request: Request<()>, name: &str) -> Request<()> {
    if name.is_empty() {
        return request;
    }
    let request = with(request, "x-client", name);
    let request = with(request, "x-api-key", &format!("key of {name}"));
    with(request, "cookie", &format!("session={name}"))
}

/// Takes the id from the request.
fn partitioned<B: Backend>(layer: CacheLayer<B>) -> CacheLayer<B> {
    layer.private_by(|request| {
        let name = request.headers.get("x-client")?;
        Some(name.to_str().ok()?.to_owned())
    })
}

fn says(policy: CachePolicy, mut response: Response) -> Response {
    response.extensions_mut().insert(policy);
    response
}

/// A page of each client, and pages that are for all.
fn page(request: &Request<()>) -> Response {
    let client = client(request);
    let personal = format!("page of {client}");
    let control = |value| [("cache-control", value)];
    match request.uri().path() {
        "/private" => answer(200, &control("private, max-age=60"), personal),
        // Only the credentials of its request keep it from others.
        "/credentials" if client != "nobody" => answer(200, &control("max-age=60"), personal),
        "/credentials" => answer(200, &control("no-store"), personal),
        "/policy" => {
            let policy = CachePolicy::new().ttl(SECOND * 60).private_to(client);
            says(policy, answer(200, &[], personal))
        }
        _ => answer(200, &control("public, max-age=60"), "for all"),
    }
}

const PERSONAL: [&str; 3] = ["/private", "/credentials", "/policy"];

/// All sequences of four requests of the three clients.
fn orders() -> impl Iterator<Item = [&'static str; 4]> {
    (0..81).map(|number: usize| [1, 3, 9, 27].map(|place| CLIENTS[number / place % 3]))
}

fn expected(path: &str, name: &str) -> String {
    match (path, name) {
        ("/public", _) => "for all".to_owned(),
        (_, "") => "page of nobody".to_owned(),
        _ => format!("page of {name}"),
    }
}

/// Promise: whatever the order, a client gets its own page or one for all, from the store from the
/// second time on.
#[tokio::test(start_paused = true)]
async fn no_page_of_a_client_reaches_another_in_any_order() {
    on_both_backends(async |layer| {
        for (number, order) in orders().enumerate() {
            // Each order has paths of its own, and so nothing of the others.
            let scope = number.to_string();
            let origin = Origin::at_once(page);
            let service = partitioned(layer.clone().scope(&scope)).layer(origin);
            for path in PERSONAL.into_iter().chain(["/public"]) {
                for (at, name) in order.into_iter().enumerate() {
                    let got = send(&service, get_as(path, name)).await;
                    settled().await;
                    let case = format!("{path}: request {at} of {order:?}");
                    assert_eq!(got.body, expected(path, name), "{case}");
                    let earlier = &order[..at];
                    let is_stored = match (path, name) {
                        ("/public", _) => at > 0,
                        (_, "") => false,
                        _ => earlier.contains(&name),
                    };
                    assert_eq!(got.is_hit(), is_stored, "{case}: {}", got.cache_status());
                }
            }
        }
    })
    .await;
}

/// Promise: nor at the same time, where requests wait for each other's calls.
#[tokio::test(start_paused = true)]
async fn no_page_of_a_client_reaches_another_at_once() {
    on_both_backends(async |layer| {
        for (number, order) in orders().enumerate() {
            let scope = number.to_string();
            let service = partitioned(layer.clone().scope(&scope)).layer(slow(|r, _| page(r)));
            for path in PERSONAL.into_iter().chain(["/public"]) {
                for round in 0..2 {
                    let asks = order.map(|name| get_as(path, name));
                    let answers = send_all(&service, asks).await;
                    settled().await;
                    for (got, name) in answers.iter().zip(order) {
                        let case = format!("{path} in round {round} of {order:?}");
                        assert_eq!(got.body, expected(path, name), "{case}");
                        let is_stored = path == "/public" || !name.is_empty();
                        assert!(got.is_hit() == is_stored || round == 0, "{case}");
                    }
                }
            }
        }
    })
    .await;
}

/// Promise: once a response is known to be private, the requests of each client make one call, and
/// before that two.
#[tokio::test(start_paused = true)]
async fn concurrent_requests_of_a_client_share_a_call() {
    on_both_backends(async |layer| {
        let origin = slow(|request, _| page(request));
        let service = partitioned(layer).layer(origin.clone());
        let of = |name: &'static str| (0..20).map(move |_| get_as("/private", name));
        send_all(&service, of("alice")).await;
        assert!(origin.calls() <= 2, "{}", origin.calls());
        settled().await;
        let before = origin.calls();
        for _ in 0..3 {
            send(&service, put("/private")).await;
            send_all(&service, of("alice")).await;
            settled().await;
        }
        assert_eq!(origin.calls() - before, 6, "a write and a call each");
    })
    .await;
}

/// Promise: a public page makes one call, whoever asks for it.
#[tokio::test(start_paused = true)]
async fn clients_with_ids_share_the_call_for_a_public_page() {
    on_both_backends(async |layer| {
        let origin = slow(|request, _| page(request));
        let service = partitioned(layer).layer(origin.clone());
        let asks = (0..30).map(|number| get_as("/public", CLIENTS[number % 3]));
        send_all(&service, asks).await;
        assert_eq!(origin.calls(), 1);
    })
    .await;
}

/// RFC 9111 §5.2.2.5, §5.2.2.10: a private cache obeys `no-store`, and not `s-maxage`.
#[tokio::test(start_paused = true)]
async fn a_partition_is_a_private_cache() {
    for (lines, status) in [
        (&[("cache-control", "private, max-age=60")][..], "hit"),
        (
            &[("cache-control", "private, s-maxage=0, max-age=60")],
            "hit",
        ),
        (&[("cache-control", "private, s-maxage=60")], "no-lifetime"),
        (
            &[("cache-control", "private, no-store, max-age=60")],
            "no-store",
        ),
        (&[("cache-control", "private, no-cache")], "no-cache"),
        (
            &[
                ("cache-control", "private, max-age=60"),
                ("set-cookie", "a=b"),
            ],
            "set-cookie",
        ),
        (
            &[("cache-control", "private, max-age=60"), ("vary", "*")],
            "vary",
        ),
        (&[("cache-control", "max-age=60")], "hit"),
        (&[("cache-control", "private; max-age=60")], "no-lifetime"),
        (&[], "no-lifetime"),
    ] {
        let origin = Origin::at_once(move |_| answer(200, lines, "mine"));
        let service = partitioned(crate::support::in_memory()).layer(origin);
        send(&service, get_as("/a", "alice")).await;
        let second = send(&service, get_as("/a", "alice")).await.cache_status();
        assert!(second.contains(status), "{lines:?}: {second}");
    }
}

/// Promise: the response leaves as it came, stored or not.
#[tokio::test(start_paused = true)]
async fn a_private_response_leaves_as_it_came() {
    let service = partitioned(crate::support::in_memory()).layer(Origin::at_once(page));
    for path in PERSONAL {
        let [first, second] = [
            send(&service, get_as(path, "alice")).await,
            send(&service, get_as(path, "alice")).await,
        ];
        assert!(second.is_hit(), "{path}");
        assert_eq!(
            first.header("cache-control"),
            second.header("cache-control"),
            "{path}"
        );
        assert_eq!(first.body, second.body, "{path}");
    }
}

/// Promise: a policy names the client; for any other one, and without `private_by`, the response
/// is stored for nobody.
#[tokio::test(start_paused = true)]
async fn a_policy_keeps_a_response_for_the_client_that_it_names() {
    let for_alice = || {
        Origin::at_once(|_| {
            let policy = CachePolicy::new().ttl(SECOND * 60).private_to("alice");
            says(policy, answer(200, &[], "page of alice"))
        })
    };
    let layer = partitioned(crate::support::in_memory());
    let service = layer.layer(for_alice());
    for name in CLIENTS {
        send(&service, get_as("/a", name)).await;
    }
    for (name, is_hit) in [("alice", true), ("bob", false), ("", false)] {
        assert_eq!(
            is_stored(&service, get_as("/a", name)).await,
            is_hit,
            "{name}"
        );
    }
    assert_eq!(layer.handle().stats().refusals.get(Refusal::Private), 2);
    let shared = crate::support::in_memory().layer(for_alice());
    send(&shared, get("/a")).await;
    assert!(!is_stored(&shared, get("/a")).await);
}

/// Promise P1, for what is stored for single clients.
#[tokio::test(start_paused = true)]
async fn a_write_clears_its_resource_in_all_partitions() {
    on_both_backends(async |layer| {
        let service = partitioned(layer).layer(Origin::at_once(page));
        for writer in CLIENTS {
            for path in PERSONAL {
                fill(&service, path).await;
                send(&service, as_client(request(Method::POST, path), writer)).await;
                for name in ["alice", "bob"] {
                    let is_stored = is_stored(&service, get_as(path, name)).await;
                    assert!(!is_stored, "{path} of {name} after a write of {writer:?}");
                }
            }
        }
    })
    .await;
}

/// Has a page stored for both clients.
async fn fill<B: Backend>(service: &Cache<Origin, B>, path: &str) {
    for name in ["alice", "bob"] {
        send(service, get_as(path, name)).await;
        settled().await;
        assert!(
            is_stored(service, get_as(path, name)).await,
            "{path} of {name}"
        );
    }
}
