//! Memory means bytes, as an allocator counts them on the test's own thread.

use std::pin::Pin;
use std::task::{Context, Poll};

use allocation_counter::measure;
use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::{MemoryBackend, Usage};
use tower_response_cache::{BoxError, CacheLayer};

use crate::support::origin::{Origin, answer};
use crate::support::{get, put, send, with};

const CAPACITY: u64 = 4 * 1024 * 1024;
/// What a layer holds before the first response: stripes, counters, tables.
const EMPTY: u64 = 512 * 1024;

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().build().expect("a runtime")
}

fn usage(layer: &CacheLayer<MemoryBackend>) -> Usage {
    layer.handle().stats().usage.expect("it tells")
}

/// The length of the body that a path asks for.
fn length(path: &str) -> usize {
    let length = path
        .strip_prefix('/')
        .and_then(|path| path.split('/').next());
    length.and_then(|text| text.parse().ok()).expect("a length")
}

/// Sends all requests of a shape and holds the bytes that are live afterwards against those that
/// are counted, and these against the capacity.
fn assert_counted(shape: &str, asks: impl Iterator<Item = Request<()>>) -> (Usage, u64) {
    let runtime = runtime();
    let origin = Origin::at_once(move |request| {
        let lines = [
            ("cache-control", "max-age=3600"),
            ("content-type", "application/json"),
            ("etag", "\"0123456789abcdef\""),
            ("vary", "x-variant"),
        ];
        let varies = request.headers().contains_key("x-variant");
        let body = vec![b'x'; length(request.uri().path())];
        answer(200, &lines[..3 + usize::from(varies)], body)
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
    let usage = usage(&layer.expect("a layer"));
    let live = u64::try_from(counted.bytes_current).expect("more taken than given back");
    let Usage { entries, bytes, .. } = usage;
    println!("{shape}: {entries} entries, {live} bytes live, {bytes} weighed");
    assert!(bytes <= CAPACITY, "{shape}: {bytes} weighed");
    assert!(
        live <= bytes + bytes / 10 + EMPTY,
        "{shape}: {live} live, {bytes} weighed"
    );
    (usage, live)
}

fn assert_fills(shape: &str, body: usize, asks: impl Iterator<Item = Request<()>>) {
    let (Usage { bytes, .. }, _) = assert_counted(shape, asks);
    let room_for_one = (body + body / 8) as u64;
    assert!(
        bytes + room_for_one >= CAPACITY * 9 / 10,
        "{shape}: only {bytes} used"
    );
}

#[test]
fn unique_urls_stay_within_the_capacity() {
    for body in [0, 150, 4096, 16 * 1024, 100_000, 450 * 1024] {
        let count = (3 * CAPACITY as usize / (700 + body)).max(100);
        let asks = (0..count).map(|n| get(&format!("/{body}/path/{n}")));
        assert_fills(&format!("{body} B"), body, asks);
    }
}

#[test]
fn queries_and_variants_stay_within_the_capacity() {
    let queries = (0..15_000).map(|n| get(&format!("/150/path?page={n}")));
    assert_fills("queries", 150, queries);
    let variant = |n: usize| {
        // As many of each as there may be.
        let request = get(&format!("/150/path/{}", n / 32));
        with(request, "x-variant", &n.to_string())
    };
    let variants = (0..10_000).map(variant);
    assert_fills("variants", 150, variants);
}

/// Small and large ones in turn, replaced and invalidated.
#[test]
fn churn_stays_within_the_capacity() {
    let round = |body: usize| {
        let count = (2 * CAPACITY as usize / (700 + body)).max(20);
        (0..count).map(move |n| match n % 10 {
            0 => put(&format!("/{body}/path/{}", n / 2)),
            _ => get(&format!("/{body}/path/{n}")),
        })
    };
    for bodies in [[150, 16 * 1024, 150], [150, 0, 450 * 1024]] {
        let asks = bodies.into_iter().flat_map(round);
        assert_counted(&format!("{bodies:?} B in turn"), asks);
    }
}

/// Room that invalidated responses took is given back.
#[test]
fn what_is_invalidated_takes_nothing() {
    let paths = || (0..5000).map(|n| format!("/150/path/{n}"));
    let gets = paths().map(|path| get(&path));
    let puts = paths().map(|path| put(&path));
    let (Usage { entries, .. }, live) = assert_counted("invalidated", gets.chain(puts));
    assert_eq!(entries, 0);
    assert!(live <= EMPTY, "{live} bytes live");
}

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

/// Entries requested again and again survive a scan of entries requested once.
#[test]
fn a_scan_does_not_evict_hot_entries() {
    let runtime = runtime();
    let layer = CacheLayer::new(MemoryBackend::new(CAPACITY));
    let service = layer.layer(Origin::at_once(|_| {
        answer(200, &[("cache-control", "max-age=3600")], vec![b'x'; 1000])
    }));
    let mut hits = 0;
    for n in 0..10_000 {
        runtime.block_on(send(&service, get(&format!("/once/{n}"))));
        let hot = runtime.block_on(send(&service, get(&format!("/hot/{}", n % 100))));
        hits += usize::from(hot.is_hit());
    }
    assert!(hits > 9_500, "{hits} hits of 10,000");
}

/// One write, 10,000 queries: the cost of the write does not depend on their number.
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

/// A body of many pieces, each made when it is asked for.
struct Pieces {
    left: usize,
    is_announced: bool,
}

const PIECE: usize = 4096;
const PIECES: usize = 24;

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b'x'; PIECE])))))
    }

    fn size_hint(&self) -> SizeHint {
        match self.is_announced {
            true => SizeHint::with_exact((self.left * PIECE) as u64),
            false => SizeHint::default(),
        }
    }
}

