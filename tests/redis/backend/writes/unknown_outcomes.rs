//! Writes that may still be committed, before two instances over one Redis: no instance stores what
//! such a write would leave outdated.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request};
use tokio::time::{Instant, sleep, sleep_until};
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::{
    Backend, GraceScope, Guarded, InvalidationTarget, Lookup, PutOutcome, RedisBackend,
};
use tower_response_cache::{Cache, CacheHandle, CacheLayer};

use crate::backend::{begin, instance};
use crate::support::origin::{Origin, answer};
use crate::support::redis::{RedisServer, Tap, until};
use crate::support::sample::Sample;
use crate::support::{Answer, get, put, request, send, send_all};

/// Longer than the requests of a test take on a busy machine.
const GRACE: Duration = Duration::from_secs(6);
/// When a write of unknown outcome is committed.
const COMMIT: Duration = Duration::from_secs(3);

/// A database of one number. A PUT is answered 504 and commits late; a POST commits at once; a
/// DELETE never ends, and commits late after it was dropped.
#[derive(Default)]
struct Database {
    version: AtomicUsize,
    reads: AtomicUsize,
}

/// Commits late when it is dropped.
struct CommitsWhenDropped(Arc<Database>);

impl Drop for CommitsWhenDropped {
    fn drop(&mut self) {
        self.0.commit_late();
    }
}

impl Database {
    fn commit_late(self: &Arc<Self>) {
        let database = self.clone();
        tokio::spawn(async move {
            sleep(COMMIT).await;
            database.version.fetch_add(1, Ordering::SeqCst);
        });
    }

    async fn answer(self: Arc<Self>, request: Request<()>) -> crate::support::origin::Response {
        let group = [("cache-group-invalidation", "\"g\"")];
        match *request.method() {
            Method::GET => {
                self.reads.fetch_add(1, Ordering::SeqCst);
                let version = self.version.load(Ordering::SeqCst).to_string();
                if request.uri().path() == "/slow" {
                    sleep(Duration::from_millis(50)).await;
                }
                let lines = [("cache-control", "max-age=60"), ("cache-groups", "\"g\"")];
                let is_member = request.uri().path().starts_with("/member");
                answer(200, &lines[..1 + usize::from(is_member)], version)
            }
            Method::PUT => {
                self.commit_late();
                let names_group = request.uri().path() == "/group";
                if request.uri().path() == "/groups" {
                    let names: Vec<_> = (0..2000).map(|name| format!("\"{name}\"")).collect();
                    let names = names.join(", ");
                    return answer(504, &[("cache-group-invalidation", &names)], "");
                }
                answer(504, &group[..usize::from(names_group)], "")
            }
            Method::POST => {
                let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
                let own = request.uri().path().to_owned();
                let lines = [("cache-control", "max-age=60"), ("content-location", &own)];
                answer(200, &lines, version.to_string())
            }
            _ => {
                let _commits = CommitsWhenDropped(self);
                std::future::pending().await
            }
        }
    }

    fn origin(self: &Arc<Self>) -> Origin {
        let database = self.clone();
        Origin::new(move |request| {
            let database = database.clone();
            async move { Ok(database.answer(request).await) }
        })
    }
}

struct Instance<B: Backend> {
    service: Cache<Origin, B>,
    handle: CacheHandle<B>,
}

impl<B: Backend> Instance<B> {
    fn new(layer: CacheLayer<B>, database: &Arc<Database>) -> Self {
        let layer = layer.write_grace_window(GRACE);
        Self {
            handle: layer.handle(),
            service: layer.layer(database.origin()),
        }
    }

    async fn reads(&self, path: &str) -> Answer {
        send(&self.service, get(path)).await
    }

    async fn idles(&self) {
        let is_idle = async || self.handle.stats().in_flight == Default::default();
        until("nothing is in flight", is_idle).await;
    }

    /// Reads once more; returns whether the store answers then.
    async fn stores(&self, path: &str) -> bool {
        self.reads(path).await;
        self.idles().await;
        self.reads(path).await.is_hit()
    }
}

