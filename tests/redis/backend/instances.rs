//! Two caches over one Redis, before one database: what one of them has answered to a write, the
//! other never contradicts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::RedisBackend;
use tower_response_cache::{Cache, CacheLayer};

use crate::backend::instance;
use crate::support::origin::{Origin, answer};
use crate::support::redis::{RedisServer, until};
use crate::support::{Answer, collect, get, put, send};

/// A database of one number: GET reads it, PUT counts it up.
pub struct Database {
    pub version: AtomicUsize,
    pub reads: AtomicUsize,
    /// Reads that have read and wait, and how many may go on.
    held: AtomicUsize,
    gate: Semaphore,
    is_gated: bool,
    write_through: bool,
}

impl Database {
    fn new(is_gated: bool, write_through: bool) -> Arc<Self> {
        Arc::new(Self {
            version: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            is_gated,
            write_through,
        })
    }

    pub fn plain() -> Arc<Self> {
        Self::new(false, false)
    }

    /// Writes answer with the new representation, and say so.
    pub fn written_through() -> Arc<Self> {
        Self::new(false, true)
    }

    /// Reads, and writes' answers, are held back after their effect until they are released.
    pub fn gated(write_through: bool) -> Arc<Self> {
        Self::new(true, write_through)
    }

    async fn waits(&self) {
        if self.is_gated {
            self.held.fetch_add(1, Ordering::SeqCst);
            self.gate.acquire().await.expect("never closed").forget();
        }
    }

    pub async fn wait_until_held(&self, count: usize) {
        until("calls are held", async || {
            self.held.load(Ordering::SeqCst) == count
        })
        .await;
    }

    pub fn go(&self, count: usize) {
        self.gate.add_permits(count);
    }

    pub fn origin(self: &Arc<Self>) -> Origin {
        let database = self.clone();
        Origin::new(move |request: Request<()>| {
            let database = database.clone();
            async move {
                let is_read = request.method() == Method::GET;
                let version = if is_read {
                    database.reads.fetch_add(1, Ordering::SeqCst);
                    database.version.load(Ordering::SeqCst)
                } else {
                    database.version.fetch_add(1, Ordering::SeqCst) + 1
                };
                if is_read || database.write_through {
                    database.waits().await;
                }
                let mut lines = vec![("cache-control", "max-age=3600")];
                if !is_read && database.write_through {
                    lines.push(("content-location", "/a"));
                }
                Ok(answer(200, &lines, version.to_string()))
            }
        })
    }
}

/// One cache.
pub struct Instance {
    pub layer: CacheLayer<RedisBackend>,
    pub service: Cache<Origin, RedisBackend>,
}

impl Instance {
    pub fn new(layer: CacheLayer<RedisBackend>, origin: Origin) -> Self {
        let service = layer.layer(origin);
        Self { layer, service }
    }

    pub async fn reads(&self) -> Answer {
        send(&self.service, get("/a")).await
    }

    /// Writes; the answer's body is unread when this returns.
    async fn writes(&self) {
        let answer = self.service.clone().oneshot(put("/a")).await;
        assert_eq!(answer.expect("an answer").status(), 200);
    }

    async fn stored(&self, stores: u64) {
        let handle = self.layer.handle();
        until("it is stored", async || handle.stats().stores == stores).await;
    }
}

fn two(server: &RedisServer, database: &Arc<Database>) -> (Instance, Instance) {
    let new = || {
        let mut layer = CacheLayer::new(instance(server));
        if database.write_through {
            layer = layer.write_through(true);
        }
        Instance::new(layer, database.origin())
    };
    (new(), new())
}

#[tokio::test]
async fn a_write_is_read_at_once_at_both_instances() {
    let server = RedisServer::start().await;
    for database in [Database::plain(), Database::written_through()] {
        let (one, other) = two(&server, &database);
        for round in 1..=50 {
            one.reads().await;
            other.reads().await;
            let (writer, reader) = match round % 2 {
                0 => (&one, &other),
                _ => (&other, &one),
            };
            writer.writes().await;
            let version = round.to_string();
            assert_eq!(reader.reads().await.body, version);
            assert_eq!(writer.reads().await.body, version);
        }
    }
}

/// RFC 9211 §2.1. Its store may be under way still.
#[tokio::test]
async fn the_second_of_two_reads_in_a_row_is_a_hit() {
    let server = RedisServer::start().await;
    let database = Database::plain();
    let (one, _) = two(&server, &database);
    for round in 1..=200 {
        one.writes().await;
        assert!(!one.reads().await.is_hit(), "{round}");
        assert!(one.reads().await.is_hit(), "{round}");
    }
    assert_eq!(database.reads.load(Ordering::SeqCst), 200);
}

