//! What one instance makes stale is stale at every instance, and what a handler says for this cache
//! alone is kept by the server.

use http::{HeaderName, Request};
use tower::Layer;
use tower_response_cache::backend::{
    Backend, InvalidationTarget, Lookup, PutOutcome, RedisBackend,
};
use tower_response_cache::{Cache, CacheHandle, CacheLayer, CachePolicy};

use crate::backend::{evict, instance};
use crate::support::origin::{Origin, answer};
use crate::support::redis::{RedisServer, until};
use crate::support::sample::{Sample, at};
use crate::support::time::SECOND;
use crate::support::{get, put, send, with};

/// Its pages have a strong validator, a group named by a tag, and are selected by the tenant. The
/// large one has a body of its own in Redis.
fn origin() -> Origin {
    Origin::at_once(|request: &Request<()>| {
        if request.method() == http::Method::PUT {
            return answer(204, &[], "");
        }
        let lines = [("etag", "\"a\""), ("cache-tag", "pages")];
        let policy = CachePolicy::new()
            .ttl(SECOND * 3600)
            .vary_on([HeaderName::from_static("x-tenant")]);
        let mut response = match request.headers().contains_key("if-none-match") {
            true => answer(304, &lines[..1], ""),
            false if request.uri().path() == "/large" => answer(200, &lines, "x".repeat(100_000)),
            false => answer(200, &lines, "text"),
        };
        response.extensions_mut().insert(policy);
        response
    })
}

/// One of several that share a server.
struct Instance {
    service: Cache<Origin, RedisBackend>,
    handle: CacheHandle<RedisBackend>,
}

impl Instance {
    fn on(server: &RedisServer) -> Self {
        let layer = CacheLayer::new(instance(server)).group_fields(["cache-tag"]);
        Self {
            handle: layer.handle(),
            service: layer.layer(origin()),
        }
    }

    /// How requests are answered, stored when this returns.
    async fn ask_all(&self) -> Vec<String> {
        let mut statuses = Vec::new();
        for (path, tenant) in [("/a", "1"), ("/a", "2"), ("/a?q", "1"), ("/large", "1")] {
            let stores = self.handle.stats().stores;
            let answer = send(&self.service, with(get(path), "x-tenant", tenant)).await;
            let length = if path == "/large" { 100_000 } else { 4 };
            assert_eq!(answer.body.len(), length);
            let status = answer.cache_status();
            let status = status.split(';').next().unwrap_or_default();
            if status != "hit" {
                let stored = async || self.handle.stats().stores > stores;
                until("it is stored", stored).await;
            }
            statuses.push(status.to_owned());
        }
        statuses
    }
}

const MISSES: [&str; 4] = [
    "fwd=uri-miss",
    "fwd=vary-miss",
    "fwd=uri-miss",
    "fwd=uri-miss",
];

#[tokio::test]
async fn what_one_instance_makes_stale_is_validated_by_the_other() {
    let server = RedisServer::start().await;
    let [here, there] = [Instance::on(&server), Instance::on(&server)];
    assert_eq!(here.ask_all().await, MISSES);
    assert_eq!(there.ask_all().await, ["hit"; 4]);
    for _ in 0..6 {
        here.handle.expire("/a").await.expect("acknowledged");
        let stale_but_large = ["fwd=stale", "fwd=stale", "fwd=stale", "hit"];
        assert_eq!(there.ask_all().await, stale_but_large);
        assert_eq!(here.ask_all().await, ["hit"; 4]);
        let expired = there.handle.expire_group("", "pages").await;
        expired.expect("acknowledged");
        assert_eq!(here.ask_all().await, ["fwd=stale"; 4]);
        assert_eq!(there.ask_all().await, ["hit"; 4]);
    }
    assert_eq!(
        there.handle.stats().validations + here.handle.stats().validations,
        6 * 7
    );
}