fn two(server: &RedisServer, database: &Arc<Database>) -> [Instance<RedisBackend>; 2] {
    [(); 2].map(|()| Instance::new(CacheLayer::new(instance(server)), database))
}

/// A PUT at one instance ends 504 and commits later: the other one stores nothing of that
/// resource meanwhile, whatever else is invalidated, and everything else.
#[tokio::test]
async fn no_instance_stores_what_a_late_commit_would_leave_outdated() {
    tokio::join!(
        late_commit("nothing"),
        late_commit("a committed write"),
        late_commit("a clear"),
    );
}

async fn late_commit(meanwhile: &str) {
    let server = RedisServer::start().await;
    let database = Arc::<Database>::default();
    let [one, other] = two(&server, &database);
    assert!(other.stores("/a").await);
    let began = Instant::now();
    assert_eq!(send(&one.service, put("/a")).await.status, 504);
    match meanwhile {
        "a committed write" => drop(send(&other.service, request(Method::POST, "/a")).await),
        "a clear" => other.handle.clear().await.expect("acknowledged"),
        _ => {}
    }
    let early = other.reads("/a").await;
    other.idles().await;
    assert_eq!(early.cache_status(), "fwd=uri-miss; detail=write-grace");
    assert!(!other.stores("/a").await, "{meanwhile}");
    assert!(!other.stores("/a?query").await, "{meanwhile}");
    assert!(other.stores("/b").await, "another resource");
    assert!(began.elapsed() < COMMIT, "a machine that is too slow");
    // The commit.
    sleep_until(began + COMMIT).await;
    until("it is committed", async || {
        database.version.load(Ordering::SeqCst) == 1 + usize::from(meanwhile.len() == 17)
    })
    .await;
    let now = database.version.load(Ordering::SeqCst).to_string();
    assert_eq!(other.reads("/a").await.body, now, "{meanwhile}");
    sleep_until(began + GRACE + Duration::from_millis(200)).await;
    assert!(other.stores("/a").await, "the period is over");
    assert_eq!(other.reads("/a").await.body, now);
}

/// A write that cannot run on when its client leaves.
#[tokio::test]
async fn no_instance_stores_what_a_dropped_write_would_leave_outdated() {
    let server = RedisServer::start().await;
    let database = Arc::<Database>::default();
    let [_, other] = two(&server, &database);
    let layer = CacheLayer::new(instance(&server)).max_detached_writes(0);
    let one = Instance::new(layer, &database);
    assert!(other.stores("/a").await);
    let write = one.service.clone().oneshot(request(Method::DELETE, "/a"));
    let mut write = Box::pin(write);
    let began = Instant::now();
    assert!(!begin(&mut write).await);
    drop(write);
    one.idles().await;
    assert!(!other.stores("/a").await);
    sleep_until(began + COMMIT + Duration::from_millis(100)).await;
    assert_eq!(other.reads("/a").await.body, "1");
    sleep_until(began + GRACE + Duration::from_millis(200)).await;
    assert!(other.stores("/a").await);
    assert_eq!(other.reads("/a").await.body, "1");
}

/// RFC 9875 §3: the groups that such a write names. Which responses are members is known only when
/// they are there.
#[tokio::test]
async fn no_instance_stores_members_of_a_group_that_a_late_commit_would_leave_outdated() {
    let server = RedisServer::start().await;
    let database = Arc::<Database>::default();
    let [one, other] = two(&server, &database);
    assert!(other.stores("/member").await);
    assert!(other.stores("/none").await);
    let began = Instant::now();
    send(&one.service, put("/group")).await;
    assert!(!other.stores("/member").await);
    let target = InvalidationTarget::Group(tower_response_cache::backend::Group::from_digest(1));
    instance(&server).invalidate(&target).await.expect("done");
    assert!(!other.stores("/member/2").await, "not by another group");
    assert!(other.reads("/none").await.is_hit(), "no member");
    assert!(other.stores("/none/2").await, "no member");
    sleep_until(began + GRACE + Duration::from_millis(200)).await;
    assert!(other.stores("/member").await);
    assert_eq!(other.reads("/member").await.body, "1");
}

