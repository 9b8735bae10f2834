//! No stale read after a write, over every order of polls, in memory and on a backend with await
//! points.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::{BoxError, Cache, CacheLayer};

use crate::support::origin::{Origin, OriginBody, answer};
use crate::support::schedule::{Actor, every_order, every_order_within, pause, random_orders};
use crate::support::yielding::{Yielding, yielding};
use crate::support::{collect, get, put};

/// Enough to take the turn in the middle of a lookup, a call, a store and an invalidation.
const SWITCHES: usize = 3;

/// An origin whose one resource has a version, a cache before it, and what clients have seen so
/// far.
#[derive(Clone)]
struct World<B: Backend> {
    service: Cache<Origin, B>,
    /// The newest version that a write's yielded answer has promised.
    promised: Rc<Cell<u64>>,
}

impl<B: Backend> World<B> {
    fn new(layer: CacheLayer<B>) -> Self {
        Self {
            service: layer.layer(versioned()),
            promised: Rc::default(),
        }
    }

    async fn read(&self) -> u64 {
        let promised = self.promised.get();
        let response = self.service.clone().oneshot(get("/a")).await;
        let seen: u64 = collect(response.expect("an answer"))
            .await
            .body
            .parse()
            .expect("a version");
        assert!(
            seen >= promised,
            "read version {seen} after {promised} was promised"
        );
        seen
    }

    fn reader(&self, times: usize) -> Actor {
        let world = self.clone();
        Box::pin(async move {
            for _ in 0..times {
                world.read().await;
            }
        })
    }

    fn writer(&self) -> Actor {
        let world = self.clone();
        Box::pin(async move {
            let response = world.service.clone().oneshot(put("/a")).await;
            let head = response.expect("an answer");
            let version = head.headers()["x-version"].to_str().expect("a version");
            let version: u64 = version.parse().expect("a version");
            // The head has been yielded; the body is unread.
            world.promised.set(world.promised.get().max(version));
        })
    }
}

/// GET samples the version and answers later; PUT commits and answers later. Bodies come after a
/// pause.
fn versioned() -> Origin {
    let version = Arc::new(AtomicU64::new(1));
    Origin::new(move |request: Request<()>| {
        let version = version.clone();
        async move {
            let is_read = request.method() == Method::GET;
            pause().await;
            let now = match is_read {
                true => version.load(Ordering::SeqCst),
                false => version.fetch_add(1, Ordering::SeqCst) + 1,
            };
            pause().await;
            let lines = [
                ("cache-control", "max-age=3600"),
                ("content-location", "/a"),
                ("x-version", &now.to_string()),
            ];
            let (head, _) = answer(200, &lines, "").into_parts();
            Ok(Response::from_parts(head, trickle(now)))
        }
    })
}

/// A version, after a pause. Its length is announced, as write-through demands.
fn trickle(version: u64) -> OriginBody {
    struct Trickle {
        left: Vec<Bytes>,
        paused: bool,
    }
    impl Body for Trickle {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.paused = !self.paused;
            if self.paused && !self.left.is_empty() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(self.left.pop().map(|data| Ok(Frame::data(data))))
        }

        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(self.left.iter().map(Bytes::len).sum::<usize>() as u64)
        }
    }
    let text = Bytes::from(version.to_string());
    let left = vec![text];
    Trickle {
        left,
        paused: false,
    }
    .boxed_unsync()
}

fn in_memory() -> CacheLayer<MemoryBackend> {
    CacheLayer::new(MemoryBackend::new(1 << 20))
}

fn waiting() -> CacheLayer<Yielding<MemoryBackend>> {
    CacheLayer::new(yielding(MemoryBackend::new(1 << 20)))
}

#[test]
fn one_write_and_readers_in_every_order_in_memory() {
    let orders = every_order_within(SWITCHES, || {
        let world = World::new(in_memory());
        vec![world.writer(), world.reader(2), world.reader(2)]
    });
    println!("{orders} orders");
    assert!(orders > 1000);
}

