//! P7: memory means bytes, as an allocator counts them on the test's own thread.

mod support;

use allocation_counter::measure;
use http::Request;
use support::origin::{Origin, answer};
use support::{get, put, send, with};
use tokio::runtime::{Builder, Runtime};
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{MemoryBackend, Usage};

const CAPACITY: u64 = 8 * 1024 * 1024;
/// What a layer holds before the first response: stripes, counters, tables.
const EMPTY: u64 = 1024 * 1024;

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().build().expect("a runtime")
}

fn usage(layer: &CacheLayer<MemoryBackend>) -> Usage {
    layer.handle().stats().usage.expect("it tells")
}

/// Sends all requests of a shape and holds the bytes that are live afterwards against the capacity.
fn assert_within_capacity(shape: &str, body: usize, asks: impl Iterator<Item = Request<()>>) {
    let runtime = runtime();
    let origin = Origin::at_once(move |request| {
        let lines = [
            ("cache-control", "max-age=3600"),
            ("content-type", "application/json"),
            ("etag", "\"0123456789abcdef\""),
            ("vary", "x-variant"),
        ];
        let varies = request.headers().contains_key("x-variant");
        answer(200, &lines[..3 + usize::from(varies)], vec![b'x'; body])
    });
    let mut layer = None;
    let counted = measure(|| {
        let made = CacheLayer::new(MemoryBackend::new(CAPACITY));
        let service = made.layer(origin);
        runtime.block_on(async {
            for ask in asks {
                send(&service, ask).await;
            }
        });
        layer = Some(made);
    });
    let Usage { entries, bytes, .. } = usage(&layer.expect("a layer"));
    let live = u64::try_from(counted.bytes_current).expect("more taken than given back");
    println!("{shape}: {entries} entries, {live} bytes live, {bytes} weighed");
    assert!(bytes <= CAPACITY, "{shape}: {bytes} weighed");
    assert!(bytes >= CAPACITY * 9 / 10, "{shape}: only {bytes} used");
    assert!(
        live <= CAPACITY + CAPACITY / 10 + EMPTY,
        "{shape}: {live} live"
    );
}

/// M01
#[test]
fn unique_urls_stay_within_the_capacity() {
    for body in [0, 150, 4096, 100_000] {
        let count = (3 * CAPACITY as usize / (1200 + body)).max(400);
        let asks = (0..count).map(|n| get(&format!("/some/path/{n}")));
        assert_within_capacity(&format!("{body} B"), body, asks);
    }
}

/// M01, M03
#[test]
fn queries_and_variants_stay_within_the_capacity() {
    let queries = (0..12_000).map(|n| get(&format!("/some/path?page={n}")));
    assert_within_capacity("queries", 150, queries);
    let variants = (0..12_000).map(|n| with(get("/some/path"), "x-variant", &n.to_string()));
    assert_within_capacity("variants", 150, variants);
}

/// M05
#[test]
fn header_fields_are_counted() {
    let layer = CacheLayer::new(MemoryBackend::new(CAPACITY));
    let long = "x".repeat(10_000);
    let service = layer.layer(Origin::at_once(move |_| {
        let lines = [
            ("cache-control", "max-age=60"),
            ("x-long", &*long),
            ("x-long", &*long),
        ];
        answer(200, &lines, "")
    }));
    runtime().block_on(send(&service, get("/a")));
    let bytes = usage(&layer).bytes;
    assert!(bytes > 20_000, "{bytes} bytes");
}

/// M01: what is asked for again and again survives a scan of what is asked for once.
#[test]
fn a_scan_does_not_push_out_what_is_hot() {
    let runtime = runtime();
    let layer = CacheLayer::new(MemoryBackend::new(CAPACITY));
    let service = layer.layer(Origin::at_once(|_| {
        answer(200, &[("cache-control", "max-age=3600")], vec![b'x'; 1000])
    }));
    let mut hits = 0;
    for n in 0..20_000 {
        runtime.block_on(send(&service, get(&format!("/once/{n}"))));
        let hot = runtime.block_on(send(&service, get(&format!("/hot/{}", n % 100))));
        hits += usize::from(hot.is_hit());
    }
    assert!(hits > 19_000, "{hits} hits of 20,000");
}

/// One write, 10,000 queries: what it costs the writer does not depend on their number.
#[test]
fn a_write_costs_the_same_whatever_the_number_of_queries() {
    let runtime = runtime();
    let mut costs = Vec::new();
    for queries in [1, 10_000] {
        let layer = CacheLayer::new(MemoryBackend::new(64 * 1024 * 1024));
        let lines = [("cache-control", "max-age=60")];
        let service = layer.layer(Origin::at_once(move |_| answer(200, &lines, "x")));
        let ask = |n: usize| get(&format!("/a?n={n}"));
        for n in 0..queries {
            runtime.block_on(send(&service, ask(n)));
        }
        assert!(runtime.block_on(send(&service, ask(queries - 1))).is_hit());
        let before = usage(&layer).entries;
        let counted = measure(|| {
            runtime.block_on(send(&service, put("/a")));
        });
        costs.push((counted.count_total, before - usage(&layer).entries));
        for n in 0..queries {
            let only = with(ask(n), "cache-control", "only-if-cached");
            assert_eq!(runtime.block_on(send(&service, only)).status.as_u16(), 504);
        }
    }
    assert_eq!(costs[0], costs[1], "allocations, and entries touched");
}
