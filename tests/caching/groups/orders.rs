//! No response of a group is older than an invalidation of the group, in every order of events.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Method, Request};
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::{Cache, CacheLayer};

use super::{layer, memory, write};
use crate::support::origin::{Origin, answer};
use crate::support::schedule::{Actor, every_order, every_order_within, pause, random_orders};
use crate::support::yielding::{Yielding, yielding};
use crate::support::{collect, get};

/// A group whose members tell a version, a cache before it, and what clients have seen so far.
#[derive(Clone)]
struct World<B: Backend> {
    layer: CacheLayer<B>,
    service: Cache<Origin, B>,
    version: Arc<AtomicU64>,
    /// The newest version that an invalidation has promised.
    promised: Rc<Cell<u64>>,
}

const FRESH: &str = "max-age=3600";

/// It arrives stale, and may be used as such.
const STALE: &str = "max-age=1, stale-while-revalidate=60, stale-if-error=60";

impl<B: Backend> World<B> {
    fn new(layer: CacheLayer<B>, control: &'static str) -> Self {
        let version = Arc::new(AtomicU64::new(1));
        Self {
            service: layer.layer(versioned(version.clone(), control)),
            layer,
            version,
            promised: Rc::default(),
        }
    }

    fn promise(&self, version: u64) {
        self.promised.set(self.promised.get().max(version));
    }

    fn reader(&self, paths: &'static [&'static str]) -> Actor {
        let world = self.clone();
        Box::pin(async move {
            for path in paths {
                let promised = world.promised.get();
                let response = world.service.clone().oneshot(get(path)).await;
                let body = collect(response.expect("an answer")).await.body;
                let seen: u64 = body.parse().expect("a version");
                assert!(seen >= promised, "read version {seen} after {promised}");
            }
        })
    }

    fn writer(&self) -> Actor {
        let world = self.clone();
        Box::pin(async move {
            let response = world.service.clone().oneshot(write(r#""one""#)).await;
            let head = response.expect("an answer");
            let version = head.headers()["x-version"].to_str().expect("a version");
            world.promise(version.parse().expect("a version"));
        })
    }

    fn operator(&self) -> Actor {
        let world = self.clone();
        Box::pin(async move {
            let version = world.version.fetch_add(1, Ordering::SeqCst) + 1;
            let handle = world.layer.handle();
            let done = handle.invalidate_group("test.example", "one").await;
            done.expect("acknowledged");
            world.promise(version);
        })
    }
}

/// GET samples the version and answers later; POST commits and answers later. All are in one group.
fn versioned(version: Arc<AtomicU64>, control: &'static str) -> Origin {
    Origin::new(move |request: Request<()>| {
        let version = version.clone();
        async move {
            let is_read = request.method() == Method::GET;
            pause().await;
            let now = match is_read {
                true => version.load(Ordering::SeqCst),
                false => version.fetch_add(1, Ordering::SeqCst) + 1,
            }
            .to_string();
            pause().await;
            let mut lines = vec![("x-version", &*now)];
            if is_read {
                lines.extend([("cache-control", control), ("cache-groups", r#""one""#)]);
                lines.extend((control == STALE).then_some(("age", "2")));
            } else {
                lines.push(("cache-group-invalidation", r#""one""#));
            }
            Ok(answer(200, &lines, now.clone()))
        }
    })
}

fn waiting() -> CacheLayer<Yielding<MemoryBackend>> {
    CacheLayer::new(yielding(memory()))
}

#[test]
fn no_member_older_than_an_invalidation_in_any_order_in_memory() {
    for control in [FRESH, STALE] {
        let orders = every_order_within(3, || {
            let world = World::new(layer(), control);
            let readers = [world.reader(&["/a", "/a"]), world.reader(&["/a", "/b"])];
            [world.writer()].into_iter().chain(readers).collect()
        });
        println!("{orders} orders");
        assert!(orders > 1000);
    }
}

#[test]
fn no_member_older_than_an_invalidation_by_hand() {
    let orders = every_order(|| {
        let world = World::new(layer(), FRESH);
        vec![
            world.operator(),
            world.reader(&["/a", "/a"]),
            world.reader(&["/a"]),
        ]
    });
    println!("{orders} orders");
    assert!(orders > 100);
}

#[test]
fn no_member_older_than_an_invalidation_on_a_backend_that_waits() {
    let orders = every_order_within(4, || {
        let world = World::new(waiting(), FRESH);
        vec![world.writer(), world.reader(&["/a", "/a"])]
    });
    println!("{orders} orders");
    assert!(orders > 1000);
    random_orders(1_000, || {
        let world = World::new(waiting(), STALE);
        vec![
            world.writer(),
            world.operator(),
            world.reader(&["/a", "/b", "/a"]),
            world.reader(&["/a", "/a", "/b"]),
        ]
    });
}

/// Nothing that the tests above rely on is vacuous: members are found, fresh and stale.
#[test]
fn the_worlds_above_do_find_members() {
    for control in [FRESH, STALE] {
        let hits = Rc::new(Cell::new(0));
        every_order_within(1, || {
            let world = World::new(waiting(), control);
            let (reader, hits) = (world.clone(), hits.clone());
            let reads = async move {
                for _ in 0..3 {
                    let response = reader.service.clone().oneshot(get("/a")).await;
                    let answer = collect(response.expect("an answer")).await;
                    hits.set(hits.get() + u32::from(answer.is_hit()));
                }
            };
            vec![world.writer(), Box::pin(reads)]
        });
        assert!(hits.get() > 0, "{control}");
    }
}