#[test]
fn two_writes_and_a_reader_in_every_order_in_memory() {
    let orders = every_order_within(SWITCHES, || {
        let world = World::new(in_memory());
        vec![world.writer(), world.writer(), world.reader(2)]
    });
    println!("{orders} orders");
    assert!(orders > 1000);
}

#[test]
fn one_write_and_a_reader_in_every_order_on_a_backend_that_waits() {
    let orders = every_order_within(SWITCHES + 2, || {
        let world = World::new(waiting());
        vec![world.writer(), world.reader(2)]
    });
    println!("{orders} orders");
    assert!(orders > 1000);
}

#[test]
fn writes_and_readers_in_random_orders_on_a_backend_that_waits() {
    random_orders(1_500, || {
        let world = World::new(waiting());
        vec![
            world.writer(),
            world.writer(),
            world.reader(3),
            world.reader(3),
        ]
    });
}

#[test]
fn overlapping_write_throughs_in_every_order_in_memory() {
    let orders = every_order_within(SWITCHES, || {
        let world = World::new(in_memory().write_through(true));
        vec![world.writer(), world.writer(), world.reader(1)]
    });
    println!("{orders} orders");
    assert!(orders > 1000);
}

#[test]
fn overlapping_write_throughs_in_random_orders_on_a_backend_that_waits() {
    random_orders(1_500, || {
        let world = World::new(waiting().write_through(true));
        vec![
            world.writer(),
            world.writer(),
            world.reader(3),
            world.reader(3),
        ]
    });
}

/// A query of the resource is read while its plain path is written.
#[test]
fn queries_fall_with_their_resource_in_every_order() {
    every_order(|| {
        let world = World::new(in_memory());
        let reader = world.clone();
        let read_query = async move {
            for _ in 0..2 {
                let promised = reader.promised.get();
                let response = reader.service.clone().oneshot(get("/a?q=1")).await;
                let body = collect(response.expect("an answer")).await.body;
                let seen: u64 = body.parse().expect("a version");
                assert!(
                    seen >= promised,
                    "read version {seen} after {promised} was promised"
                );
            }
        };
        vec![world.writer(), Box::pin(read_query)]
    });
}

/// The locks inside the memory backend, which no single thread can test.
#[test]
fn real_threads_never_read_overwritten_versions() {
    for layer in [in_memory(), in_memory().write_through(true)] {
        let service = layer.layer(versioned());
        let promised = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..6 {
                let (service, promised) = (service.clone(), &promised);
                scope.spawn(move || client(&service, promised, thread < 2));
            }
        });
        assert!(layer.handle().stats().stores > 0);
    }
}

fn client<B: Backend>(service: &Cache<Origin, B>, promised: &AtomicU64, writes: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.expect("a runtime");
    for _ in 0..1500 {
        let before = promised.load(Ordering::SeqCst);
        let ask = if writes { put("/a") } else { get("/a") };
        let response = runtime.block_on(service.clone().oneshot(ask));
        let response = response.expect("an answer");
        let version = response.headers()["x-version"].to_str().expect("a version");
        let version: u64 = version.parse().expect("a version");
        if writes {
            promised.fetch_max(version, Ordering::SeqCst);
        } else {
            assert!(
                version >= before,
                "read version {version} after {before} was promised"
            );
            runtime.block_on(collect(response));
        }
    }
}

/// Nothing that the tests above rely on is vacuous: stored responses are served, also between
/// writes.
#[test]
fn the_worlds_above_do_store() {
    let hit = Rc::new(AtomicBool::new(false));
    let seen = hit.clone();
    every_order_within(1, move || {
        let world = World::new(waiting().write_through(true));
        let layer_hits = world.clone();
        let seen = seen.clone();
        let reader = async move {
            for _ in 0..2 {
                let response = layer_hits.service.clone().oneshot(get("/a")).await;
                if collect(response.expect("an answer")).await.is_hit() {
                    seen.store(true, Ordering::SeqCst);
                }
            }
        };
        vec![world.writer(), Box::pin(reader)]
    });
    assert!(hit.load(Ordering::SeqCst));
}
