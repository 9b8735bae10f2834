//! Responses that were removed from the store while clients still read them: their bytes are
//! counted, and bounded.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use http::Response;
use http_body_util::BodyExt;
use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::backend::codec::{self, Decoded};
use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, Lookup, MemoryBackend, MemoryFence,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::CacheKey;
use tower_response_cache::{CacheHandle, CacheLayer};

use super::{KIB, MIB, head_of, time_until_stored};
use crate::support::origin::{Origin, answer, cacheable};
use crate::support::time::{SECOND, in_virtual_time, settle};
use crate::support::{get, send, with};

/// Promise: memory means bytes, also those that slow readers keep after eviction.
#[test]
fn stalled_hits_on_evicted_responses_hold_bounded_memory() {
    let mut figures = String::new();
    let mut stored = None;
    let measured = measure(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let (held, waited) = runtime.block_on(async {
            let origin = Origin::at_once(|request| {
                let is_new = request.uri().path().starts_with("/new");
                cacheable(vec![7; if is_new { 100 * KIB } else { MIB - KIB }])
            });
            let layer = in_virtual_time(MemoryBackend::default());
            let service = layer.layer(origin);
            let mut stalled: Vec<Response<_>> = Vec::new();
            for number in 0..600 {
                let path = format!("/{number}");
                send(&service, get(&path)).await;
                settle().await;
                let response = head_of(&service, get(&path)).await;
                let status = response.headers()["cache-status"].to_str().expect("text");
                if status.contains("; hit") {
                    stalled.push(response);
                }
            }
            figures = format!(
                "{} hits, {:?}",
                stalled.len(),
                layer.handle().stats().in_flight
            );
            let waited = time_until_stored(&service, SECOND * 600).await;
            (stalled, waited)
        });
        stored = waited;
        // Measured while they are held.
        std::mem::forget(held);
        drop(runtime);
    });
    let held = measured.bytes_current / MIB as i64;
    println!("{held} MiB held by {figures}");
    assert_eq!(stored, Some(Duration::ZERO), "new pages are stored");
    // Some of these are still stored: the capacity is 64 MiB.
    assert!(held <= 64 + 64, "{held} MiB by {figures}");
}

/// What a cache says of the bytes of removed responses.
fn lingering(handle: &CacheHandle<MemoryBackend>) -> usize {
    handle.stats().in_flight.lingering_bytes as usize
}

fn layer() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default())
}

/// However a response is removed, its readers are counted from then on, until they end.
#[tokio::test(start_paused = true)]
async fn bytes_of_removed_responses_are_counted_until_their_readers_end() {
    const SIZE: usize = 100 * KIB;
    for removal in ["clear", "invalidate", "replace", "expire", "evict"] {
        let versions = AtomicUsize::new(0);
        let origin = Origin::at_once(move |_| {
            let version = versions.fetch_add(1, Ordering::SeqCst).to_string();
            let fields = [("cache-control", "max-age=60"), ("x-version", &*version)];
            answer(200, &fields, vec![7; SIZE])
        });
        let capacity = 8 * SIZE as u64;
        let layer = in_virtual_time(
            MemoryBackend::builder()
                .capacity(capacity)
                .max_response_size(2 * SIZE as u64)
                .build(),
        );
        let (service, handle) = (layer.layer(origin), layer.handle());
        send(&service, get("/a")).await;
        settle().await;
        let whole = head_of(&service, get("/a")).await;
        let part = head_of(&service, with(get("/a"), "range", "bytes=0-9")).await;
        assert_eq!(lingering(&handle), 0, "{removal}");
        match removal {
            "clear" => handle.clear().await.expect("cleared"),
            "invalidate" => handle.invalidate("/a").await.expect("invalidated"),
            "replace" => {
                send(&service, with(get("/a"), "cache-control", "no-cache")).await;
            }
            "expire" => {
                sleep(SECOND * 100_000).await;
                for number in 0..70 {
                    send(&service, get(&format!("/{number}"))).await;
                    settle().await;
                }
            }
            _ => {
                for number in 0..200 {
                    send(&service, get(&format!("/{number}"))).await;
                    settle().await;
                }
            }
        }
        settle().await;
        assert_eq!(lingering(&handle), SIZE, "{removal}");
        drop(whole);
        assert_eq!(
            lingering(&handle),
            SIZE,
            "{removal}: the part holds all of it"
        );
        drop(part);
        assert_eq!(lingering(&handle), 0, "{removal}");
    }
}

/// A 304 makes a new stored response of the old bytes: these are stored, not left to readers.
#[tokio::test(start_paused = true)]
async fn bytes_that_a_304_confirms_are_stored_once() {
    const SIZE: usize = 100 * KIB;
    let origin = Origin::at_once(|request| {
        let fields = [("cache-control", "no-cache"), ("etag", "\"1\"")];
        match request.headers().contains_key("if-none-match") {
            true => answer(304, &fields, ""),
            false => answer(200, &fields, vec![7; SIZE]),
        }
    });
    let layer = layer();
    let (service, handle) = (layer.layer(origin), layer.handle());
    let first = head_of(&service, get("/a")).await;
    settle().await;
    let mut readers = vec![first];
    for _ in 0..5 {
        readers.push(head_of(&service, get("/a")).await);
        settle().await;
        assert_eq!(lingering(&handle), 0);
    }
    assert!(handle.stats().validations >= 5);
    handle.clear().await.expect("cleared");
    let held = lingering(&handle);
    assert!(held > 0);
    drop(readers);
    assert_eq!(handle.stats().in_flight, Default::default());
}

