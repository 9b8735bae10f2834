//! A database, instances of a service before it that share a Redis, and what clients were promised.

pub mod instance;
pub mod load;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request};
use http_body_util::BodyExt;
use tokio::time::sleep;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::backend::{Guarded, RedisBackend};
use tower_response_cache::{BoxError, CacheHandle, CacheLayer};

use crate::faults::world::instance::Instance;
use crate::support::origin::{Origin, answer};
use crate::support::redis::{Link, LinkSpeed};

pub const PATHS: usize = 4;
/// The one whose responses vary.
const VARYING: usize = PATHS - 1;
/// The one whose responses are large, where any are.
const LARGE: usize = 1;
const LARGE_PADDING: usize = 1024 * 1024;
/// The environment variable that runs all tests over a slow link.
pub const SLOW_FAULTS: &str = "TRC_SLOW_FAULTS";
const SHORT: Duration = Duration::from_micros(500);
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

    pub fn at_least(&self, path: usize, version: u64) {
        self.0[path].fetch_max(version, Ordering::SeqCst);
    }
}

#[derive(Clone)]
pub struct World {
    pub database: Arc<Versions>,
    /// What all instances have promised, because Redis has acknowledged it.
    pub acknowledged: Arc<Versions>,
    padding: usize,
    has_large: bool,
    writes_through: bool,
    /// How long the service takes for longer.
    slower: Duration,
}

/// A namespace of a test's own, over a slow link where all tests are to be run so: see the module.
pub fn options(url: &str) -> RedisOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let options = match is_slow() {
        true => RedisOptions::new(&over_link(url, LinkSpeed::SLOW)),
        false => RedisOptions::new(url),
    };
    options
        .expect("a URL")
        .try_namespace(&name)
        .expect("a namespace")
}

/// The most connections of an instance: those for large bodies, two that read and one that stores,
/// are opened when the first is needed.
pub fn connections() -> usize {
    if is_slow() { 5 } else { 2 }
}

/// Whether all tests are to be run over a slow link, with large objects among small ones.
pub fn is_slow() -> bool {
    std::env::var_os(SLOW_FAULTS).is_some()
}

/// Whether nothing is on its way into the store.
pub fn is_idle(handle: &CacheHandle<Guarded<RedisBackend>>) -> bool {
    let in_flight = handle.stats().in_flight;
    in_flight.tasks == 0 && in_flight.fills == 0
}

/// The URL of a new link to the server of a URL.
pub fn over_link(url: &str, speed: LinkSpeed) -> String {
    let (before, port) = url.trim_end_matches('/').rsplit_once(':').expect("a port");
    let port = port.parse().expect("a port");
    // It only binds, which takes no time.
    let mut opening = std::pin::pin!(Link::to(port, speed));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(link) = opening.as_mut().poll(&mut context) else {
        panic!("it takes time to bind");
    };
    format!("{before}:{}/", link.port())
}

/// With the deadlines that it has by default, and shorter pauses.
pub fn guarded(options: RedisOptions) -> Guarded<RedisBackend> {
    Guarded::new(options.build())
        .half_open_after(PAUSE)
        .max_half_open_delay(PAUSE * 4)
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

impl Default for World {
    fn default() -> Self {
        Self {
            database: Arc::default(),
            acknowledged: Arc::default(),
            padding: 0,
            has_large: is_slow(),
            writes_through: false,
            slower: Duration::ZERO,
        }
    }
}

impl World {
    /// By how much the bodies of a path are longer.
    fn padding(&self, path: usize) -> usize {
        match self.has_large && path == LARGE {
            true => LARGE_PADDING,
            false => self.padding,
        }
    }

    /// With bodies that are longer by so much.
    pub fn padded(padding: usize) -> Self {
        Self {
            padding,
            ..Self::default()
        }
    }

    /// Where what a write answers is stored.
    pub fn writing_through() -> Self {
        Self {
            writes_through: true,
            ..Self::default()
        }
    }

    /// A world with a slower service, so that requests overlap.
    pub fn slower(by: Duration) -> Self {
        Self {
            slower: by,
            ..Self::default()
        }
    }

    pub fn instance(&self, backend: Guarded<RedisBackend>) -> Instance {
        let layer = CacheLayer::new(backend)
            .ttl(Duration::from_secs(60))
            .max_body(2 * LARGE_PADDING as u64);
        let layer = match self.writes_through {
            true => layer.write_through(true),
            false => layer,
        };
        let origin = self.origin();
        let service = layer.layer(origin.clone());
        let service = service
            .map_response(|answer| answer.map(|body| body.map_err(BoxError::from).boxed_unsync()));
        Instance {
            handle: layer.handle(),
            service: BoxCloneSyncService::new(service),
            origin,
            world: self.clone(),
            promised: Arc::default(),
        }
    }

    /// From now on no answer may be older than the current version.
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
                sleep(SHORT).await;
                let version = match *request.method() == Method::GET {
                    true => world.database.get(path),
                    false => world.database.next(path),
                };
                sleep(SHORT + world.slower).await;
                let (text, location) = (version.to_string(), request.uri().path());
                let mut lines = vec![("x-version", &*text), ("content-location", location)];
                if path == VARYING {
                    lines.push(("vary", "accept-language"));
                }
                let padding = "x".repeat(world.padding(path));
                Ok(answer(
                    200,
                    &lines,
                    format!("{} {version} {padding}", wanted(&request)),
                ))
            }
        })
    }
}

fn path_of(request: &Request<()>) -> usize {
    let path = request.uri().path().trim_start_matches('/');
    path.parse().expect("a number")
}

/// What an answer must be to: the target, and the language where responses vary.
pub fn wanted(request: &Request<()>) -> String {
    let language = request.headers().get("accept-language");
    let language = language.map_or("-", |language| language.to_str().expect("text"));
    match path_of(request) == VARYING {
        true => format!("{}:{language}", request.uri()),
        false => request.uri().to_string(),
    }
}
