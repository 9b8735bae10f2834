//! A POST whose response is stored under the resource that it names costs a handful of commands,
//! whatever that response is.

use http::Method;

use super::{Cost, Instance, Measured};
use crate::support::{get, request, with};

/// Commands that are sent for a POST, with the invalidation of its target; and those that scripts
/// call for it.
const MOST: (usize, usize) = (8, 30);

/// Sends POSTs to a target; returns the cost of the last one. Each stores its response.
async fn post(measured: &Measured, instance: &Instance, path: &str) -> Cost {
    let send = async || {
        let stores = instance.handle.stats().stores;
        let post = with(request(Method::POST, path), "accept-encoding", "br");
        assert_eq!(instance.send(post).await.status, 201);
        assert_eq!(instance.handle.stats().stores, stores + 1, "{path}");
    };
    send().await;
    measured.cost("POST by write-through", send).await
}

fn assert_few(cost: &Cost) {
    println!("{cost}");
    assert!(cost.commands <= MOST.0, "{cost:?}");
    assert!(cost.in_scripts <= MOST.1, "{cost:?}");
    assert!(cost.round_trips <= 4, "{cost:?}");
}

/// Not one command for each of the 64 tokens that it captures.
#[tokio::test]
async fn a_post_costs_a_handful_of_commands() {
    let measured = Measured::start().await;
    let instance = Instance::writing_through(&measured).await;
    let cost = post(&measured, &instance, "/products").await;
    assert_few(&cost);
    assert!(instance.send(get("/products/7")).await.is_hit());
}

#[tokio::test]
async fn a_post_whose_response_varies_costs_a_handful_of_commands() {
    let measured = Measured::start().await;
    let instance = Instance::writing_through(&measured).await;
    assert_few(&post(&measured, &instance, "/varies").await);
    let variant = with(get("/varies/7"), "accept-encoding", "br");
    assert!(instance.send(variant).await.is_hit());
}

#[tokio::test]
async fn a_post_whose_response_is_in_groups_costs_a_handful_of_commands() {
    let measured = Measured::start().await;
    let instance = Instance::writing_through(&measured).await;
    assert_few(&post(&measured, &instance, "/member").await);
    assert!(instance.send(get("/member/7")).await.is_hit());
}

/// The tokens of the stripes have expired: they are created in one step.
#[tokio::test]
async fn a_post_that_finds_no_tokens_costs_a_handful_of_commands() {
    let measured = Measured::start().await;
    let instance = Instance::writing_through(&measured).await;
    post(&measured, &instance, "/products").await;
    for (name, _) in measured.keys("w").await {
        measured.server.command(&["DEL", &name]).await;
    }
    let cost = measured.cost("POST that finds no tokens", async || {
        instance.send(request(Method::POST, "/products")).await;
    });
    let cost = cost.await;
    println!("{cost}");
    assert!(cost.commands <= MOST.0 && cost.round_trips <= 4, "{cost:?}");
}
