//! Large responses in Redis: the bytes they transfer, damaged bodies, and slow networks.

mod bodies;
mod congestion;
mod counted;
mod late_bodies;
pub mod links;
mod outages;
mod stores;
mod transferred;
mod untorn;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::{Method, Request};
use tower::Layer;
use tower_response_cache::backend::{Guarded, RedisBackend};
use tower_response_cache::{Cache, CacheHandle, CacheLayer};

use crate::faults::world::is_idle;
use crate::support::origin::{Origin, Response, answer};
use crate::support::redis::until;
use crate::support::{Answer, get, send};

/// The body of a version of a page: text that has no other version's bytes in any place.
fn body(length: usize, version: u64) -> String {
    let digit = char::from(b'a' + (version % 26) as u8);
    digit.to_string().repeat(length)
}

/// The length in a path like `/900000/name`.
fn length_of(path: &str) -> usize {
    let length = path.split('/').nth(1).expect("a length");
    length.parse().expect("a number")
}

/// Pages of the length in their path. A PUT makes a new version of one.
#[derive(Clone, Default)]
struct Versions(Arc<Mutex<HashMap<String, u64>>>);

impl Versions {
    fn current(&self, path: &str) -> u64 {
        let versions = self.0.lock().expect("no panic");
        versions.get(path).copied().unwrap_or(0)
    }

    fn next(&self, path: &str) -> u64 {
        let mut versions = self.0.lock().expect("no panic");
        let version = versions.entry(path.to_owned()).or_default();
        *version += 1;
        *version
    }

    fn respond(&self, request: &Request<()>) -> Response {
        let path = request.uri().path();
        let is_write = *request.method() == Method::PUT;
        let version = match is_write {
            true => self.next(path),
            false => self.current(path),
        };
        let tag = format!("\"{version}\"");
        let lines = [("cache-control", "max-age=600"), ("etag", &*tag)];
        let lines = &lines[usize::from(is_write)..];
        match is_write {
            true => answer(200, lines, ""),
            false => answer(200, lines, body(length_of(path), version)),
        }
    }
}

/// A cache over Redis.
struct Instance {
    service: Cache<Origin, Guarded<RedisBackend>>,
    handle: CacheHandle<Guarded<RedisBackend>>,
    origin: Origin,
    versions: Versions,
}

impl Instance {
    fn new(backend: Guarded<RedisBackend>) -> Self {
        Self::with(backend, Versions::default(), |layer| layer)
    }

    fn with(
        backend: Guarded<RedisBackend>,
        versions: Versions,
        options: impl FnOnce(CacheLayer<Guarded<RedisBackend>>) -> CacheLayer<Guarded<RedisBackend>>,
    ) -> Self {
        let layer = options(CacheLayer::new(backend));
        let pages = versions.clone();
        let origin = Origin::at_once(move |request| pages.respond(request));
        Self {
            handle: layer.handle(),
            service: layer.layer(origin.clone()),
            origin,
            versions,
        }
    }

    /// A GET whose body is compared.
    async fn read(&self, path: &str) -> Answer {
        let version = self.versions.current(path);
        let answer = send(&self.service, get(path)).await;
        assert!(
            answer.body == body(length_of(path), version),
            "torn or outdated: {path}, {} bytes",
            answer.body.len()
        );
        answer
    }

    /// Reads until the page is stored, and no store is under way.
    async fn fill(&self, path: &str) {
        until("it is stored", async || {
            let was_idle = is_idle(&self.handle);
            self.read(path).await.is_hit() && was_idle
        })
        .await;
    }
}
