//! Instances that share stored responses, and instances that do not.

use tower::Layer;
use tower_response_cache::backend::RedisBackend;
use tower_response_cache::{Cache, CacheLayer};

use crate::backend::options;
use crate::support::origin::{Origin, cacheable};
use crate::support::redis::{RedisServer, until};
use crate::support::{get, put, send};

/// An instance before an origin of its own.
struct Instance {
    layer: CacheLayer<RedisBackend>,
    service: Cache<Origin, RedisBackend>,
    origin: Origin,
}

impl Instance {
    fn new(backend: RedisBackend) -> Self {
        let origin = Origin::at_once(|_| cacheable("a"));
        let layer = CacheLayer::new(backend);
        Self {
            service: layer.layer(origin.clone()),
            layer,
            origin,
        }
    }

    /// Reads; whether it was a hit. A miss is stored when this returns.
    async fn hits(&self) -> bool {
        let stores = self.layer.handle().stats().stores;
        let answer = send(&self.service, get("/a")).await;
        if answer.is_hit() {
            return true;
        }
        until("it is stored", async || {
            self.layer.handle().stats().stores > stores
        })
        .await;
        false
    }

    async fn writes(&self) {
        send(&self.service, put("/a")).await;
    }
}

#[tokio::test]
async fn instances_of_one_namespace_and_secret_share() {
    let server = RedisServer::start().await;
    let open = || options(&server.url(), "shop").key_secret("sesame").build();
    let (one, other) = (Instance::new(open()), Instance::new(open()));
    assert!(!one.hits().await);
    assert!(other.hits().await && one.hits().await);
    other.writes().await;
    assert!(!one.hits().await);
    assert!(other.hits().await);
    assert_eq!((one.origin.calls(), other.origin.calls()), (2, 1));
}

/// `a` is a prefix of `ab`, and neither namespace sees the other's entries.
#[tokio::test]
async fn instances_of_other_namespaces_or_secrets_do_not_share() {
    let server = RedisServer::start().await;
    let open = |namespace, secret| {
        let options = options(&server.url(), namespace).key_secret(secret);
        Instance::new(options.build())
    };
    let strangers = [
        open("a", ""),
        open("ab", ""),
        open("a.b", ""),
        open("a", "sesame"),
        open("a", "Sesame"),
    ];
    for stranger in &strangers {
        assert!(!stranger.hits().await);
    }
    strangers[0].writes().await;
    for stranger in &strangers[1..] {
        assert!(stranger.hits().await, "written by somebody else");
    }
    assert!(!strangers[0].hits().await);
    strangers[0].layer.handle().clear().await.expect("cleared");
    for stranger in &strangers[1..3] {
        assert!(stranger.hits().await, "cleared by somebody else");
    }
    // One namespace is cleared as a whole, for all secrets in it.
    for stranger in strangers.iter().skip(3).chain(&strangers[..1]) {
        assert!(!stranger.hits().await);
    }
}

/// Two databases of one server are two caches.
#[tokio::test]
async fn databases_do_not_share() {
    let server = RedisServer::start().await;
    let open =
        |database| Instance::new(options(&format!("{}{database}", server.url()), "a").build());
    let (one, other) = (open(0), open(1));
    assert!(!one.hits().await && !other.hits().await);
    one.layer.handle().clear().await.expect("cleared");
    assert!(!one.hits().await && other.hits().await);
}
