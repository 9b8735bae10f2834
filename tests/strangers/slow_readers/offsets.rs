//! Readers that stop hold up the other readers of the same body once, however many they are and
//! wherever they stop.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_response_cache::backend::MemoryBackend;

use super::{KIB, MIB, one_call, read_up_to, shared_heads};
use crate::support::time::{SECOND, in_virtual_time, settle};

const SLOW_READER_TIMEOUT: Duration = Duration::from_secs(10);

/// The time that two honest readers of 16 MiB take beside others which stop at these offsets.
async fn time_beside(stops: Vec<usize>) -> Duration {
    const SIZE: usize = 16 * MIB;
    let (script, origin) = one_call();
    let service = in_virtual_time(MemoryBackend::default()).layer(origin);
    let mut stalled = shared_heads(&service, stops.len() + 2, (script, SIZE)).await;
    let honest = stalled.split_off(stops.len());
    let stalled = stalled.into_iter().zip(stops);
    let begun = Instant::now();
    let stopping = stalled.map(|(mut response, stop)| {
        tokio::spawn(async move {
            read_up_to(&mut response, stop).await;
            sleep(SECOND * 10_000).await;
            drop(response);
        })
    });
    let stopping: Vec<_> = stopping.collect();
    let reading = honest.into_iter().map(|mut response| {
        tokio::spawn(async move { read_up_to(&mut response, usize::MAX).await })
    });
    let reading: Vec<_> = reading.collect();
    for read in reading {
        assert_eq!(read.await.expect("no panic"), SIZE);
    }
    let took = begun.elapsed();
    stopping.iter().for_each(|reader| reader.abort());
    settle().await;
    took
}

/// Promise: no client can slow down a fill that others wait for, for more than the timeout.
#[tokio::test(start_paused = true)]
async fn readers_that_stop_within_a_window_delay_the_others_once() {
    for count in [1, 2, 5, 10] {
        let stops = (1..=count).map(|number| 2 * MIB + number * 16 * KIB);
        let took = time_beside(stops.collect()).await;
        assert!(took <= SLOW_READER_TIMEOUT + SECOND, "{count}: {took:?}");
    }
}

/// Stops further apart than the window: the later readers have less and less time.
#[tokio::test(start_paused = true)]
async fn readers_that_stop_far_apart_delay_the_others_once() {
    for count in [1, 2, 5, 10] {
        let stops = (1..=count).map(|number| MIB + number * MIB);
        let took = time_beside(stops.collect()).await;
        assert!(took <= SLOW_READER_TIMEOUT * 3 / 2, "{count}: {took:?}");
    }
}
