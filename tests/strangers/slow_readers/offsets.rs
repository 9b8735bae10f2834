//! Readers that stop within a body that is not kept hold up no other reader, however many they are
//! and wherever they stop: each has a body of its own.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use super::{KIB, MIB, in_chunks, read_up_to};
use crate::support::get;
use crate::support::origin::Origin;
use crate::support::time::{SECOND, in_virtual_time, settle};

const SIZE: usize = 16 * MIB;

/// The time that two honest readers take beside others which stop at these offsets.
async fn time_beside(layer: CacheLayer<MemoryBackend>, stops: Vec<usize>) -> Duration {
    let origin = Origin::at_once(|_| {
        let lines = [("cache-control", "max-age=60")];
        in_chunks(200, &lines, SIZE, false)
    });
    let service = layer.layer(origin);
    let begun = Instant::now();
    let (mut stopping, mut reading) = (JoinSet::new(), JoinSet::new());
    for stop in stops {
        let response = service.clone().oneshot(get("/a"));
        stopping.spawn(async move {
            let mut response = response.await.expect("a head");
            read_up_to(&mut response, stop).await;
            sleep(SECOND * 10_000).await;
            drop(response);
        });
    }
    for _ in 0..2 {
        let response = service.clone().oneshot(get("/a"));
        reading.spawn(async move {
            let mut response = response.await.expect("a head");
            read_up_to(&mut response, usize::MAX).await
        });
    }
    for read in reading.join_all().await {
        assert_eq!(read, SIZE);
    }
    let took = begun.elapsed();
    stopping.abort_all();
    settle().await;
    took
}

/// Promise: no client can slow down a fill that others wait for.
#[tokio::test(start_paused = true)]
async fn readers_that_stop_delay_no_other() {
    for count in [1, 2, 5, 10] {
        for apart in [16 * KIB, MIB] {
            let stops: Vec<_> = (1..=count).map(|number| MIB + number * apart).collect();
            // Beyond the largest body, and beyond what may be buffered.
            let layer = in_virtual_time(MemoryBackend::default());
            let took = time_beside(layer, stops.clone()).await;
            assert!(took.is_zero(), "{count}: {took:?}");
            let layer = in_virtual_time(MemoryBackend::default())
                .max_body(64 * MIB as u64)
                .max_buffered_bytes(4 * MIB as u64);
            let took = time_beside(layer, stops).await;
            assert!(took <= SECOND * 10, "{count}: {took:?}");
        }
    }
}