/// The readers of a fill read the stored bytes: they count when these are removed, and take no
/// room from other fills.
#[tokio::test(start_paused = true)]
async fn readers_of_fills_count_when_the_stored_response_is_removed() {
    let origin = Origin::at_once(|_| cacheable(vec![7; 100 * KIB]));
    let layer = layer().max_buffered_bytes(400 * KIB as u64);
    let (service, handle) = (layer.layer(origin), layer.handle());
    let mut stalled = Vec::new();
    for number in 0..50 {
        stalled.push(head_of(&service, get(&format!("/{number}"))).await);
        settle().await;
    }
    handle.clear().await.expect("cleared");
    let in_flight = handle.stats().in_flight;
    assert_eq!(
        in_flight.lingering_bytes as usize,
        50 * 100 * KIB,
        "{in_flight:?}"
    );
    assert_eq!((in_flight.bytes, in_flight.unread_bytes), (0, 0));
    let waited = time_until_stored(&service, SECOND * 600).await;
    assert_eq!(waited, Some(Duration::ZERO));
    for response in stalled {
        let whole = response.into_body().collect().await.expect("a whole body");
        assert_eq!(whole.to_bytes().len(), 100 * KIB);
    }
    assert_eq!(handle.stats().in_flight, Default::default());
}

/// Large responses are refused before small ones, and none while nothing lingers.
#[tokio::test(start_paused = true)]
async fn the_limit_refuses_large_responses_before_small_ones() {
    let origin = Origin::at_once(|request| {
        let size = request.uri().path().rsplit('/').next().expect("a size");
        cacheable(vec![7; size.parse().expect("a number")])
    });
    let layer = layer().max_lingering_bytes(2_000_000);
    let (service, handle) = (layer.layer(origin), layer.handle());
    let mut stalled = Vec::new();
    let mut stores = async |size: usize, number: usize, keep: bool| {
        let path = format!("/{number}/{size}");
        let before = handle.stats().stores;
        let response = head_of(&service, get(&path)).await;
        settle().await;
        if keep {
            stalled.push(response);
        }
        handle.stats().stores > before
    };
    assert!(stores(600_000, 0, true).await);
    assert!(stores(600_000, 4, true).await);
    handle.clear().await.expect("cleared");
    // 800,000 bytes are left: an eighth of it is 100,000.
    assert!(!stores(110_000, 1, false).await);
    assert!(stores(90_000, 2, false).await);
    assert!(stores(4000, 3, false).await);
    stalled.clear();
    assert!(handle.stats().in_flight.lingering_bytes == 0);
}

/// A backend outside of this process: each lookup makes a response of its own.
#[derive(Clone)]
struct Copying(MemoryBackend);

impl ForwardBackend for Copying {
    type Inner = MemoryBackend;

    fn inner(&self) -> &MemoryBackend {
        &self.0
    }

    fn get_now(&self, _: &CacheKey) -> Option<Lookup<MemoryFence>> {
        None
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<MemoryFence>, BackendError> {
        Ok(match self.0.get(key, now).await? {
            Lookup::Found(response, fence) => {
                let bytes = codec::encode(&response, now, 0, b"");
                match codec::decode(&bytes, now, |_| Some(Duration::ZERO)) {
                    Ok(Decoded::Response(copy)) => Lookup::Found(copy, fence),
                    other => panic!("{other:?}"),
                }
            }
            other => other,
        })
    }
}

/// Hits from a backend outside of this process have a copy each: these are counted, and stop no
/// one from storing.
#[tokio::test(start_paused = true)]
async fn copies_from_other_processes_are_counted_apart() {
    const SIZE: usize = 100 * KIB;
    let origin = Origin::at_once(|_| cacheable(vec![7; SIZE]));
    let layer = in_virtual_time(Copying(MemoryBackend::default())).max_lingering_bytes(SIZE as u64);
    let (service, handle) = (layer.layer(origin), layer.handle());
    send(&service, get("/a")).await;
    settle().await;
    let mut stalled = Vec::new();
    for _ in 0..600 {
        stalled.push(head_of(&service, get("/a")).await);
    }
    drop(head_of(&service, with(get("/a"), "if-none-match", "*")).await);
    let in_flight = handle.stats().in_flight;
    assert_eq!(in_flight.copied_bytes as usize, 600 * SIZE, "{in_flight:?}");
    assert_eq!(in_flight.lingering_bytes, 0);
    let waited = time_until_stored(&service, SECOND * 600).await;
    assert_eq!(waited, Some(Duration::ZERO));
    drop(stalled);
    assert_eq!(handle.stats().in_flight, Default::default());
}
