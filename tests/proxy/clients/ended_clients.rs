//! P8: clients that are refused or ended for others, or because they are slow, are counted.

use std::time::Duration;

use tokio::time::sleep;

use super::limit_counts::{reached, start, until, warned};
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{Raw, exchange, last_get};

const CHUNKED: &str = "POST /up HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
    connection: close\r\n\r\n3\r\nabc\r\n";

async fn writable() -> Origin {
    Origin::start(|heard| match heard.head.starts_with("GET") {
        true => vec![Step::Say(fresh("hello").into())],
        false => vec![Step::Content, Step::Say(ok("", "written").into())],
    })
    .await
}

/// They are told apart from requests that waited for any place.
#[tokio::test]
async fn uploads_that_are_refused_for_others_are_counted_and_logged() {
    let origin = writable().await;
    let limits = ["--max-uploads", "1", "--queue-timeout", "300ms"];
    let (proxy, log) = start(&origin, &limits).await;
    let mut first = Raw::connect_from("127.0.0.2", proxy.port()).await;
    first.say(CHUNKED).await;
    origin.until_heard("POST /up ").await;
    assert_eq!(reached(&proxy, "uploads").await, 0);
    let refused = exchange(proxy.port(), format!("{CHUNKED}0\r\n\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert_eq!(reached(&proxy, "uploads").await, 1);
    warned(log, "as max_uploads are under way").await;
}

/// Requests without content that found no place are none of them.
#[tokio::test]
async fn requests_without_a_place_are_no_refused_uploads() {
    let origin = Origin::start(|_| vec![Step::Pause(Duration::from_secs(2))]).await;
    let limits = ["--concurrency", "1", "--queue-timeout", "300ms"];
    let (proxy, log) = start(&origin, &limits).await;
    let mut first = Raw::connect_from("127.0.0.2", proxy.port()).await;
    first.say(last_get("/a")).await;
    origin.until_heard("GET /a ").await;
    let refused = exchange(proxy.port(), last_get("/b")).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert_eq!(reached(&proxy, "uploads").await, 0);
    warned(log, "exceeded before a request").await;
}

#[tokio::test]
async fn connections_that_end_for_others_are_counted_and_logged() {
    let origin = Origin::saying(fresh("hello")).await;
    let flags = ["--max-connections", "4", "--client-timeout", "10m"];
    let (proxy, log) = start(&origin, &flags).await;
    let mut idle = Vec::new();
    for number in 0..6 {
        let address = format!("127.0.0.{}", 20 + number);
        let mut raw = Raw::connect_from(&address, proxy.port()).await;
        raw.say("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        raw.hear_until("hello").await;
        idle.push(raw);
    }
    assert_eq!(reached(&proxy, "connections_ended").await, 2);
    assert_eq!(reached(&proxy, "connections_per_client").await, 0);
    warned(log, "they have no request, and others have come").await;
}

#[tokio::test]
async fn requests_of_clients_that_are_too_slow_are_counted() {
    let origin = writable().await;
    let rates = ["--min-upload-rate", "20KiB", "--rate-window", "1s"];
    let (proxy, _log) = start(&origin, &rates).await;
    assert_eq!(reached(&proxy, "slow_clients").await, 0);
    let mut upload = Raw::connect(proxy.port()).await;
    upload.say(CHUNKED).await;
    let trickle = async {
        while upload.try_say("3\r\nabc\r\n").await {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let counted = until("it is counted", || async {
        reached(&proxy, "slow_clients").await == 1
    });
    tokio::join!(
        tokio::time::timeout(Duration::from_secs(10), trickle),
        counted
    )
    .1;
}
