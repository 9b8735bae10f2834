//! Responses to QUERY on a real server: two instances, each with a `Guarded` in front.

use tower::Layer;
use tower_response_cache::backend::{Guarded, RedisBackend};
use tower_response_cache::{Cache, CacheHandle, CacheLayer};

use crate::backend::instance;
use crate::support::contents::{Contents, ask, line, post, query, with_content};
use crate::support::redis::{PATIENCE, RedisServer, until};

/// Longer than what a backend keeps inline.
const MAX: usize = 32 * 1024;

struct Instance {
    service: Cache<Contents, Guarded<RedisBackend>>,
    handle: CacheHandle<Guarded<RedisBackend>>,
}

impl Instance {
    fn on(server: &RedisServer, origin: &Contents) -> Self {
        // A busy machine may be as slow as it likes.
        let guarded = Guarded::new(instance(server))
            .lookup_deadline(PATIENCE)
            .invalidation_deadline(PATIENCE)
            .store_deadline(PATIENCE);
        let layer = CacheLayer::new(guarded)
            .cache_queries(MAX)
            .read_only_posts(|request| request.headers.contains_key("x-read"));
        Self {
            handle: layer.handle(),
            service: layer.layer(origin.clone()),
        }
    }

    /// Asks by this content; the answer, and whether it was a hit. A miss is stored when this returns.
    async fn asks(&self, method: &str, content: &str) -> (String, bool) {
        let stores = self.handle.stats().stores;
        let request = line(with_content(method, "/q", content), "x-read", "1");
        let got = ask(&self.service, request).await;
        if !got.is_hit() {
            let stored = async || self.handle.stats().stores > stores;
            until("it is stored", stored).await;
        }
        (got.body.clone(), got.is_hit())
    }
}

/// Promise: an instance finds what another one has stored by the same content, and a write at one
/// clears it at all.
#[tokio::test]
async fn instances_share_responses_by_content() {
    let server = RedisServer::start().await;
    let origin = Contents::new();
    let (one, other) = (
        Instance::on(&server, &origin),
        Instance::on(&server, &origin),
    );
    let (short, long) = ("a", "x".repeat(MAX));
    for version in 0..2 {
        for method in ["QUERY", "POST"] {
            for content in [short, &*long, &long[1..]] {
                let expected = format!("{method} {content} v{version}");
                assert_eq!(one.asks(method, content).await, (expected.clone(), false));
                assert_eq!(other.asks(method, content).await, (expected, true));
            }
        }
        ask(&other.service, post("/q", "write")).await;
    }
    // Content that is in no key goes on past the cache, and clears nothing.
    assert!(!one.asks("QUERY", short).await.1);
    ask(&other.service, query("/q", &"x".repeat(MAX + 1))).await;
    assert!(other.asks("QUERY", short).await.1);
}
