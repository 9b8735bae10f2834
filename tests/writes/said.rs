//! No stale read after a write, over every order of polls, of what is stored by what an application
//! says: by content, for one client, in a group that a function names. A job that changes the
//! database beside the cache, and has it invalidate or expire, is a write here.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Method, Request};
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::{Cache, CacheHandle, CacheLayer};

use crate::support::origin::{Origin, answer};
use crate::support::schedule::{Actor, every_order_within, pause};
use crate::support::yielding::yielding;
use crate::support::{collect, get, put, request, with};

/// Enough to take the turn in the middle of a lookup, a call, a store and an invalidation.
const SWITCHES: usize = 3;

/// How the newest version becomes known to the cache.
#[derive(Clone, Copy, Debug)]
enum Change {
    Write,
    Invalidate,
    Expire,
    InvalidateGroup,
    ExpireGroup,
}

const CHANGES: [Change; 5] = [
    Change::Write,
    Change::Invalidate,
    Change::Expire,
    Change::InvalidateGroup,
    Change::ExpireGroup,
];

fn question() -> Request<()> {
    let method = Method::from_bytes(b"QUERY").expect("a method");
    with(request(method, "/a?q"), "content-type", "text/a")
}

fn read_only_post() -> Request<()> {
    with(request(Method::POST, "/a"), "x-read", "1")
}

fn own_page() -> Request<()> {
    with(get("/a"), "x-client", "alice")
}

fn own_question() -> Request<()> {
    with(question(), "x-client", "alice")
}

fn plain() -> Request<()> {
    get("/a")
}

const READS: [fn() -> Request<()>; 5] = [plain, question, read_only_post, own_page, own_question];

#[derive(Clone)]
struct World<B: Backend> {
    service: Cache<Origin, B>,
    handle: CacheHandle<B>,
    database: Arc<AtomicU64>,
    /// The newest version that a change has promised.
    promised: Rc<Cell<u64>>,
}

impl<B: Backend> World<B> {
    fn new(backend: B) -> Self {
        let layer = CacheLayer::new(backend)
            .cache_queries(0)
            .read_only_posts(|request| request.headers.contains_key("x-read"))
            .private_by(|request| Some(request.headers.get("x-client")?.as_bytes().to_vec()))
            .groups_by(|_, _| ["all".to_owned()]);
        let database = Arc::new(AtomicU64::new(1));
        Self {
            handle: layer.handle(),
            service: layer.layer(versions(database.clone())),
            database,
            promised: Rc::default(),
        }
    }

    /// Reads twice: from an earlier call, if it may.
    fn reader(&self, make: fn() -> Request<()>, change: Change) -> Actor {
        let world = self.clone();
        Box::pin(async move {
            for _ in 0..2 {
                let promised = world.promised.get();
                let response = world.service.clone().oneshot(make()).await;
                let body = collect(response.expect("an answer")).await.body;
                let seen: u64 = body.parse().expect("a version");
                assert!(
                    seen >= promised,
                    "{:?}: version {seen} after {promised} by {change:?}",
                    make()
                );
            }
        })
    }

    fn changer(&self, change: Change) -> Actor {
        let world = self.clone();
        Box::pin(async move {
            let version = match change {
                Change::Write => {
                    let response = world.service.clone().oneshot(put("/a")).await;
                    let head = response.expect("an answer");
                    let version = head.headers()["x-version"].to_str().expect("a version");
                    version.parse().expect("a version")
                }
                _ => world.works(change).await,
            };
            world.promised.set(world.promised.get().max(version));
        })
    }

    /// Changes the database, and tells the cache.
    async fn works(&self, change: Change) -> u64 {
        pause().await;
        let version = self.database.fetch_add(1, Ordering::SeqCst) + 1;
        pause().await;
        let is_told = match change {
            Change::Expire => self.handle.expire("/a").await.is_ok(),
            Change::ExpireGroup => self.handle.expire_group("", "all").await.is_ok(),
            Change::InvalidateGroup => self.handle.invalidate_group("", "all").await.is_ok(),
            Change::Invalidate | Change::Write => self.handle.invalidate("/a").await.is_ok(),
        };
        assert!(is_told);
        version
    }
}

/// A read samples the version and answers later; PUT commits and answers later.
fn versions(database: Arc<AtomicU64>) -> Origin {
    Origin::new(move |request: Request<()>| {
        let database = database.clone();
        async move {
            pause().await;
            let now = match *request.method() {
                Method::PUT => database.fetch_add(1, Ordering::SeqCst) + 1,
                _ => database.load(Ordering::SeqCst),
            };
            pause().await;
            let control = match request.headers().contains_key("x-client") {
                true => "private, max-age=3600",
                false => "max-age=3600",
            };
            let version = now.to_string();
            let lines = [("cache-control", control), ("x-version", &version)];
            Ok(answer(200, &lines, version.clone()))
        }
    })
}

/// Promise P1: whatever a response is stored by, a change takes it.
#[test]
fn a_change_takes_what_is_stored_by_content_and_for_clients_in_every_order() {
    let mut orders = 0;
    for change in CHANGES {
        for read in READS {
            orders += every_order_within(SWITCHES, || {
                let world = World::new(MemoryBackend::new(1 << 20));
                vec![world.changer(change), world.reader(read, change)]
            });
        }
    }
    println!("{orders} orders");
    assert!(orders > 400);
}

#[test]
fn a_change_takes_it_in_every_order_on_a_backend_that_waits() {
    for change in CHANGES {
        for read in READS {
            every_order_within(SWITCHES - 1, || {
                let world = World::new(yielding(MemoryBackend::new(1 << 20)));
                vec![world.changer(change), world.reader(read, change)]
            });
        }
    }
}

/// Nothing above is vacuous: each kind of read is answered from the store.
#[test]
fn the_reads_above_are_stored() {
    for read in READS {
        let hits = Rc::new(Cell::new(0));
        let seen = hits.clone();
        every_order_within(1, move || {
            let world = World::new(yielding(MemoryBackend::new(1 << 20)));
            let seen = seen.clone();
            let reader = async move {
                for _ in 0..2 {
                    let response = world.service.clone().oneshot(read()).await;
                    if collect(response.expect("an answer")).await.is_hit() {
                        seen.set(seen.get() + 1);
                    }
                    // What is stored in the background is stored by then.
                    for _ in 0..5 {
                        pause().await;
                    }
                }
            };
            vec![Box::pin(reader)]
        });
        assert!(hits.get() > 0, "{:?}", read());
    }
}
