//! Redis is slow, or busy with something else.

use std::time::{Duration, Instant};

use tower_response_cache::backend::BreakerState;

use crate::faults::world::load::Load;
use crate::faults::world::{PAUSE, World, connections, guarded, options};
use crate::support::redis::{RedisServer, Tap, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_sleeps_is_not_waited_for() {
    let server = RedisServer::start().await;
    let (instance, load) = Load::on_warm(options(&server.url())).await;
    let before = instance.health();
    let asleep = server.command(&["DEBUG", "SLEEP", "1"]);
    tokio::join!(asleep, instance.gives_up(before));
    instance.recovers().await;
    load.end("DEBUG SLEEP").await;
}

/// Every reply comes, and each too late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_always_slow_is_not_asked() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let (instance, load) = Load::on_warm(options(&tap.url())).await;
    let before = instance.health();
    tap.delay(Duration::from_millis(300));
    instance.gives_up(before).await;
    load.goes_on(300).await;
    assert!(instance.health().rejected > before.rejected);
    tap.pass();
    instance.recovers().await;
    load.end("a delay of 300 ms").await;
}

/// `BUSY`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_busy_with_a_script_is_not_waited_for() {
    let config = RedisServer::configure().line("lua-time-limit 50");
    let server = config.start().await;
    let (instance, load) = Load::on_warm(options(&server.url())).await;
    let before = instance.health();
    let endless = server.command(&["EVAL", "while true do end", "0"]);
    let until_killed = async {
        instance.gives_up(before).await;
        load.goes_on(200).await;
        until("the script is killed", async || {
            server.command(&["SCRIPT", "KILL"]).await.text() == "OK"
        })
        .await;
    };
    let (ended, ()) = tokio::join!(endless, until_killed);
    assert!(ended.is_error());
    instance.recovers().await;
    load.end("busy with a script").await;
}

/// One finds out, for all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_it_comes_back_one_of_many_asks_first() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let instance = World::default().instance(guarded(options(&tap.url())));
    instance.warm().await;
    tap.refuse();
    instance
        .until_reading("the breaker opens", |instance| {
            instance.health().breaker != BreakerState::Closed
        })
        .await;
    let (start, before, accepted) = (Instant::now(), instance.health(), tap.accepted());
    let load = Load::nobody().readers(&instance, 64, 3);
    instance
        .until("three have found out", |instance| {
            instance.health().failures >= before.failures + 3
        })
        .await;
    // The first of the three may have been due at once.
    assert!(start.elapsed() >= PAUSE * 3 / 4 * 2);
    load.goes_on(300).await;
    tap.pass();
    instance.recovers().await;
    load.goes_on(500).await;
    let made = tap.accepted() - accepted;
    let failed = instance.health().failures - before.failures;
    let most = failed as usize + connections() + 1;
    assert!(made <= most, "{made} for {failed}");
    let are_few = async || tap.open() <= connections();
    until(
        "there are no more connections than one instance has",
        are_few,
    )
    .await;
    load.end("64 readers come back").await;
}

/// Reads are answered, writes are not: each costs its deadline, and its resource is not read from
/// there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_only_answers_reads_is_not_read_for_written_resources() {
    let server = RedisServer::start().await;
    let (instance, load) = Load::on_warm(options(&server.url())).await;
    let failed = || instance.handle.stats().failed_invalidations;
    let before = failed();
    server.command(&["CLIENT", "PAUSE", "1000", "WRITE"]).await;
    instance
        .until("a write is not acknowledged", |_| failed() > before)
        .await;
    assert!(!instance.owes_nothing());
    instance.recovers().await;
    load.end("CLIENT PAUSE WRITE").await;
}
