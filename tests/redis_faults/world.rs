//! A database, instances of a service before it that share a Redis, and what clients were promised.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Method, Request};
use http_body_util::BodyExt;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::backend::{BreakerState, Guarded, Health, RedisBackend};
use tower_response_cache::{CacheHandle, CacheLayer};

use crate::support::origin::{Origin, OriginError, Response, answer};
use crate::support::redis::{PATIENCE, until};
use crate::support::{Answer, get, put, with};

pub const PATHS: usize = 4;
/// The one whose responses vary.
const VARYING: usize = PATHS - 1;
pub const PAUSE: Duration = Duration::from_millis(100);

/// A version for each path, which only grows.
#[derive(Debug, Default)]
pub struct Versions([AtomicU64; PATHS]);

impl Versions {
    pub fn get(&self, path: usize) -> u64 {
        self.0[path].load(Ordering::SeqCst)
    }

    fn next(&self, path: usize) -> u64 {
        self.0[path].fetch_add(1, Ordering::SeqCst) + 1
    }

    fn at_least(&self, path: usize, version: u64) {
        self.0[path].fetch_max(version, Ordering::SeqCst);
    }
}

#[derive(Clone, Default)]
pub struct World {
    database: Arc<Versions>,
    /// What all instances have promised, because Redis has acknowledged it.
    acknowledged: Arc<Versions>,
    padding: usize,
}

/// A service with its cache.
#[derive(Clone)]
pub struct Instance {
    service: BoxCloneSyncService<Request<()>, Response, OriginError>,
    pub handle: CacheHandle<Guarded<RedisBackend>>,
    pub origin: Origin,
    world: World,
    /// What this one has promised.
    promised: Arc<Versions>,
}

/// A namespace of a test's own.
pub fn options(url: &str) -> RedisOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let options = RedisOptions::new(url).expect("a URL");
    options.namespace(&name).expect("a namespace")
}

/// With the deadlines that it has by default, and shorter pauses.
pub fn guarded(options: RedisOptions) -> Guarded<RedisBackend> {
    Guarded::new(options.open()).reopen_after(PAUSE, PAUSE * 4)
}

/// That never finds a well server slow, however busy this machine is.
pub fn patient(options: RedisOptions) -> Guarded<RedisBackend> {
    let long = Duration::from_secs(60);
    let options = options.response_timeout(long).connect_timeout(long);
    guarded(options)
        .lookup_deadline(long)
        .invalidation_deadline(long)
        .store_deadline(long)
}

impl World {
    /// With bodies that are longer by so much.
    pub fn padded(padding: usize) -> Self {
        Self {
            padding,
            ..Self::default()
        }
    }

    pub fn instance(&self, backend: Guarded<RedisBackend>) -> Instance {
        let layer = CacheLayer::new(backend).ttl(Duration::from_secs(60));
        let origin = self.origin();
        let service = layer.layer(origin.clone());
        let service = service.map_response(|answer| answer.map(BodyExt::boxed_unsync));
        Instance {
            handle: layer.handle(),
            service: BoxCloneSyncService::new(service),
            origin,
            world: self.clone(),
            promised: Arc::default(),
        }
    }

    /// From now on nobody is to be answered with less than there is.
    pub fn promises_all(&self) {
        for path in 0..PATHS {
            self.acknowledged.at_least(path, self.database.get(path));
        }
    }

    /// Reads and writes take their time on both sides of the moment at which they happen.
    fn origin(&self) -> Origin {
        let world = self.clone();
        Origin::new(move |request: Request<()>| {
            let world = world.clone();
            async move {
                let path = path_of(&request);
                pause().await;
                let version = match *request.method() == Method::GET {
                    true => world.database.get(path),
                    false => world.database.next(path),
                };
                pause().await;
                let (text, vary) = (version.to_string(), [("vary", "accept-language")]);
                let lines = [("x-version", &*text)];
                let lines: Vec<_> = match path == VARYING {
                    true => lines.into_iter().chain(vary).collect(),
                    false => lines.into(),
                };
                let padding = "x".repeat(world.padding);
                Ok(answer(
                    200,
                    &lines,
                    format!("{} {version} {padding}", wanted(&request)),
                ))
            }
        })
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_micros(500)).await;
}

fn path_of(request: &Request<()>) -> usize {
    let path = request.uri().path().trim_start_matches('/');
    path.parse().expect("a number")
}

/// What an answer must be to: the target, and the language where responses vary.
fn wanted(request: &Request<()>) -> String {
    let language = request.headers().get("accept-language");
    let language = language.map_or("-", |language| language.to_str().expect("text"));
    match path_of(request) == VARYING {
        true => format!("{}:{language}", request.uri()),
        false => request.uri().to_string(),
    }
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

    /// Reads, and holds the answer against what was promised before.
    pub async fn read(&self, path: usize, number: usize) -> Answer {
        let acknowledged = self.world.acknowledged.get(path);
        let least = self.promised.get(path).max(acknowledged);
        let request = Self::request(path, number);
        let wanted = wanted(&request);
        let answer = self.ask(request).await;
        assert!(answer.status.is_success(), "{answer:?}");
        let parts: Vec<_> = answer.body.split(' ').collect();
        let [of, version, padding] = parts[..] else {
            panic!("{answer:?}");
        };
        assert_eq!(of, wanted);
        assert_eq!(padding.len(), self.world.padding);
        let version: u64 = version.parse().expect("a version");
        assert!(
            version >= least,
            "stale: version {version} of {wanted} after {least} was promised: {answer:?}"
        );
        assert!(version <= self.world.database.get(path), "{answer:?}");
        answer
    }

    /// Writes, and promises what came of it.
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

    /// Reads every path twice, so that it is stored.
    pub async fn warm(&self) {
        until("all are hits", async || {
            let mut are_hits = true;
            for path in 0..PATHS {
                are_hits &= self.read(path, 0).await.is_hit();
            }
            are_hits
        })
        .await;
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
            assert!(
                start.elapsed() < PATIENCE * 3,
                "until {what}: {:?}",
                stats()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the breaker has opened once more than at `before`.
    pub async fn gives_up(&self, before: Health) {
        let has_opened = |instance: &Self| instance.health().opened > before.opened;
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