/// One that names too many groups clears everything, and has its period nevertheless.
#[tokio::test]
async fn no_instance_stores_what_a_late_commit_that_clears_everything_would_leave_outdated() {
    let server = RedisServer::start().await;
    let database = Arc::<Database>::default();
    let [one, other] = two(&server, &database);
    assert!(other.stores("/groups").await && other.stores("/b").await);
    let began = Instant::now();
    send(&one.service, put("/groups")).await;
    assert!(!other.reads("/b").await.is_hit());
    assert!(!other.stores("/groups").await);
    assert!(began.elapsed() < GRACE, "a machine that is too slow");
}

/// Promise: concurrent misses in the period are at most two calls at a time, and one after the
/// other.
#[tokio::test]
async fn concurrent_misses_in_the_period_share_the_next_call() {
    let server = RedisServer::start().await;
    let database = Arc::<Database>::default();
    let [one, other] = two(&server, &database);
    send(&one.service, put("/slow")).await;
    let gets = (0..50).map(|_| get("/slow"));
    let answers = send_all(&other.service, gets).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let reads = database.reads.load(Ordering::SeqCst);
    assert!(reads <= 3, "{reads} calls for 50 requests");
}

/// A write that is committed and stores its own response, at another instance.
#[tokio::test]
async fn write_through_stores_nothing_in_the_period() {
    let server = RedisServer::start().await;
    let database = Arc::<Database>::default();
    let [one, _] = two(&server, &database);
    for path in ["/a", "/b"] {
        let layer = CacheLayer::new(instance(&server)).write_through(path == "/a");
        let other = Instance::new(layer, &database);
        let began = Instant::now();
        send(&one.service, put(path)).await;
        send(&other.service, request(Method::POST, path)).await;
        assert!(!other.reads(path).await.is_hit(), "{path}");
        assert!(began.elapsed() < GRACE, "a machine that is too slow");
        assert_eq!(other.handle.stats().stores, 0);
    }
}

/// `noeviction`: without memory for the tombstone the token is removed nevertheless, which is
/// counted.
#[tokio::test]
async fn without_memory_the_resource_is_invalidated_at_least() {
    let config = RedisServer::configure().max_memory("16mb", "noeviction");
    let server = config.start().await;
    let database = Arc::<Database>::default();
    let [one, other] = two(&server, &database);
    assert!(other.stores("/a").await);
    let full = ["CONFIG", "SET", "maxmemory", "1"];
    server.command(&full).await;
    send(&one.service, put("/a")).await;
    let stats = one.handle.stats();
    assert_eq!((stats.invalidations, stats.refused_write_graces), (1, 1));
    assert!(!other.reads("/a").await.is_hit());
    let sample = Sample::of(&instance(&server), "/a", "a").await;
    let target = InvalidationTarget::Resource(*sample.key.resource());
    let scope = instance(&server).invalidate_unknown(&target, GRACE).await;
    assert_eq!(scope.expect("done"), GraceScope::Refused);
}

/// `noeviction`: a period that has begun needs no memory to go on.
#[tokio::test]
async fn without_memory_a_longer_period_extends_the_one_that_runs() {
    let config = RedisServer::configure().max_memory("16mb", "noeviction");
    let server = config.start().await;
    let backend = instance(&server);
    let sample = Sample::of(&backend, "/a", "a").await;
    let target = InvalidationTarget::Resource(*sample.key.resource());
    let bury = async |period| backend.invalidate_unknown(&target, period).await;
    let is_unfenced = async || {
        let found = backend.get(&sample.key, crate::support::sample::at(0));
        matches!(found.await, Ok(Lookup::Unfenced))
    };
    assert_eq!(bury(GRACE).await.expect("done"), GraceScope::AllInstances);
    assert!(is_unfenced().await);
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let longer = bury(GRACE * 100).await;
    assert_eq!(longer.expect("done"), GraceScope::AllInstances);
    sleep(GRACE).await;
    assert!(is_unfenced().await);
}

