//! How many WebSockets there may be, and of whom.

use std::time::Instant;

use crate::example::{Example, PATIENCE};
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{Raw, exchange, last_get};

const AGREED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
const HANDSHAKE: &str =
    "GET /chat HTTP/1.1\r\nhost: test.example\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";

/// A proxy with room for so many WebSockets, before an origin that agrees to all.
async fn with_room_for(max: &str) -> (Origin, Example) {
    let origin = Origin::start(|heard| match heard.field("upgrade").is_empty() {
        true => vec![Step::Say(ok("", "no").into_bytes())],
        false => vec![Step::Say(AGREED.into()), Step::Echo],
    })
    .await;
    let options = ["--upstream", &origin.url(), "--max-tunnels", max];
    let proxy = Example::start("proxy", &options).await;
    (origin, proxy)
}

/// A WebSocket of the client at an address; `None` if `Upgrade` was ignored.
async fn websocket(address: &str, proxy: &Example) -> Option<Raw> {
    let mut raw = Raw::connect_from(address, proxy.port()).await;
    raw.say(HANDSHAKE).await;
    let head = raw.hear_until("\r\n\r\n").await;
    if head.starts_with("HTTP/1.1 101 ") {
        return Some(raw);
    }
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    None
}

async fn assert_open(raw: &mut Raw) {
    raw.say("hello;").await;
    assert_eq!(raw.hear_until("hello;").await, "hello;");
}

#[tokio::test]
async fn websockets_are_bounded() {
    let (_origin, proxy) = with_room_for("1").await;
    let first = websocket("127.0.0.1", &proxy).await;
    assert!(websocket("127.0.0.1", &proxy).await.is_none());
    drop(first.expect("it is the first"));
    let begin = Instant::now();
    while websocket("127.0.0.1", &proxy).await.is_none() {
        assert!(begin.elapsed() < PATIENCE, "there is no room again");
    }
}

/// Where there are none, `Upgrade` does not lead a request past the cache.
#[tokio::test]
async fn a_request_for_a_websocket_is_one_for_a_page_where_there_are_none() {
    for (max, is_hit) in [("0", true), ("1", false)] {
        let origin = Origin::saying(fresh("page")).await;
        let options = ["--upstream", &origin.url(), "--max-tunnels", max];
        let proxy = Example::start("proxy", &options).await;
        for (line, is_hit) in [
            ("connection: close\r\n", false),
            (
                "connection: upgrade, close\r\nupgrade: websocket\r\n",
                is_hit,
            ),
            (
                "connection: upgrade, close\r\nupgrade: WebSocket\r\n",
                is_hit,
            ),
            ("connection: upgrade, close\r\nupgrade: h2c\r\n", true),
            ("connection: close\r\n", true),
        ] {
            let get = last_get("/").replacen("connection: close\r\n", line, 1);
            let said = exchange(proxy.port(), get).await;
            assert_eq!(said.contains("; hit"), is_hit, "{max} {line}: {said}");
        }
    }
}

/// P9: a client that takes all there is room for keeps no other out; it loses its oldest ones.
#[tokio::test]
async fn one_client_cannot_have_all_websockets() {
    let (_origin, proxy) = with_room_for("4").await;
    let mut greedy = Vec::new();
    for _ in 0..4 {
        greedy.extend(websocket("127.0.0.1", &proxy).await);
    }
    assert_eq!(greedy.len(), 4);
    let mut others = Vec::new();
    for _ in 0..2 {
        others.push(websocket("127.0.0.2", &proxy).await.expect("its share"));
        assert_eq!(greedy.remove(0).hear_all().await, "");
        // The greedy client has no fewer than the other: it gets none back.
        assert!(websocket("127.0.0.1", &proxy).await.is_none());
    }
    for raw in greedy.iter_mut().chain(&mut others) {
        assert_open(raw).await;
    }
}

/// No WebSocket is closed for a client that would then have as many as the others.
#[tokio::test]
async fn a_websocket_is_closed_only_for_a_client_with_fewer() {
    let (_origin, proxy) = with_room_for("2").await;
    let mut first = websocket("127.0.0.1", &proxy).await.expect("room");
    let mut second = websocket("127.0.0.2", &proxy).await.expect("room");
    assert!(websocket("127.0.0.3", &proxy).await.is_none());
    assert!(websocket("127.0.0.1", &proxy).await.is_none());
    assert_open(&mut first).await;
    assert_open(&mut second).await;
}

/// One that its upstream does not agree to has no part of what there is room for.
#[tokio::test]
async fn a_refused_websocket_leaves_its_room() {
    let origin = Origin::start(|heard| match heard.head.contains("/chat") {
        true => vec![Step::Say(AGREED.into()), Step::Echo],
        false => vec![Step::Say(ok("", "no").into_bytes())],
    })
    .await;
    let options = ["--upstream", &origin.url(), "--max-tunnels", "1"];
    let proxy = Example::start("proxy", &options).await;
    let mut refused = Raw::connect_from("127.0.0.2", proxy.port()).await;
    for _ in 0..3 {
        refused.say(HANDSHAKE.replace("/chat", "/other")).await;
        refused.hear_until("\r\n\r\nno").await;
    }
    let mut open = websocket("127.0.0.1", &proxy).await.expect("room");
    assert_open(&mut open).await;
}
