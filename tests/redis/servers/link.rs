//! The slow network in front of them.

use std::time::{Duration, Instant};

use crate::servers::{Client, PONG, some};
use crate::support::redis::{Link, LinkSpeed, RedisServer};

/// Sends this many bytes to the server and back; returns how long each took.
async fn round_trip(link: &Link, bytes: usize) -> [Duration; 2] {
    let mut client = redis_client(link).await;
    let value = "x".repeat(bytes);
    let start = Instant::now();
    client.asks(&format!("SET large {value}")).await;
    let sent = start.elapsed();
    client.say("GET large").await;
    let mut received = 0;
    while received < bytes {
        received += client.hears().await.expect("more").len();
    }
    [sent, start.elapsed() - sent]
}

async fn redis_client(link: &Link) -> Client {
    let mut client = Client::to(link.port()).await;
    assert_eq!(client.asks("PING").await, some(PONG));
    client
}

#[tokio::test]
async fn a_link_has_a_rate_and_a_latency() {
    let server = RedisServer::start().await;
    let link = Link::to(server.port(), LinkSpeed::SLOW).await;
    let mut client = redis_client(&link).await;
    let start = Instant::now();
    assert_eq!(client.asks("PING").await, some(PONG));
    assert!(start.elapsed() >= LinkSpeed::SLOW.round_trip);
    // An inline command has at most 64 KiB.
    for took in round_trip(&link, 60_000).await {
        let at_least = Duration::from_micros(60_000 * 8 / 100);
        assert!(took >= at_least, "{took:?}");
    }
    assert!(link.bytes_from_server() > 60_000 && link.bytes_to_server() > 60_000);
}

/// A large transfer leaves small ones their share.
#[tokio::test]
async fn connections_share_a_link_fairly() {
    let server = RedisServer::start().await;
    let value = "x".repeat(4 << 20);
    server.command(&["SET", "large", &value]).await;
    let link = Link::to(server.port(), LinkSpeed::SLOW).await;
    let mut large = Client::to(link.port()).await;
    large.say("GET large").await;
    let reads = tokio::spawn(async move {
        let mut received = 0;
        while received < 4 << 20 {
            received += large.hears().await.expect("more").len();
        }
    });
    let mut small = redis_client(&link).await;
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(small.asks("PING").await, some(PONG));
    }
    let took = start.elapsed();
    assert!(!reads.is_finished(), "the transfer takes 335 ms: {took:?}");
    reads.await.expect("all of it");
}