/// A restart, which makes every token void, ends no period.
#[tokio::test]
async fn a_restart_with_its_data_ends_no_period() {
    let server = RedisServer::configure().append_only().start().await;
    let backend = instance(&server);
    let sample = Sample::of(&backend, "/a", "a").await;
    let target = InvalidationTarget::Resource(*sample.key.resource());
    let long = Duration::from_secs(600);
    let scope = backend.invalidate_unknown(&target, long).await;
    assert_eq!(scope.expect("done"), GraceScope::AllInstances);
    let mut server = server;
    server.kill();
    server.restart().await;
    let backend = instance(&server);
    let found = backend
        .get(&sample.key, crate::support::sample::at(0))
        .await;
    assert!(matches!(found, Ok(Lookup::Unfenced)), "{found:?}");
}

/// Promise: an invalidation that could not be delivered keeps its period.
#[tokio::test]
async fn an_undelivered_write_of_unknown_outcome_keeps_its_period() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let database = Arc::<Database>::default();
    let [other, _] = two(&server, &database);
    let behind = crate::backend::options(&tap.url(), "test").build();
    let guarded = Guarded::new(behind).invalidation_deadline(Duration::from_millis(100));
    let one = Instance::new(CacheLayer::new(guarded), &database);
    assert!(other.stores("/a").await);
    one.reads("/a").await;
    tap.black_hole();
    let began = Instant::now();
    send(&one.service, put("/a")).await;
    assert_eq!(one.handle.stats().failed_invalidations, 1);
    assert!(other.reads("/a").await.is_hit(), "not delivered yet");
    tap.cut();
    tap.pass();
    until("it is delivered", async || {
        let health = one.handle.stats().health;
        health.is_some_and(|health| health.undelivered == 0)
    })
    .await;
    if began.elapsed() < GRACE - Duration::from_secs(1) {
        assert!(!other.stores("/a").await);
    }
    sleep_until(began + GRACE + Duration::from_millis(300)).await;
    assert!(other.stores("/a").await, "its period is not prolonged");
    assert_eq!(other.reads("/a").await.body, "1");
}

/// A fill that began before the write holds a fence that is broken for good.
#[tokio::test]
async fn no_earlier_fence_outlives_the_period() {
    let server = RedisServer::start().await;
    let backend = instance(&server);
    let sample = Sample::of(&backend, "/a", "old").await;
    let fence = sample.fence(&backend).await;
    let target = InvalidationTarget::Resource(*sample.key.resource());
    let short = Duration::from_millis(20);
    backend
        .invalidate_unknown(&target, short)
        .await
        .expect("done");
    sleep(5 * short).await;
    assert_eq!(sample.put(&backend, &fence).await, PutOutcome::Superseded);
}

/// Promise: a write of unknown outcome stops stores of its own resource, not of those that share a
/// stripe with it.
#[tokio::test]
async fn a_period_covers_exactly_its_resource() {
    let server = RedisServer::start().await;
    let backend = instance(&server);
    for number in 0..600 {
        let other = Sample::of(&backend, &format!("/{number}"), "other").await;
        let target = InvalidationTarget::Resource(*other.key.resource());
        let buried = backend.invalidate_unknown(&target, GRACE * 20).await;
        assert_eq!(buried.expect("done"), GraceScope::AllInstances);
    }
    let sample = Sample::of(&backend, "/a", "a").await;
    sample.store(&backend).await;
    let fence = backend.fence(Some(sample.key.resource())).await;
    let fence = fence.expect("done").expect("a fence");
    assert_eq!(sample.replace(&backend, &fence).await, PutOutcome::Stored);
    assert!(sample.body(&backend).await.is_some());
    // A write that did not know its resource shares the stripe's fate.
    let fence = backend.fence(None).await.expect("done").expect("a fence");
    assert_eq!(
        sample.replace(&backend, &fence).await,
        PutOutcome::Superseded
    );
    assert!(sample.body(&backend).await.is_none());
}
