//! Invalidations that could not be delivered are delivered in batches.

use std::time::{Duration, Instant};

use tower::Layer;
use tower_response_cache::backend::{
    Backend as _, Group, Guarded, Health, InvalidationTarget, RedisBackend,
};
use tower_response_cache::{CacheHandle, CacheLayer};

use super::{Cost, Measured};
use crate::support::origin::{Origin, answer};
use crate::support::redis::until;
use crate::support::sample::Sample;
use crate::support::{put, send};

/// An instance that owes the invalidations of so many writes, which succeeded or failed.
async fn owing(measured: &Measured, writes: usize, is_unknown: bool) -> CacheHandle<Backend> {
    let backend = measured.options().build();
    backend.connect().await.expect("a connection");
    let backend = Guarded::new(backend)
        .half_open_after(Duration::from_millis(20))
        .max_half_open_delay(Duration::from_millis(20))
        .invalidation_deadline(Duration::from_secs(10));
    let layer = CacheLayer::new(backend).write_grace_window(Duration::from_secs(3600));
    let handle = layer.handle();
    let service = layer.layer(Origin::at_once(move |_| {
        answer(if is_unknown { 500 } else { 204 }, &[], "")
    }));
    measured.tap.refuse();
    for number in 0..writes {
        send(&service, put(&format!("/{number}"))).await;
    }
    assert_eq!(health(&handle).undelivered, writes);
    handle
}

type Backend = Guarded<RedisBackend>;

fn health(handle: &CacheHandle<Backend>) -> Health {
    handle.stats().health.expect("it is guarded")
}

/// Lets the backend reach its server again; returns the cost of the delivery, and its time.
async fn delivered(
    measured: &Measured,
    handle: &CacheHandle<Backend>,
    delay: Duration,
) -> (Cost, Duration) {
    let before = health(handle).replayed;
    let mut time = Duration::ZERO;
    let cost = measured.cost_with_checks("replay", async || {
        match delay {
            Duration::ZERO => measured.tap.pass(),
            delay => measured.tap.delay(delay),
        }
        let has_begun = async || health(handle).replayed > before;
        until("the first is delivered", has_begun).await;
        let start = Instant::now();
        let is_done = async || health(handle).undelivered == 0;
        until("all are delivered", is_done).await;
        time = start.elapsed();
    });
    (cost.await, time)
}

/// Replay in batches.
#[tokio::test]
async fn a_thousand_owed_invalidations_are_a_handful_of_commands() {
    let measured = Measured::start().await;
    for is_unknown in [false, true] {
        let handle = owing(&measured, 1000, is_unknown).await;
        let (cost, time) = delivered(&measured, &handle, Duration::ZERO).await;
        println!("{cost} {time:?}");
        // A new connection, which loads five scripts; then 1, 2, 4 and so on to 256, after the
        // failures of the outage.
        assert!(cost.commands <= 5 + 16, "{cost:?}");
        assert_eq!(health(&handle).replayed, 1000);
    }
}

/// 16,384 owed invalidations, Redis 2 ms away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_as_are_remembered_are_delivered_in_few_round_trips() {
    let measured = Measured::start().await;
    let handle = owing(&measured, 16_384, false).await;
    let (cost, time) = delivered(&measured, &handle, Duration::from_millis(1)).await;
    println!("{cost} {time:?}");
    // 160 ms on the way, at 2 ms each.
    assert!(cost.round_trips <= 80, "{cost:?}");
    // The rest is work of this machine, which others use too.
    assert!(time < Duration::from_secs(5), "{time:?}");
}

/// Each of a batch has its effect: entries, leases and fences are gone.
#[tokio::test]
async fn a_batch_invalidates_every_one_of_its_targets() {
    let measured = Measured::start().await;
    for grace in [None, Some(Duration::from_secs(3600))] {
        measured.tap.pass();
        measured.server.command(&["FLUSHALL"]).await;
        let backend = measured.options().build();
        let mut samples = Vec::new();
        for number in 0..300 {
            let body: &'static str = number.to_string().leak();
            let sample = Sample::of(&backend, &format!("/{number}"), body).await;
            sample.store(&backend).await;
            samples.push(sample);
        }
        let kept = Sample::of(&backend, "/kept", "kept").await;
        kept.store(&backend).await;
        let mut targets: Vec<_> = samples
            .iter()
            .map(|sample| InvalidationTarget::Resource(*sample.key.resource()))
            .collect();
        targets.push(InvalidationTarget::Group(Group::from_digest(1)));
        let many = backend.invalidate_many(&targets, grace);
        many.await.expect("it is acknowledged");
        assert_eq!(measured.keys("e").await.len(), 1);
        let leases = if grace.is_some() { 301 } else { 1 };
        assert_eq!(measured.keys("l").await.len(), leases);
        for sample in &samples {
            assert_eq!(sample.body(&backend).await, None);
        }
        assert_eq!(kept.body(&backend).await.as_deref(), Some("kept"));
    }
}