/// A write at the other instance comes while a fill calls.
#[tokio::test]
async fn a_fill_that_a_remote_write_overtakes_is_its_callers_alone() {
    let server = RedisServer::start().await;
    let database = Database::gated(false);
    let (one, other) = two(&server, &database);
    let write = async {
        database.wait_until_held(1).await;
        other.writes().await;
        database.go(1);
    };
    let (old, ()) = tokio::join!(one.reads(), write);
    assert_eq!(old.body, "0", "it began before the write");
    let handle = one.layer.handle();
    until("it is not stored", async || {
        handle.stats().in_flight == Default::default()
    })
    .await;
    assert_eq!(handle.stats().stores, 0);
    database.go(2);
    for instance in [&one, &other] {
        let new = instance.reads().await;
        assert_eq!(new.body, "1");
    }
}

/// A flight that began before the answer to a write at the other instance is not joined by later
/// requests.
#[tokio::test]
async fn no_request_joins_a_flight_from_before_a_remote_write() {
    let server = RedisServer::start().await;
    let database = Database::gated(false);
    let (one, other) = two(&server, &database);
    let early = one.reads();
    let late = async {
        database.wait_until_held(1).await;
        other.writes().await;
        let late = async {
            database.wait_until_held(2).await;
            database.go(2);
        };
        tokio::join!(one.reads(), late).0
    };
    let (early, late) = tokio::join!(early, late);
    assert_eq!((&*early.body, &*late.body), ("0", "1"));
    assert_eq!(database.reads.load(Ordering::SeqCst), 2);
}

/// Not for want of flights that are joined at all.
#[tokio::test]
async fn a_flight_that_no_write_overtakes_is_joined() {
    let server = RedisServer::start().await;
    let database = Database::gated(false);
    let (one, other) = two(&server, &database);
    let early = one.reads();
    let late = async {
        database.wait_until_held(1).await;
        let handle = one.layer.handle();
        let late = async {
            // Nothing tells of a follower that waits.
            sleep(Duration::from_millis(50)).await;
            database.go(1);
        };
        let late = tokio::join!(one.reads(), late).0;
        let stats = handle.stats();
        assert_eq!(stats.collapsed + stats.hits, 1);
        late
    };
    let (early, late) = tokio::join!(early, late);
    assert_eq!((&*early.body, &*late.body), ("0", "0"));
    assert_eq!(database.reads.load(Ordering::SeqCst), 1);
    one.stored(1).await;
    assert!(other.reads().await.is_hit());
}

/// What a write stores is a hit at the other instance; of two that overlap the second only
/// invalidates.
#[tokio::test]
async fn overlapping_write_throughs_at_two_instances_store_one_at_most() {
    let server = RedisServer::start().await;
    let database = Database::gated(true);
    let (one, other) = two(&server, &database);
    let ends = async {
        database.wait_until_held(1).await;
        database.go(1);
    };
    let ((), ()) = tokio::join!(one.writes(), ends);
    let seen = other.reads().await;
    assert!(seen.is_hit());
    assert_eq!(seen.body, "1");
    let both = async {
        database.wait_until_held(3).await;
        database.go(2);
    };
    let ((), (), ()) = tokio::join!(one.writes(), other.writes(), both);
    database.go(1);
    let seen = one.reads().await;
    assert!(!seen.is_hit());
    assert_eq!(seen.body, "3");
}

#[tokio::test]
async fn a_clear_at_one_instance_clears_the_other() {
    let server = RedisServer::start().await;
    let database = Database::plain();
    let (one, other) = two(&server, &database);
    one.reads().await;
    one.stored(1).await;
    assert!(other.reads().await.is_hit());
    one.layer.handle().clear().await.expect("acknowledged");
    assert!(!other.reads().await.is_hit());
}

/// What stands between the head and the body of a write's answer does not matter: the head is
/// enough.
#[tokio::test]
async fn a_writes_body_may_be_read_later() {
    let server = RedisServer::start().await;
    let database = Database::plain();
    let (one, other) = two(&server, &database);
    one.reads().await;
    one.stored(1).await;
    let answer = one.service.clone().oneshot(put("/a")).await;
    assert_eq!(other.reads().await.body, "1");
    assert_eq!(collect(answer.expect("an answer")).await.body, "1");
}
