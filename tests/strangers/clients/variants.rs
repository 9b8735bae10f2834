//! A client with many values of a field that `Vary` names drives out its own variants.

use http::{HeaderMap, Request};
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use super::{from, with_clients, without_clients};
use crate::support::origin::{Origin, answer};
use crate::support::{get, send, with};

/// A page whose responses differ by a field.
fn origin() -> Origin {
    Origin::at_once(|request: &Request<()>| {
        let value = |headers: &HeaderMap| headers["x-v"].to_str().expect("text").to_owned();
        let lines = [("cache-control", "public, max-age=3600"), ("vary", "x-v")];
        answer(200, &lines, value(request.headers()))
    })
}

fn variant(client: &'static str, value: &str) -> Request<()> {
    from(client, with(get("/a"), "x-v", value))
}

/// How many of eight variants of honest clients are gone, after so many new ones of a stranger.
async fn gone(layer: CacheLayer<MemoryBackend>, strange: usize) -> usize {
    let service = layer.layer(origin());
    let honest = |number: usize| variant(["b", "c"][number % 2], &format!("honest {number}"));
    for number in 0..8 {
        send(&service, honest(number)).await;
    }
    for number in 0..strange {
        send(&service, variant("a", &number.to_string())).await;
    }
    let mut gone = 0;
    for number in 0..8 {
        gone += usize::from(!send(&service, honest(number)).await.is_hit());
    }
    gone
}

#[tokio::test(start_paused = true)]
async fn new_variants_of_a_client_drive_out_none_of_others() {
    assert_eq!(gone(without_clients(), 100).await, 8);
    assert_eq!(gone(with_clients(), 100).await, 0);
    assert_eq!(gone(with_clients(), 20).await, 0);
}

/// Others use it, too.
#[tokio::test(start_paused = true)]
async fn a_variant_that_a_stranger_was_the_first_to_store_stays() {
    let service = with_clients().layer(origin());
    send(&service, variant("a", "popular")).await;
    for number in 0..40 {
        send(&service, variant("a", &number.to_string())).await;
        let popular = send(&service, variant("b", "popular")).await;
        assert!(popular.is_hit(), "{number}");
    }
}