/// Ten thousand fills of the largest size at once, none of whose clients reads. Bodies of up to
/// 64 KiB would be stored whatever lingers: these are larger. What may be held
/// for them is the budget: of bodies that are not stored, and of those that were evicted. Beyond it
/// each has one piece on its way, as it would have without a cache.
#[test]
fn ten_thousand_fills_of_the_largest_size_stay_within_the_budget() {
    const FILLS: u64 = 10_000;
    const BUDGET: u64 = 8 * 1024 * 1024;
    /// The cost of an unread response without its body: its heads, its place in each table, its
    /// task.
    const EACH: u64 = 8 * 1024;
    let runtime = runtime();
    for is_announced in [false, true] {
        let origin = Origin::at_once(move |_| {
            let body = Pieces {
                left: PIECES,
                is_announced,
            };
            answer(200, &[("cache-control", "max-age=3600")], "").map(|_| body.boxed_unsync())
        });
        let layer = CacheLayer::new(MemoryBackend::new(CAPACITY))
            .max_body((PIECE * PIECES) as u64)
            .max_buffered_bytes(BUDGET)
            .max_lingering_bytes(BUDGET)
            // However long the test takes on a busy machine.
            .slow_reader_timeout(std::time::Duration::from_secs(3600));
        let service = layer.layer(origin);
        let mut responses = Vec::new();
        let counted = measure(|| {
            runtime.block_on(async {
                for fill in 0..FILLS {
                    let response = service.clone().oneshot(get(&format!("/{fill}")));
                    responses.push(response.await.expect("a head"));
                    tokio::task::yield_now().await;
                }
            });
        });
        let held = layer.handle().stats().in_flight;
        assert!(held.bytes + held.unread_bytes <= BUDGET, "{held:?}");
        assert!(held.lingering_bytes <= BUDGET, "{held:?}");
        println!("{} bytes at most, {held:?}", counted.bytes_max);
        let most = 2 * BUDGET + CAPACITY + FILLS * (PIECE as u64 + EACH);
        assert!(counted.bytes_max <= most, "{} > {most}", counted.bytes_max);
        runtime.block_on(async {
            for response in responses.drain(..) {
                let whole = response.into_body().collect().await.expect("a whole body");
                assert_eq!(whole.to_bytes().len(), PIECE * PIECES);
            }
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(layer.handle().stats().in_flight, Default::default());
        assert!(layer.handle().stats().stores > 0);
    }
}

/// Whatever is asked for, and however often, the tables beside the store do not grow: flights, keys
/// that are not worth waiting for, origins that fail, listed expiries, grace periods, the queue,
/// the budget.
#[test]
fn side_tables_do_not_grow() {
    let runtime = runtime();
    let origin = Origin::at_once(|request| {
        let lines: &[(&'static str, &str)] = match request.uri().path().as_bytes()[1] % 4 {
            0 => &[("cache-control", "no-store")],
            1 => &[("cache-control", "max-age=0, stale-if-error=60")],
            2 => &[("cache-control", "max-age=3600"), ("vary", "x-variant")],
            _ => return answer(503, &[("cache-control", "max-age=3600")], ""),
        };
        answer(
            if request.method() == "PUT" { 500 } else { 200 },
            lines,
            vec![b'x'; 100],
        )
    });
    let layer = CacheLayer::new(MemoryBackend::new(CAPACITY / 4));
    let service = layer.layer(origin);
    let soak = |from: u32, to: u32| {
        measure(|| {
            runtime.block_on(async {
                for number in from..to {
                    let kind = char::from(b'0' + (number % 4) as u8);
                    let path = format!("/{kind}/{number}");
                    send(&service, with(get(&path), "x-variant", &path)).await;
                    send(&service, with(get(&path), "cookie", "id=1")).await;
                    if number % 50 == 0 {
                        send(&service, put(&path)).await;
                    }
                }
            });
        })
    };
    soak(0, 10_000);
    let later = soak(10_000, 20_000);
    let grown = later.bytes_current;
    println!("{grown} bytes more after ten thousand more");
    assert!(grown < 200_000, "{grown}");
    assert_eq!(layer.handle().stats().in_flight, Default::default());
}

/// Slow readers of a stored response hold its bytes, not a copy.
#[test]
fn readers_of_a_fill_and_the_store_share_its_bytes() {
    const LENGTH: u64 = (PIECE * PIECES) as u64;
    const FILLS: u64 = 50;
    let runtime = runtime();
    let origin = Origin::at_once(move |_| {
        let body = Pieces {
            left: PIECES,
            is_announced: true,
        };
        answer(200, &[("cache-control", "max-age=3600")], "").map(|_| body.boxed_unsync())
    });
    let layer = CacheLayer::new(MemoryBackend::new(CAPACITY));
    let service = layer.layer(origin);
    let mut unread = Vec::new();
    let counted = measure(|| {
        runtime.block_on(async {
            for fill in 0..FILLS {
                let response = service.clone().oneshot(get(&format!("/{fill}"))).await;
                unread.push(response.expect("a head"));
            }
            while layer.handle().stats().stores < FILLS {
                tokio::task::yield_now().await;
            }
        });
    });
    let live = u64::try_from(counted.bytes_current).expect("more taken than given back");
    println!("{live} bytes live, {} of bodies", FILLS * LENGTH);
    assert!(live < FILLS * (LENGTH + 8 * 1024), "{live}");
}
