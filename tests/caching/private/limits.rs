//! What one client can have stored, and ids that are no ids.

use http::Request;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::Backend;
use tower_response_cache::stats::Refusal;

use super::{get_as, partitioned};
use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, answer};
use crate::support::time::settled;
use crate::support::{get, in_memory, is_stored, send, with};

fn private_pages() -> Origin {
    Origin::at_once(|_| answer(200, &[("cache-control", "private, max-age=60")], "mine"))
}

/// How many of 100 pages, all asked for once, are stored, and whether the last one is.
async fn stored_of_100<B: Backend>(layer: CacheLayer<B>) -> (usize, bool) {
    let service = partitioned(layer).layer(private_pages());
    let page = |number: usize| get_as(&format!("/{number}"), "alice");
    send(&service, get_as("/0", "bob")).await;
    for number in 0..100 {
        send(&service, page(number)).await;
        settled().await;
    }
    assert!(
        is_stored(&service, get_as("/0", "bob")).await,
        "another client's"
    );
    let mut stored = 0;
    for number in 0..100 {
        stored += usize::from(is_stored(&service, page(number)).await);
    }
    (stored, is_stored(&service, page(99)).await)
}

/// Promise P9: a client has a bounded number of responses; the latest are kept.
#[tokio::test(start_paused = true)]
async fn a_client_has_at_most_64_responses() {
    on_both_backends(async |layer| {
        assert_eq!(
            stored_of_100(layer.clone().scope("default")).await,
            (64, true)
        );
        let few = layer.scope("few").max_private_entries(3);
        assert_eq!(stored_of_100(few).await, (3, true));
    })
    .await;
}

/// With 0 nothing is stored for single clients.
#[tokio::test(start_paused = true)]
async fn no_private_entries_are_none() {
    let layer = partitioned(in_memory()).max_private_entries(0);
    let service = layer.layer(private_pages());
    send(&service, get_as("/a", "alice")).await;
    assert!(!is_stored(&service, get_as("/a", "alice")).await);
    assert_eq!(layer.handle().stats().refusals.get(Refusal::Private), 1);
}

/// Promise: an id of any length is answered; beyond the limit nothing is stored, and it is counted.
#[tokio::test(start_paused = true)]
async fn a_long_id_stores_nothing() {
    for (length, is_long) in [(1, false), (1024, false), (1025, true), (1 << 20, true)] {
        let layer = in_memory().private_by(move |_| Some("x".repeat(length)));
        let service = layer.layer(private_pages());
        for _ in 0..2 {
            assert_eq!(send(&service, get("/a")).await.body, "mine");
        }
        let refused = layer.handle().stats().refusals.get(Refusal::LongPrivateId);
        assert_eq!(refused, if is_long { 2 } else { 0 }, "{length}");
        assert_eq!(is_stored(&service, get("/a")).await, !is_long, "{length}");
    }
}

/// Promise: a request without an id, with an empty one, or with a function that panics, has no
/// partition; public responses are stored as ever.
#[tokio::test(start_paused = true)]
async fn no_id_is_no_partition() {
    let by: [fn(&http::request::Parts) -> Option<String>; 3] =
        [|_| None, |_| Some(String::new()), |_| panic!("no id today")];
    for by in by {
        let layer = in_memory().private_by(by);
        let origin = Origin::at_once(|request: &Request<()>| {
            let control = match request.uri().path() {
                "/public" => "max-age=60",
                _ => "private, max-age=60",
            };
            answer(200, &[("cache-control", control)], "a page")
        });
        let service = layer.layer(origin);
        for path in ["/public", "/private"] {
            send(&service, get(path)).await;
            assert_eq!(
                is_stored(&service, get(path)).await,
                path == "/public",
                "{path}"
            );
        }
        assert_eq!(layer.handle().stats().refusals.get(Refusal::Private), 1);
    }
}

/// Promise: ids are compared whole, also where one is the beginning of another.
#[tokio::test(start_paused = true)]
async fn similar_ids_are_different_clients() {
    let ids = ["a", "a ", "A", "aa", "a\u{0}", "private"];
    let layer = in_memory().private_by(|request| {
        let number: usize = request
            .headers
            .get("x-number")?
            .to_str()
            .ok()?
            .parse()
            .ok()?;
        Some(["a", "a ", "A", "aa", "a\u{0}", "private"][number])
    });
    let origin = Origin::at_once(|request| {
        let number = request.headers()["x-number"]
            .to_str()
            .expect("text")
            .to_owned();
        answer(200, &[("cache-control", "private, max-age=60")], number)
    });
    let service = layer.layer(origin);
    for round in 0..2 {
        for number in 0..ids.len() {
            let ask = with(get("/a"), "x-number", &number.to_string());
            let got = send(&service, ask).await;
            assert_eq!(got.body, number.to_string());
            assert_eq!(got.is_hit(), round > 0);
        }
    }
}
