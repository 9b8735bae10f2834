//! The rule of variants that an instance remembers: right in steady state, and only a hint.

use http::Method;
use tower::Layer;
use tower_response_cache::CacheLayer;

use super::{Instance, Measured};
use crate::support::origin::{Origin, answer};
use crate::support::redis::until;
use crate::support::{get, put, send, send_all, with};

fn br(path: &str) -> http::Request<()> {
    with(get(path), "accept-encoding", "br")
}

/// A hit of a variant is one round trip. Many keys, many variants.
#[tokio::test]
async fn every_key_that_varies_is_one_round_trip_in_steady_state() {
    let measured = Measured::start().await;
    let one = Instance::on(&measured).await;
    let paths: Vec<_> = (0..50).map(|number| format!("/varies/{number}")).collect();
    for path in &paths {
        one.fill(br(path)).await;
        one.fill(with(get(path), "accept-encoding", "gzip")).await;
    }
    for round in 0..2 {
        let hits = measured.cost("100 hits", async || {
            for path in &paths {
                assert!(one.send(br(path)).await.is_hit());
                let gzip = with(get(path), "accept-encoding", "gzip");
                assert!(one.send(gzip).await.is_hit());
            }
        });
        let cost = hits.await;
        assert_eq!((cost.commands, cost.round_trips), (100, 100), "{round}");
    }
}

/// P1: the rule is remembered, nothing else. What another instance has invalidated is a miss.
#[tokio::test]
async fn an_expected_variant_is_never_older_than_a_write_elsewhere() {
    let measured = Measured::start().await;
    let (one, other) = (Instance::on(&measured).await, Instance::on(&measured).await);
    one.fill(br("/varies")).await;
    assert!(one.send(br("/varies")).await.is_hit());
    other.send(put("/varies")).await;
    let refill = measured.cost("miss", async || {
        assert!(!one.fill(br("/varies")).await.is_hit());
        other.send(put("/varies")).await;
    });
    // Lookup, lease, store; the other one's write.
    let cost = refill.await;
    assert_eq!((cost.commands, cost.round_trips), (4, 4));
}

/// An origin whose `Vary` follows `x-vary` of the request.
fn changing() -> Origin {
    Origin::at_once(|request| {
        let vary = request.headers().get("x-vary");
        let vary = vary.and_then(|value| value.to_str().ok()).unwrap_or("");
        let body = format!("{:?}", request.headers().get("accept-encoding"));
        let lines = [("cache-control", "max-age=3600"), ("vary", vary)];
        let lines = if vary.is_empty() { &lines[..1] } else { &lines };
        answer(200, lines, body)
    })
}

/// After a change of the rule one lookup takes a second round trip. All find their own variant.
#[tokio::test]
async fn a_changed_rule_is_found_out_by_the_lookup_itself() {
    let measured = Measured::start().await;
    for vary in ["accept-encoding, x-other", "x-other", ""] {
        measured.server.command(&["FLUSHALL"]).await;
        let mut instances = Vec::new();
        for _ in 0..2 {
            let layer = CacheLayer::new(measured.backend().await);
            instances.push((layer.handle(), layer.layer(changing())));
        }
        let fill = async |instance: usize, request| {
            let (handle, service) = &instances[instance];
            let stores = handle.stats().stores;
            send(service, request).await;
            until("it is stored", async || handle.stats().stores > stores).await;
        };
        fill(0, with(br("/a"), "x-vary", "accept-encoding")).await;
        assert!(send(&instances[0].1, br("/a")).await.is_hit());
        let anew = with(with(br("/a"), "x-vary", vary), "cache-control", "no-cache");
        fill(1, anew).await;
        let has_rule = !vary.is_empty();
        for (hit, commands) in [("first", 1 + usize::from(has_rule)), ("second", 1)] {
            let cost = measured.cost("hit", async || {
                let got = send(&instances[0].1, br("/a")).await;
                assert!(got.is_hit() && got.body == "Some(\"br\")", "{got:?}");
            });
            assert_eq!(cost.await.commands, commands, "{vary:?}: {hit}");
        }
        let plain = send(&instances[0].1, get("/a")).await;
        assert_eq!(
            plain.is_hit(),
            !vary.contains("accept-encoding"),
            "{vary:?}"
        );
    }
}

/// A HEAD finds the same as a GET, and another variant than the expected one is a miss.
#[tokio::test]
async fn a_variant_beside_the_expected_one_is_a_miss() {
    let measured = Measured::start().await;
    let one = Instance::on(&measured).await;
    one.fill(br("/varies")).await;
    let zstd = || with(get("/varies"), "accept-encoding", "zstd");
    let miss = measured.cost("miss", async || {
        let method = Method::HEAD;
        let (mut head, ()) = zstd().into_parts();
        head.method = method;
        assert!(!one.send(http::Request::from_parts(head, ())).await.is_hit());
    });
    assert_eq!(miss.await.commands, 1);
    assert!(!one.fill(zstd()).await.is_hit());
    assert!(one.send(zstd()).await.is_hit());
    assert!(one.send(br("/varies")).await.is_hit());
}

/// Lookups with and without an expected variant share batches, each with its own answer.
#[tokio::test]
async fn keys_with_and_without_variants_share_a_batch() {
    let measured = Measured::start().await;
    let layer = CacheLayer::new(measured.backend().await);
    let handle = layer.handle();
    let service = layer.layer(Origin::at_once(|request| {
        let path = request.uri().path();
        let control = match path.contains("none") {
            true => "no-store",
            false => "max-age=3600",
        };
        let lines = [("cache-control", control), ("vary", "accept-encoding")];
        let lines = &lines[..1 + usize::from(path.contains("varies"))];
        answer(200, lines, path.to_owned())
    }));
    let kinds = ["varies", "plain", "none"];
    let paths = (0..60).map(|number| format!("/{}/{number}", kinds[number % 3]));
    let paths: Vec<_> = paths.collect();
    let ask = || send_all(&service, paths.iter().map(|path| br(path)));
    ask().await;
    until("all are stored", async || handle.stats().stores == 40).await;
    for _ in 0..2 {
        for (path, got) in paths.iter().zip(ask().await) {
            assert_eq!(&got.body, path);
            assert_eq!(got.is_hit(), !path.contains("none"), "{path}");
        }
    }
}
