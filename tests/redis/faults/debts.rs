//! Writes that Redis was not told of, or has forgotten.

use std::time::Duration;

use tower_response_cache::backend::BreakerState;

use crate::faults::world::load::Load;
use crate::faults::world::{PATHS, World, guarded, options};
use crate::support::redis::{RedisServer, Reply, Tap, until};

/// Responses synced to disk before a write are back after it, and are not served: neither where the
/// write was made nor elsewhere, not even if the writing instance has died before it delivered the
/// invalidation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_data_that_comes_back_is_never_served() {
    let mut server = RedisServer::configure().append_only().start().await;
    let (world, options) = (World::default(), options(&server.url()));
    let reader = world.instance(guarded(options.clone()));
    for is_writer_lost in [false, true] {
        let writer = world.instance(guarded(options.clone()));
        writer.warm().await;
        let load = Load::nobody().readers(&reader, 3, 2).readers(&writer, 2, 2);
        load.goes_on(100).await;
        let (before, before_kill) = (reader.health(), epoch(&server).await);
        server.kill();
        writer.write_all().await;
        assert_eq!(writer.health().undelivered, PATHS);
        world.promises_all();
        let load = match is_writer_lost {
            false => load,
            true => {
                load.end("old data, before the writer dies").await;
                Load::nobody().readers(&reader, 5, 2)
            }
        };
        reader.gives_up(before).await;
        let writer = (!is_writer_lost).then_some(writer);
        server.restart().await;
        // The writer may have removed its entries by now.
        assert_eq!(epoch(&server).await, before_kill, "old data is back");
        reader.recovers().await;
        if let Some(writer) = &writer {
            writer.recovers().await;
        }
        load.end("restarted with old data").await;
    }
}

/// The token of the one namespace, which is created only where it is absent.
async fn epoch(server: &RedisServer) -> Reply {
    let names = server.names("*:n").await;
    let [name] = &names[..] else {
        panic!("{names:?}");
    };
    server.command(&["GET", name]).await
}

/// Done, but not acknowledged: that is as good as not done, until it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_acknowledgement_is_noted_before_the_write_is_answered() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let instance = World::default().instance(guarded(options(&tap.url())));
    instance.warm().await;
    let load = Load::nobody().readers(&instance, 5, 2);
    for _ in 0..2 {
        load.goes_on(100).await;
        tap.lose_replies();
        instance.write(0).await;
        assert_eq!(instance.health().undelivered, 1);
        let before = instance.handle.stats().invalidations;
        for number in 0..3 {
            assert!(!instance.read(0, number).await.is_hit());
        }
        load.goes_on(100).await;
        assert_eq!(instance.health().undelivered, 1);
        let replayed = instance.health().replayed;
        tap.pass();
        instance.recovers().await;
        assert!(instance.health().replayed > replayed);
        assert_eq!(
            instance.handle.stats().invalidations,
            before,
            "no other write"
        );
    }
    load.end("lost acknowledgements").await;
}

/// Invalidations too many to be kept one by one become a clear, before anything is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_much_to_remember_clears_everything_first() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let options = options(&tap.url())
        .try_namespace("small")
        .expect("a namespace");
    let backend = guarded(options).max_undelivered(PATHS - 1);
    let instance = World::default().instance(backend);
    instance.warm().await;
    let epoch = server.command(&["GET", "small:n"]).await;
    let load = Load::on(&instance);
    load.goes_on(100).await;
    tap.refuse();
    instance.write_all().await;
    let health = instance.health();
    assert!(
        health.to_be_cleared && health.undelivered == 0,
        "{health:?}"
    );
    load.goes_on(100).await;
    let hits = instance.hits();
    load.goes_on(100).await;
    assert_eq!(instance.hits(), hits);
    tap.pass();
    instance.recovers().await;
    until("there is another epoch", async || {
        let now = server.command(&["GET", "small:n"]).await;
        now != Reply::Nil && now != epoch
    })
    .await;
    load.end("too much to remember").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_delivers_pending_invalidations_once_that_is_possible() {
    let server = RedisServer::start().await;
    let (tap, world) = (Tap::to(server.port()).await, World::default());
    let options = options(&tap.url());
    let leaving = world.instance(guarded(options.clone()));
    leaving.warm().await;
    tap.refuse();
    leaving.write_all().await;
    assert_eq!(leaving.health().undelivered, PATHS);
    leaving.handle.shutdown(Duration::from_millis(50)).await;
    assert_eq!(
        leaving.health().undelivered,
        PATHS,
        "there was nobody to tell"
    );
    let shutdown = leaving.handle.shutdown(Duration::from_secs(60));
    let comes_back = async {
        let failures = leaving.health().failures;
        let has_tried = |failed: u64| failed > failures;
        leaving
            .until("it has tried", |leaving| {
                has_tried(leaving.health().failures)
            })
            .await;
        tap.pass();
    };
    tokio::join!(shutdown, comes_back);
    assert!(leaving.owes_nothing());
    world.promises_all();
    assert_eq!(leaving.health().breaker, BreakerState::Closed);
    let staying = world.instance(guarded(options));
    for path in 0..PATHS {
        staying.read(path, 0).await;
    }
}

/// A write that stores its answer invalidates in the same step, which may be carried out late,
/// twice or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_stored_by_a_write_is_not_older_than_another_write() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let instance = World::writing_through().instance(guarded(options(&tap.url())));
    instance.warm().await;
    let stores = instance.handle.stats().stores;
    until("a write stores", async || {
        instance.write(0).await;
        instance.handle.stats().stores > stores
    })
    .await;
    let load = Load::on(&instance).writers(&instance, 2);
    for spoil in [Tap::lose_replies, Tap::black_hole, Tap::cut, Tap::refuse] {
        for _ in 0..3 {
            load.goes_on(30).await;
            spoil(&tap);
            load.writes(6).await;
            tap.pass();
        }
        instance.recovers().await;
    }
    load.end("write-through").await;
}
