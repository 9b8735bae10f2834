//! Redis is not there, goes, hangs, comes back.

use std::time::{Duration, Instant};

use crate::faults::world::instance::Instance;
use crate::faults::world::load::Load;
use crate::faults::world::{PATHS, PAUSE, World, connections, guarded, options, patient};
use crate::support::logs::Logs;
use crate::support::redis::{RedisServer, Tap, until};

/// While the breaker is open, no more is asked than what finds out.
async fn asks_little(load: &Load, instance: &Instance) {
    let (start, before) = (Instant::now(), instance.health());
    load.goes_on(300).await;
    let after = instance.health();
    // Those who were on their way when it opened, and one for each pause, the shortest of which is
    // three quarters long.
    let probes = start.elapsed().as_millis() / (PAUSE * 3 / 4).as_millis();
    let probes = u64::try_from(probes).expect("few");
    // Lookups and invalidations have a breaker each.
    let most = 2 * (24 + probes);
    let asked = after.failures - before.failures;
    assert!(asked <= most, "{asked} of {most}: {before:?}, {after:?}");
    assert!(after.rejected > before.rejected + 100, "{after:?}");
}

#[tokio::test]
async fn one_that_is_not_there_is_done_without_and_used_when_it_comes() {
    let (logs, start) = (Logs::new(), Instant::now());
    let mut server = RedisServer::start().await;
    server.kill();
    let instance = World::default().instance(patient(options(&server.url())));
    let before = instance.health();
    let load = Load::on(&instance);
    instance.gives_up(before).await;
    asks_little(&load, &instance).await;
    assert_eq!(instance.hits(), 0);
    let (lines, seconds) = (
        logs.lines("backend lookup failed"),
        start.elapsed().as_secs() as usize,
    );
    assert!(!lines.is_empty() && lines.len() <= seconds + 2, "{lines:?}");
    assert!(lines[0].contains("cannot connect to Redis"), "{lines:?}");
    server.restart().await;
    instance.recovers().await;
    // A connection after attempts that have failed.
    assert!(instance.health().reconnects > 0, "{:?}", instance.health());
    load.end("not there at the start").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_dies_for_good_is_not_missed() {
    let mut server = RedisServer::start().await;
    let (instance, load) = Load::on_warm(options(&server.url())).await;
    let before = instance.health();
    assert_eq!(before.reconnects, 0, "{before:?}");
    server.kill();
    instance.gives_up(before).await;
    asks_little(&load, &instance).await;
    instance.write_all().await;
    assert_eq!(instance.health().undelivered, PATHS);
    load.end("killed for good").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_killed_and_comes_back_empty_is_used_again() {
    let mut server = RedisServer::start().await;
    let instance = World::default().instance(guarded(options(&server.url())));
    instance.warm().await;
    let load = Load::on(&instance);
    for _ in 0..2 {
        load.goes_on(100).await;
        let before = instance.health();
        server.kill();
        instance.gives_up(before).await;
        load.writes(PATHS).await;
        server.restart().await;
        instance.recovers().await;
    }
    load.end("killed, restarted empty").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stands_still_is_left_alone_until_it_goes_on() {
    let server = RedisServer::start().await;
    let (instance, load) = Load::on_warm(options(&server.url())).await;
    let before = instance.health();
    server.stop();
    instance.gives_up(before).await;
    asks_little(&load, &instance).await;
    server.resume();
    instance.recovers().await;
    load.end("stopped, resumed").await;
}

/// Nothing tells that these connections lead nowhere but silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_have_gone_dead_are_given_up_for_new_ones() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let options = options(&tap.url()).response_timeout(Duration::from_millis(400));
    let (instance, load) = Load::on_warm(options).await;
    let accepted = tap.accepted();
    tap.strand();
    until("there is another", async || tap.accepted() > accepted).await;
    instance.recovers().await;
    let is_left = async || tap.open() <= connections();
    until("the dead ones are left", is_left).await;
    load.end("connections gone dead").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_noticed_and_so_is_its_end() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let (instance, load) = Load::on_warm(options(&tap.url())).await;
    let before = instance.health();
    tap.black_hole();
    instance.gives_up(before).await;
    asks_little(&load, &instance).await;
    tap.pass();
    instance.recovers().await;
    load.end("black hole").await;
}
