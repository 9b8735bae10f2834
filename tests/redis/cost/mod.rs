//! What each operation costs: commands, round trips and bytes, on a real server behind a tap.
//!
//! `docs/redis.md` has the table that `each_operation_keeps_its_bounds` prints.

mod measured;
mod orphans;
mod posts;
mod replays;
mod table;
mod variants;

use http::{Method, Request};
use tower::Layer;
use tower_response_cache::backend::{Guarded, RedisBackend};
use tower_response_cache::{Cache, CacheHandle, CacheLayer};

use self::measured::{Cost, Measured};
use crate::support::origin::{Origin, Response, answer};
use crate::support::redis::until;
use crate::support::{Answer, get, send};

const KILOBYTE: usize = 1024;

/// One instance of a cache over a measured server.
struct Instance {
    service: Cache<Origin, Guarded<RedisBackend>>,
    handle: CacheHandle<Guarded<RedisBackend>>,
}

impl Instance {
    async fn on(measured: &Measured) -> Self {
        Self::with(measured, |layer| layer).await
    }

    async fn writing_through(measured: &Measured) -> Self {
        Self::with(measured, |layer| layer.write_through(true)).await
    }

    async fn with(
        measured: &Measured,
        options: impl FnOnce(CacheLayer<Guarded<RedisBackend>>) -> CacheLayer<Guarded<RedisBackend>>,
    ) -> Self {
        let layer = options(CacheLayer::new(measured.backend().await));
        let calls = measured.calls();
        Self {
            handle: layer.handle(),
            service: layer.layer(Origin::at_once(move |request| {
                calls.record();
                respond(request)
            })),
        }
    }

    /// Sends a request and waits until its response is stored.
    async fn fill(&self, request: Request<()>) -> Answer {
        let stores = self.handle.stats().stores;
        let answer = send(&self.service, request).await;
        let is_stored = async || self.handle.stats().stores > stores;
        until("it is stored", is_stored).await;
        answer
    }

    async fn send(&self, request: Request<()>) -> Answer {
        send(&self.service, request).await
    }

    /// Looks up a resource of its own, so that the tokens that all share are there.
    async fn warm_up(&self) {
        self.fill(get("/warm")).await;
    }
}

/// Answers paths that begin with `/varies` with a `Vary` field, `/member` with a group and
/// `/uncacheable` with `no-store`. Writes are answered with the representation that write-through
/// stores.
fn respond(request: &Request<()>) -> Response {
    let path = request.uri().path();
    let mut lines = vec![("cache-control", "max-age=3600"), ("etag", "\"1\"")];
    if path.starts_with("/varies") {
        lines.push(("vary", "accept-encoding"));
    }
    if path.starts_with("/member") {
        lines.push(("cache-groups", "\"a\", \"b\""));
    }
    match *request.method() {
        Method::POST if path == "/groups" => {
            return answer(204, &[("cache-group-invalidation", "\"a\"")], "");
        }
        Method::POST => {
            let created = format!("{path}/7");
            lines.extend([("location", &*created), ("content-location", &*created)]);
            return answer(201, &lines, vec![b'x'; KILOBYTE]);
        }
        Method::PUT if request.headers().contains_key("x-fails") => return answer(500, &[], ""),
        Method::DELETE => return answer(204, &[], ""),
        Method::PUT => lines.push(("content-location", path)),
        _ => {}
    }
    if path.starts_with("/uncacheable") {
        lines[0].1 = "no-store";
    }
    answer(200, &lines, vec![b'x'; KILOBYTE])
}
