//! Another server is the primary, or this one no longer is.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::faults::world::load::Load;
use crate::faults::world::{PATHS, World, guarded, options};
use crate::support::redis::{RedisServer, Reply, Tap, until};

/// No server listens there.
const NOWHERE: [&str; 3] = ["REPLICAOF", "127.0.0.1", "1"];
const AGAIN: [&str; 3] = ["REPLICAOF", "NO", "ONE"];

/// It still has the stored responses, and refuses to delete them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_a_replica_refuses_is_not_forgotten() {
    let server = RedisServer::start().await;
    let world = World::default();
    let options = options(&server.url());
    let (instance, other) = (
        world.instance(guarded(options.clone())),
        world.instance(guarded(options)),
    );
    instance.warm().await;
    let load = Load::on(&instance);
    load.goes_on(100).await;
    let before = instance.health();
    server.command(&NOWHERE).await;
    instance.gives_up(before).await;
    load.writes(PATHS * 2).await;
    load.end("READONLY").await;
    assert!(instance.health().undelivered > 0);
    // It still has the stored responses, and another primary is in charge now.
    world.promises_all();
    server.command(&AGAIN).await;
    let load = Load::nobody().readers(&other, 2, 2);
    other.recovers().await;
    let load = load.readers(&instance, 3, 2);
    instance.recovers().await;
    let load = load.writers(&instance, 1);
    load.writes(PATHS).await;
    load.end("READONLY, then not").await;
}

/// The name leads to another primary.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_primary_is_found_by_its_name() {
    let (one, other) = (RedisServer::start().await, RedisServer::start().await);
    let tap = Tap::to(one.port()).await;
    let instance = World::default().instance(guarded(options(&tap.url())));
    instance.warm().await;
    let load = Load::on(&instance);
    load.goes_on(100).await;
    let before = instance.health();
    one.command(&NOWHERE).await;
    instance.gives_up(before).await;
    tap.switch(other.port());
    instance.recovers().await;
    assert!(other.calls("unlink").await > 0);
    load.end("READONLY, then another").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_replica_that_missed_a_write_serves_nothing_old() {
    let primary = RedisServer::start().await;
    let wire = Tap::to(primary.port()).await;
    let line = format!("replicaof 127.0.0.1 {}", wire.port());
    let replica = RedisServer::configure().line(line).start().await;
    replica.follows().await;
    let (tap, world) = (Tap::to(primary.port()).await, World::default());
    let options = options(&tap.url());
    let one = world.instance(guarded(options.clone()));
    let other = world.instance(guarded(options));
    one.warm().await;
    let keys = primary.command(&["DBSIZE"]).await;
    until("the replica has it all", async || {
        replica.command(&["DBSIZE"]).await == keys
    })
    .await;
    wire.refuse();
    let load = Load::nobody().readers(&one, 3, 2).readers(&other, 3, 2);
    one.write_all().await;
    load.goes_on(100).await;
    assert_eq!(replica.command(&["DBSIZE"]).await, keys, "as it was");
    assert_eq!(replica.command(&AGAIN).await, Reply::ok());
    tap.switch(replica.port());
    one.recovers().await;
    other.recovers().await;
    let load = load.writers(&one, 1);
    load.writes(PATHS).await;
    load.end("a replica that missed a write").await;
}

/// There are no writes that would tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_primary_is_noticed_without_a_write() {
    let server = RedisServer::start().await;
    let instance = World::default().instance(guarded(options(&server.url())));
    instance.warm().await;
    let load = Load::nobody().readers(&instance, 5, 1);
    load.goes_on(300).await;
    let before = instance.health();
    server.command(&NOWHERE).await;
    instance.gives_up(before).await;
    server.command(&AGAIN).await;
    instance.recovers().await;
    load.end("demoted, no writes").await;
}

/// What the documentation of the backend says.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);

/// The last reading was before the demotion, and the next is so long after it.
async fn assert_left(pause: Duration) {
    let server = RedisServer::start().await;
    let instance = World::default().instance(guarded(options(&server.url())));
    instance.warm().await;
    server.command(&NOWHERE).await;
    let demoted = Instant::now();
    sleep(pause).await;
    while demoted.elapsed() < NOTICED_WITHIN + Duration::from_millis(500) {
        let after = demoted.elapsed();
        let is_hit = instance.read(0, 0).await.is_hit();
        assert!(!is_hit || after < NOTICED_WITHIN, "a hit after {after:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_primary_is_left_within_the_documented_bound() {
    assert_left(Duration::ZERO).await;
}

/// An idle connection, which no check has followed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_primary_is_left_within_the_documented_bound_after_a_pause() {
    for pause in [1100, 2050] {
        assert_left(Duration::from_millis(pause)).await;
    }
}
