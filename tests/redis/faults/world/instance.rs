//! One of several that share a Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use tower_response_cache::CacheHandle;
use tower_response_cache::backend::{BreakerState, Guarded, Health, RedisBackend};

use crate::faults::world::{PATHS, Versions, World, is_idle, wanted};
use crate::support::origin::{Origin, OriginError, Response};
use crate::support::redis::{PATIENCE, until};
use crate::support::{Answer, get, put, with};

/// A service with its cache.
#[derive(Clone)]
pub struct Instance {
    pub(super) service: BoxCloneSyncService<Request<()>, Response, OriginError>,
    pub handle: CacheHandle<Guarded<RedisBackend>>,
    pub origin: Origin,
    pub(super) world: World,
    /// What this one has promised.
    pub(super) promised: Arc<Versions>,
}

impl Instance {
    /// The request of a number: over some queries and two languages.
    pub fn request(path: usize, number: usize) -> Request<()> {
        let target = match number {
            0 => format!("/{path}"),
            _ => format!("/{path}?q={number}"),
        };
        let language = if number.is_multiple_of(2) { "en" } else { "de" };
        with(get(&target), "accept-language", language)
    }

    /// Reads, and compares the answer with the versions promised before.
    pub async fn read(&self, path: usize, number: usize) -> Answer {
        let acknowledged = self.world.acknowledged.get(path);
        let least = self.promised.get(path).max(acknowledged);
        let request = Self::request(path, number);
        let wanted = wanted(&request);
        let answer = self.ask(request).await;
        assert!(answer.status.is_success(), "{}", answer.status);
        let parts: Vec<_> = answer.body.split(' ').collect();
        let [of, version, padding] = parts[..] else {
            panic!("{} bytes for {wanted}", answer.body.len());
        };
        assert_eq!(of, wanted);
        assert_eq!(padding.len(), self.world.padding(path));
        let version: u64 = version.parse().expect("a version");
        assert!(
            version >= least,
            "stale: version {version} of {wanted} after {least} was promised: {:?}",
            answer.headers
        );
        assert!(version <= self.world.database.get(path), "{version}");
        answer
    }

    /// Writes, and records the promised version.
    pub async fn write(&self, path: usize) -> Answer {
        let failed = || self.handle.stats().failed_invalidations;
        let before = failed();
        let answer = self.ask(put(&format!("/{path}"))).await;
        assert!(answer.status.is_success(), "{answer:?}");
        let version = answer.header("x-version").parse().expect("a version");
        self.promised.at_least(path, version);
        if failed() == before {
            self.world.acknowledged.at_least(path, version);
        }
        answer
    }

    async fn ask(&self, request: Request<()>) -> Answer {
        let response = self.service.clone().oneshot(request).await;
        let (head, body) = response.expect("an answer").into_parts();
        let body = body.collect().await.expect("a whole body");
        Answer {
            status: head.status,
            headers: head.headers,
            trailers: body.trailers().cloned(),
            body: String::from_utf8(body.to_bytes().into()).expect("text"),
        }
    }

    pub async fn write_all(&self) {
        for path in 0..PATHS {
            self.write(path).await;
        }
    }

    /// Reads every path until it is stored. A hit may share a response that is still on its way
    /// into the store, which takes a while for a large one: so nothing may be under way.
    pub async fn warm(&self) {
        until("all are hits", async || {
            let mut are_hits = self.is_idle();
            for path in 0..PATHS {
                are_hits &= self.read(path, 0).await.is_hit();
            }
            are_hits
        })
        .await;
    }

    /// Whether nothing is on its way into the store.
    pub fn is_idle(&self) -> bool {
        is_idle(&self.handle)
    }

    pub fn health(&self) -> Health {
        self.handle.stats().health.expect("it is guarded")
    }

    pub fn hits(&self) -> u64 {
        self.handle.stats().hits
    }

    pub fn owes_nothing(&self) -> bool {
        let health = self.health();
        health.undelivered == 0 && !health.to_be_cleared
    }

    /// Waits until something is so; tells the cache's counters when that takes too long.
    pub async fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            let stats = || self.handle.stats();
            assert!(start.elapsed() < PATIENCE, "until {what}: {:?}", stats());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Writes while it reads itself.
    pub async fn until_reading(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        until(what, async || {
            self.read(0, 0).await;
            is_so(self)
        })
        .await;
    }

    /// Waits until the breaker of lookups has opened once more than at `before`, or that of
    /// invalidations is open.
    pub async fn gives_up(&self, before: Health) {
        let has_opened = |instance: &Self| {
            let health = instance.health();
            let is_closed = health.breaker == BreakerState::Closed;
            // Where all resources are owed, nothing is looked up.
            health.opened > before.opened && !is_closed
                || health.invalidation_breaker == BreakerState::Open
        };
        self.until("the breaker opens", has_opened).await;
    }

    /// Waits, while a load is on, until all is well: asked again, nothing owed, hits.
    pub async fn recovers(&self) {
        let hits = self.hits();
        let is_well = |instance: &Self| {
            let is_closed = instance.health().breaker == BreakerState::Closed;
            is_closed && instance.owes_nothing() && instance.hits() > hits + 20
        };
        self.until("all is well again", is_well).await;
    }
}
