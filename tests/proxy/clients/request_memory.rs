//! P9: requests that wait take memory of their own client's share.

use std::time::Duration;

use super::http2_client::Http2Client;
use super::limit_counts::{reached, start, until, warned};
use crate::origin::{Origin, Step, ok};

const REFUSED: &str = "there are too many requests\n";

async fn hanging() -> Origin {
    Origin::start(|heard| {
        let pause = match heard.head.contains("/slow") {
            true => Duration::from_secs(60),
            false => Duration::ZERO,
        };
        vec![Step::Pause(pause), Step::Say(ok("", "hello").into_bytes())]
    })
    .await
}

/// However few bytes they are on the way: a path that was sent once is a number.
#[tokio::test]
async fn requests_that_wait_take_half_of_the_memory_at_most() {
    let origin = hanging().await;
    let (proxy, log) = start(&origin, &["--max-request-memory", "1MiB"]).await;
    let mut many = Http2Client::connect_from("127.0.0.2", proxy.port(), 65_535).await;
    for number in 0..100 {
        many.request("GET", &format!("/slow?{number}"), None).await;
    }
    // Each takes 12 KiB, and twice its head.
    until("others are refused", || async {
        reached(&proxy, "requests").await >= 55
    })
    .await;
    many.receive(55 * REFUSED.len()).await;
    let refused = reached(&proxy, "requests").await;
    assert!((55..70).contains(&refused), "{refused}");
    warned(
        log,
        "those of their client take half of --max-request-memory",
    )
    .await;
    let mut other = Http2Client::connect_from("127.0.0.3", proxy.port(), 65_535).await;
    other.request("GET", "/quick", None).await;
    other.receive(5).await;
    assert_eq!(reached(&proxy, "requests").await, refused);
    // What they took is given back once they have left.
    drop(many);
    until("it is given back", || async {
        let before = reached(&proxy, "requests").await;
        let mut many = Http2Client::connect_from("127.0.0.2", proxy.port(), 65_535).await;
        for number in 0..30 {
            many.request("GET", &format!("/quick?{number}"), None).await;
        }
        many.receive(30 * 5).await;
        reached(&proxy, "requests").await == before
    })
    .await;
}

/// Content that is collected while a request waits counts, too.
#[tokio::test]
async fn content_that_is_collected_takes_memory() {
    let origin = hanging().await;
    let (proxy, _log) = start(&origin, &["--max-request-memory", "1MiB"]).await;
    let mut many = Http2Client::connect_from("127.0.0.2", proxy.port(), 65_535).await;
    for number in 0..20 {
        let length = Some(50_000);
        many.request("POST", &format!("/slow?{number}"), length)
            .await;
    }
    until("others are refused", || async {
        reached(&proxy, "requests").await >= 10
    })
    .await;
    let refused = reached(&proxy, "requests").await;
    assert!((10..15).contains(&refused), "{refused}");
}

/// A proxy of one's own is one client.
#[tokio::test]
async fn a_trusted_proxy_takes_all_of_the_memory() {
    let origin = hanging().await;
    let flags = ["--max-request-memory", "1MiB", "--trust-forwarded"];
    let (proxy, _log) = start(&origin, &flags).await;
    let mut many = Http2Client::connect_from("127.0.0.2", proxy.port(), 65_535).await;
    for number in 0..100 {
        many.request("GET", &format!("/slow?{number}"), None).await;
    }
    until("others are refused", || async {
        reached(&proxy, "requests").await >= 15
    })
    .await;
    let refused = reached(&proxy, "requests").await;
    assert!((15..30).contains(&refused), "{refused}");
}
