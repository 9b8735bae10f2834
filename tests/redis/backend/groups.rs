//! The protocol of groups on a real server: a group's token, and one for all groups.

use http::{Method, Request};
use tower::Layer;
use tower_response_cache::backend::{Backend, PutOutcome, RedisBackend};
use tower_response_cache::{Cache, CacheHandle, CacheLayer};

use crate::backend::{evict, instance};
use crate::support::origin::{Origin, answer};
use crate::support::redis::{RedisServer, until};
use crate::support::{get, request, send};

/// Two members of a group, one of another, and one of none. A POST invalidates the group `a`.
fn origin() -> Origin {
    Origin::at_once(|request: &Request<()>| {
        let control = ("cache-control", "max-age=60");
        match (request.method(), request.uri().path()) {
            (&Method::POST, _) => answer(204, &[("cache-group-invalidation", "\"a\"")], ""),
            (_, "/a1") => answer(200, &[control, ("cache-groups", "\"a\"")], "a1"),
            (_, "/a2") => answer(200, &[control, ("cache-groups", "\"b\", \"a\"")], "a2"),
            (_, "/b") => answer(200, &[control, ("cache-groups", "\"b\"")], "b"),
            _ => answer(200, &[control], "none"),
        }
    })
}

/// One of several that share a server.
struct Instance {
    service: Cache<Origin, RedisBackend>,
    handle: CacheHandle<RedisBackend>,
}

impl Instance {
    fn on(server: &RedisServer) -> Self {
        let layer = CacheLayer::new(instance(server));
        Self {
            handle: layer.handle(),
            service: layer.layer(origin()),
        }
    }

    /// Requests all; returns which of them are hits. The others are stored when this returns.
    async fn hits(&self) -> [bool; 4] {
        let mut hits = [false; 4];
        for (hit, path) in hits.iter_mut().zip(["/a1", "/a2", "/b", "/none"]) {
            let stores = self.handle.stats().stores;
            *hit = send(&self.service, get(path)).await.is_hit();
            if !*hit {
                let stored = async || self.handle.stats().stores > stores;
                until("it is stored", stored).await;
            }
        }
        hits
    }
}

/// What one instance invalidates no instance serves, and nothing else goes.
#[tokio::test]
async fn a_groups_members_vanish_at_every_instance_and_no_others() {
    let server = RedisServer::start().await;
    let (one, other) = (Instance::on(&server), Instance::on(&server));
    one.hits().await;
    assert_eq!(other.hits().await, [true; 4]);
    send(&other.service, request(Method::POST, "/elsewhere")).await;
    assert_eq!(one.hits().await, [false, false, true, true]);
    assert_eq!(other.hits().await, [true; 4], "they are stored anew");
    let invalidated = one.handle.invalidate_group("test.example", "b").await;
    invalidated.expect("it is acknowledged");
    assert_eq!(other.hits().await, [true, false, false, true]);
}

/// Lost tokens cost misses.
#[tokio::test]
async fn a_lost_token_is_a_miss_and_never_stale() {
    let server = RedisServer::start().await;
    let one = Instance::on(&server);
    one.hits().await;
    assert_eq!(evict(&server, "q").await, 1);
    assert_eq!(one.hits().await, [true; 4], "it is for fills only");
    assert_eq!(evict(&server, "g").await, 2);
    assert_eq!(one.hits().await, [false, false, false, true]);
}

/// A member whose groups were not known when its fill began is checked against tokens from before
/// it.
#[tokio::test]
async fn a_fill_that_began_before_an_invalidation_of_any_group_stores_no_member() {
    let server = RedisServer::start().await;
    let (one, other) = (Instance::on(&server), instance(&server));
    one.hits().await;
    let member = crate::support::sample::Sample::of(&other, "/plain", "a").await;
    let fence = member.fence(&other).await;
    let invalidated = one.handle.invalidate_group("test.example", "b").await;
    invalidated.expect("it is acknowledged");
    // It is in no group, so the groups' tokens do not concern it.
    assert_eq!(member.put(&other, &fence).await, PutOutcome::Stored);
    assert_ne!(
        member.fence(&other).await,
        fence,
        "nobody joins a flight from before"
    );
    other.clear().await.expect("it is cleared");
}
