//! Bytes of bodies that are not stored yet are counted.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::sleep;
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::{ForwardBackend, MemoryBackend};

use crate::support::origin::{Origin, answer, cacheable, scripted, slow};
use crate::support::time::{SECOND, in_virtual_time, settle};
use crate::support::{get, gets};
use crate::{burst, layer};

/// Bytes reserved for a body that does not arrive are released when the fill is given up.
#[tokio::test(start_paused = true)]
async fn a_reservation_ends_with_the_fill() {
    let scripts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = scripts.clone();
    let origin = Origin::at_once(move |_| {
        let (script, body) = scripted();
        let _ = script.send(crate::support::origin::data("x"));
        kept.lock().expect("scripts").push(script);
        let lines = [
            ("cache-control", "max-age=60"),
            ("content-length", "100000"),
        ];
        answer(200, &lines, "").map(|_| body)
    });
    let layer = layer().fill_timeout(SECOND * 5);
    let service = layer.layer(origin);
    let mut loris = service.oneshot(get("/a")).await.expect("a head");
    loris.frame().await.expect("a frame").expect("no error");
    assert!(layer.handle().stats().in_flight.bytes > 100_000);
    sleep(SECOND * 6).await;
    assert!(layer.handle().stats().in_flight.bytes < 1000);
}

/// Slow readers of a stored response cost nothing more, as those of a hit; once it is evicted they
/// are counted apart, and take no room from fills.
#[tokio::test(start_paused = true)]
async fn readers_of_a_stored_response_take_no_budget_also_when_it_is_evicted() {
    let origin = Origin::at_once(|_| cacheable(vec![7; 100_000]));
    let layer = in_virtual_time(
        MemoryBackend::builder()
            .capacity(64 << 20)
            .max_response_size(1 << 20)
            .build(),
    )
    .max_buffered_bytes(1_000_000);
    let service = layer.layer(origin);
    let mut slow = Vec::new();
    for n in 0..50 {
        slow.push(
            service
                .clone()
                .oneshot(get(&format!("/{n}")))
                .await
                .expect("a head"),
        );
        settle().await;
    }
    let stats = layer.handle().stats();
    assert_eq!((stats.stores, stats.in_flight), (50, Default::default()));
    layer.handle().clear().await.expect("cleared");
    let in_flight = layer.handle().stats().in_flight;
    assert_eq!((in_flight.bytes, in_flight.lingering_bytes), (0, 5_000_000));
    burst(&service, gets(1)).await;
    settle().await;
    assert_eq!(layer.handle().stats().stores, 51, "others are stored");
    for response in slow {
        let whole = response.into_body().collect().await.expect("a whole body");
        assert_eq!(whole.to_bytes().len(), 100_000);
    }
    assert_eq!(layer.handle().stats().in_flight, Default::default());
}

/// An impossible length is no reason to panic.
#[tokio::test(start_paused = true)]
async fn the_largest_announced_length_is_just_a_number() {
    let origin = Origin::at_once(|_| {
        let length = u64::MAX.to_string();
        let lines = [
            ("cache-control", "max-age=60"),
            ("content-length", &*length),
        ];
        let (script, body) = scripted();
        let _ = script.send(crate::support::origin::data("x"));
        answer(200, &lines, "").map(|_| body)
    });
    let service = in_virtual_time(Endless(MemoryBackend::default()))
        .max_body(u64::MAX)
        .layer(origin);
    let mut response = service.oneshot(get("/a")).await.expect("a head");
    let status = response.headers()["cache-status"].to_str().expect("text");
    assert!(status.contains("detail=budget"), "{status}");
    assert!(response.frame().await.is_some());
}

/// A backend that takes everything.
#[derive(Clone)]
struct Endless(MemoryBackend);

impl ForwardBackend for Endless {
    type Inner = MemoryBackend;

    fn inner(&self) -> &MemoryBackend {
        &self.0
    }

    fn max_response_size(&self) -> u64 {
        u64::MAX
    }
}

/// Of many large fills that begin at once some are whole, where the budget has room for some.
#[tokio::test(start_paused = true)]
async fn a_budget_that_is_too_small_for_all_is_enough_for_some() {
    let origin = slow(|_, _| {
        let (script, body) = scripted();
        for _ in 0..10 {
            let frame = Bytes::from(vec![7; 4000]);
            script
                .send(Ok(http_body::Frame::data(frame)))
                .expect("room");
        }
        let lines = [("cache-control", "max-age=60"), ("content-length", "40000")];
        answer(200, &lines, "").map(|_| body)
    });
    let layer = layer().max_buffered_bytes(5 * 44_000);
    let service = layer.layer(origin);
    let asks = (0..100).map(|n| get(&format!("/{n}")));
    let (_, answers) = burst(&service, asks).await;
    assert!(answers.iter().all(Result::is_ok));
    settle().await;
    let stats = layer.handle().stats();
    assert!(stats.stores >= 4, "{stats:?}");
    assert_eq!(stats.in_flight, Default::default());
}
