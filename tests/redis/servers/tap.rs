//! The wire in front of them.

use std::time::{Duration, Instant};

use crate::servers::{Client, END, PONG, some};
use crate::support::redis::{RedisServer, Tap, until};

async fn server_and_tap() -> (RedisServer, Tap) {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    (server, tap)
}

#[tokio::test]
async fn a_tap_passes_and_delays() {
    let (_server, tap) = server_and_tap().await;
    let mut client = Client::to(tap.port()).await;
    assert_eq!(client.asks("PING").await, some(PONG));
    let time = Duration::from_millis(60);
    tap.delay(time);
    let start = Instant::now();
    assert_eq!(client.asks("PING").await, some(PONG));
    assert!(start.elapsed() >= time * 2);
    tap.pass();
    assert_eq!(client.asks("PING").await, some(PONG));
    assert_eq!((tap.accepted(), tap.open()), (1, 1));
    drop(client);
    until("it is closed", async || tap.open() == 0).await;
}

#[tokio::test]
async fn a_black_hole_holds_everything() {
    let (mut server, tap) = server_and_tap().await;
    let mut old = Client::to(tap.port()).await;
    assert_eq!(old.asks("PING").await, some(PONG));
    tap.black_hole();
    let mut new = Client::to(tap.port()).await;
    old.say("PING").await;
    old.hears_nothing().await;
    new.say("PING").await;
    new.hears_nothing().await;
    tap.pass();
    assert_eq!(old.hears().await, some(PONG));
    assert_eq!(new.hears().await, some(PONG));
    tap.black_hole();
    server.kill();
    // Nor does it let on that the other end is gone.
    old.hears_nothing().await;
    drop(new);
    until("it has left", async || tap.open() == 1).await;
    let mut abandoned = Client::to(tap.port()).await;
    abandoned.say("PING").await;
    until("it is there", async || tap.open() == 2).await;
    drop(abandoned);
    until("it has left, too", async || tap.open() == 1).await;
    tap.pass();
    assert_eq!(old.hears().await, some(END));
}

#[tokio::test]
async fn a_tap_cuts_and_refuses() {
    let (server, tap) = server_and_tap().await;
    let mut client = Client::to(tap.port()).await;
    assert_eq!(client.asks("PING").await, some(PONG));
    tap.cut();
    assert_eq!(client.hears().await, some(END));
    let mut client = Client::to(tap.port()).await;
    assert_eq!(client.asks("PING").await, some(PONG));
    tap.refuse();
    assert_eq!(client.hears().await, some(END));
    let mut refused = Client::to(tap.port()).await;
    assert_eq!(refused.hears().await, some(END));
    until("all are closed", async || tap.open() == 0).await;
    assert_eq!(tap.accepted(), 3);
    tap.pass();
    let mut client = Client::to(tap.port()).await;
    assert_eq!(client.asks("PING").await, some(PONG));
    assert_eq!(server.calls("ping").await, 3);
}

#[tokio::test]
async fn a_tap_spoils_replies() {
    let (server, tap) = server_and_tap().await;
    let mut client = Client::to(tap.port()).await;
    tap.garble(b"?!\r\n");
    assert_eq!(client.asks("INCR n").await, some("?!\r\n"));
    tap.lose_replies();
    client.say("INCR n").await;
    client.hears_nothing().await;
    tap.pass();
    assert_eq!(client.asks("INCR n").await, some(":3\r\n"));
    tap.hold_replies();
    client.say("DECR n").await;
    until("it is done", async || server.calls("decr").await == 1).await;
    client.hears_nothing().await;
    tap.pass();
    assert_eq!(client.hears().await, some(":2\r\n"));
    tap.truncate(PONG.len() + 3);
    assert_eq!(client.asks("PING").await, some(PONG));
    assert_eq!(client.asks("PING").await, some("+PO"));
    assert_eq!(client.hears().await, some(END));
    assert_eq!(server.command(&["GET", "n"]).await, "2".into());
}

#[tokio::test]
async fn a_tap_leads_elsewhere() {
    let (one, tap) = server_and_tap().await;
    let other = RedisServer::start().await;
    let mut client = Client::to(tap.port()).await;
    client.asks("SET a 1").await;
    tap.clone().switch(other.port());
    assert_eq!(client.hears().await, some(END));
    let mut client = Client::to(tap.port()).await;
    client.asks("SET a 2").await;
    assert_eq!(one.command(&["GET", "a"]).await, "1".into());
    assert_eq!(other.command(&["GET", "a"]).await, "2".into());
}

#[tokio::test]
async fn a_tap_strands_those_who_are_there() {
    let (_server, tap) = server_and_tap().await;
    let mut old = Client::to(tap.port()).await;
    assert_eq!(old.asks("PING").await, some(PONG));
    tap.strand();
    old.say("PING").await;
    let mut new = Client::to(tap.port()).await;
    assert_eq!(new.asks("PING").await, some(PONG));
    old.hears_nothing().await;
    drop(old);
    until("it has left", async || tap.open() == 1).await;
}

#[tokio::test]
async fn a_tap_inserts_unsolicited_bytes() {
    let (_server, tap) = server_and_tap().await;
    let mut client = Client::to(tap.port()).await;
    tap.interject(b":1\r\n");
    assert_eq!(client.asks("PING").await, some(":1\r\n+PONG\r\n"));
    assert_eq!(client.asks("PING").await, some(PONG));
}
