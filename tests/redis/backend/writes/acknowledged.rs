//! A write is answered when Redis has acknowledged its invalidation, and not before.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::RedisBackend;

use crate::backend::instances::{Database, Instance};
use crate::backend::{begin, options};
use crate::support::redis::{RedisServer, Tap, until};
use crate::support::{put, send};

type Layer = CacheLayer<RedisBackend>;

/// An instance behind a tap, which has read.
async fn behind(tap: &Tap, layer: fn(Layer) -> Layer, database: &Arc<Database>) -> Instance {
    let backend = options(&tap.url(), "test").max_connections(1).build();
    let instance = Instance::new(layer(CacheLayer::new(backend)), database.origin());
    instance.reads().await;
    instance
}

#[tokio::test]
async fn a_write_waits_for_the_acknowledgement() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let one = behind(&tap, |layer| layer, &Database::plain()).await;
    // The first write: then its script is loaded.
    send(&one.service, put("/a")).await;
    let before = server.calls("evalsha").await;
    // Done, and not acknowledged; then not even done.
    for is_done in [true, false] {
        match is_done {
            true => tap.hold_replies(),
            false => tap.black_hole(),
        }
        let mut write = Box::pin(send(&one.service, put("/a")));
        assert!(!begin(&mut write).await);
        if is_done {
            until("it is done", async || {
                server.calls("evalsha").await > before
            })
            .await;
        }
        for _ in 0..5 {
            sleep(Duration::from_millis(10)).await;
            assert!(!begin(&mut write).await, "answered too early");
        }
        tap.pass();
        assert_eq!(write.await.status, 200);
    }
    assert_eq!(server.calls("evalsha").await, before + 2);
    assert_eq!(one.reads().await.body, "3");
}

#[tokio::test]
async fn a_write_through_waits_for_the_acknowledgement() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let database = Database::gated(true);
    // The first read and the first write: then its lease exists and its scripts are loaded.
    database.go(2);
    let one = behind(&tap, |layer| layer.write_through(true), &database).await;
    send(&one.service, put("/a")).await;
    for (calls, version) in [(3, "2"), (4, "3")] {
        let mut write = Box::pin(send(&one.service, put("/a")));
        // Its fence exists, so the next command is the store.
        tokio::select! {
            () = database.wait_until_held(calls) => {}
            _ = &mut write => panic!("answered too early"),
        }
        tap.hold_replies();
        database.go(1);
        for _ in 0..5 {
            sleep(Duration::from_millis(10)).await;
            assert!(!begin(&mut write).await, "answered too early");
        }
        tap.pass();
        assert_eq!(write.await.body, version);
        let read = one.reads().await;
        assert!(read.is_hit());
        assert_eq!(read.body, version);
    }
}

/// A reply that is lost acknowledges nothing: the connection is given up, and another one tried.
#[tokio::test]
async fn an_invalidation_whose_reply_is_lost_is_sent_again() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let one = behind(&tap, |layer| layer, &Database::plain()).await;
    // The first write: then its script is loaded.
    send(&one.service, put("/a")).await;
    let before = server.calls("evalsha").await;
    tap.hold_replies();
    let mut write = Box::pin(send(&one.service, put("/a")));
    assert!(!begin(&mut write).await);
    until("it is done", async || {
        server.calls("evalsha").await > before
    })
    .await;
    tap.cut();
    tap.pass();
    let answer = write.await;
    assert_eq!(answer.cache_status(), "fwd=method; detail=invalidated");
    assert_eq!(server.calls("evalsha").await, before + 2);
    assert_eq!(one.reads().await.body, "2");
}