/// Promise: a removal takes what was made stale with it; the memory for expirations is bounded, and
/// what is older than all of them is a miss.
#[tokio::test]
async fn a_removal_and_many_expirations_leave_nothing_stale() {
    let server = RedisServer::start().await;
    let [here, there] = [Instance::on(&server), Instance::on(&server)];
    here.ask_all().await;
    here.handle.expire("/a").await.expect("acknowledged");
    send(&there.service, put("/a")).await;
    here.handle.expire("/a").await.expect("acknowledged");
    let gone_but_large = [MISSES[0], MISSES[1], MISSES[2], "hit"];
    assert_eq!(here.ask_all().await, gone_but_large);
    for times in 1..7 {
        for _ in 0..times {
            here.handle.expire("/a").await.expect("acknowledged");
        }
        let first = there.ask_all().await.swap_remove(0);
        let is_stale = first == "fwd=stale";
        assert!(
            is_stale == (times <= 4) && first != "hit",
            "after {times}: {first}"
        );
    }
    for times in [4, 5] {
        for _ in 0..times {
            let expired = here.handle.expire_group("", "pages").await;
            expired.expect("acknowledged");
        }
        let large = there.ask_all().await.swap_remove(3);
        let is_stale = large == "fwd=stale";
        assert!(
            is_stale == (times <= 4) && large != "hit",
            "after {times}: {large}"
        );
    }
    here.handle.expire_all().await.expect("acknowledged");
    assert_eq!(there.ask_all().await, MISSES, "everything is cleared");
}

/// Promise: an evicted lease, or token of a group, takes what was made stale with it.
#[tokio::test]
async fn what_is_evicted_is_a_miss() {
    for kind in ["l", "g", "n"] {
        let server = RedisServer::start().await;
        let here = Instance::on(&server);
        here.ask_all().await;
        here.handle.expire("/a").await.expect("acknowledged");
        let expired = here.handle.expire_group("", "pages").await;
        expired.expect("acknowledged");
        assert!(evict(&server, kind).await > 0, "{kind}");
        let first = here.ask_all().await.swap_remove(0);
        assert!(first.ends_with("-miss"), "{kind}: {first}");
        assert_eq!(here.ask_all().await, ["hit"; 4]);
    }
}

/// What was listed behind a lease before is removed with it after.
#[tokio::test]
async fn entries_are_removed_with_a_lease_that_was_changed() {
    let server = RedisServer::start().await;
    let backend = instance(&server);
    let layer = CacheLayer::new(backend.clone());
    let here = Instance {
        handle: layer.handle(),
        service: layer.layer(origin()),
    };
    here.ask_all().await;
    let entries = server.names("test:e*").await.len();
    assert!(entries >= 5, "rules and responses: {entries}");
    for path in ["/a", "/large"] {
        here.handle.expire(path).await.expect("acknowledged");
    }
    here.ask_all().await;
    for path in ["/a", "/large"] {
        here.handle.invalidate(path).await.expect("acknowledged");
    }
    assert_eq!(server.names("test:e*").await.len(), 0);
    assert_eq!(server.names("test:b*").await.len(), 0);
    backend.drain().await;
}

/// Promise: an expiration that is delivered late ends lifetimes when it was told.
#[tokio::test]
async fn a_late_expiration_counts_from_when_it_was_told() {
    for is_group in [false, true] {
        let server = RedisServer::start().await;
        let backend = instance(&server);
        let sample = Sample::in_groups(&backend, "/a", "\"pages\"", "text").await;
        let fence = sample.fence(&backend).await;
        let put = backend.put(&sample.key, fence, sample.response.clone(), at(200));
        assert_eq!(put.await.expect("a put"), PutOutcome::Stored);
        let target = match is_group {
            false => InvalidationTarget::Resource(*sample.key.resource()),
            true => InvalidationTarget::Group(sample.response.groups()[0]),
        };
        let expired = backend.expire(&[target], at(100), SECOND * 100).await;
        expired.expect("acknowledged");
        let lookup = backend.get(&sample.key, at(200)).await.expect("a lookup");
        let Lookup::Found(found, _) = lookup else {
            panic!("{lookup:?}");
        };
        let lifetime = found.freshness().lifetime.expect("a lifetime").as_secs();
        // The clock of the server is read between two moments.
        assert!((95..=100).contains(&lifetime), "{lifetime}");
    }
}
