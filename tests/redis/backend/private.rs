//! Private responses on a real server: two instances, each with a `Guarded` in front.

use http::{Method, Request};
use tower::Layer;
use tower_response_cache::backend::{Guarded, RedisBackend};
use tower_response_cache::{Cache, CacheHandle, CacheLayer};

use crate::backend::instance;
use crate::support::origin::{Origin, answer};
use crate::support::redis::{PATIENCE, RedisServer, until};
use crate::support::{get, request, send, with};

struct Instance {
    service: Cache<Origin, Guarded<RedisBackend>>,
    handle: CacheHandle<Guarded<RedisBackend>>,
}

impl Instance {
    fn on(server: &RedisServer) -> Self {
        // A busy machine may be as slow as it likes.
        let guarded = Guarded::new(instance(server))
            .lookup_deadline(PATIENCE)
            .invalidation_deadline(PATIENCE)
            .store_deadline(PATIENCE);
        let layer = CacheLayer::new(guarded)
            .max_private_entries(3)
            .private_by(|request| Some(request.headers.get("x-client")?.to_str().ok()?.to_owned()));
        let origin = Origin::at_once(|request| {
            let client = request.headers().get("x-client");
            let client = client.map_or("nobody", |name| name.to_str().expect("text"));
            let control = [("cache-control", "private, max-age=60")];
            answer(200, &control, format!("page of {client}"))
        });
        Self {
            handle: layer.handle(),
            service: layer.layer(origin),
        }
    }

    /// Asks for a page; whether it was a hit. A miss of a client is stored when this returns.
    async fn hits(&self, path: &str, client: &str) -> bool {
        let stores = self.handle.stats().stores;
        let ask = match client {
            "nobody" => get(path),
            client => with(get(path), "x-client", client),
        };
        let got = send(&self.service, ask).await;
        assert_eq!(got.body, format!("page of {client}"), "{path}");
        if !got.is_hit() && client != "nobody" {
            let stored = async || self.handle.stats().stores > stores;
            until("it is stored", stored).await;
        }
        got.is_hit()
    }
}

fn write(path: &str) -> Request<()> {
    request(Method::PUT, path)
}

/// Promise: a client finds its page at every instance, no other one does, and a write at one
/// instance clears it at all.
#[tokio::test]
async fn instances_share_the_partition_of_each_client() {
    let server = RedisServer::start().await;
    let (one, other) = (Instance::on(&server), Instance::on(&server));
    for client in ["alice", "bob"] {
        assert!(!one.hits("/a", client).await, "{client}");
        assert!(other.hits("/a", client).await, "{client}");
        assert!(!other.hits("/a", "nobody").await);
    }
    send(&other.service, write("/a")).await;
    for client in ["alice", "bob"] {
        assert!(!one.hits("/a", client).await, "{client}");
    }
    one.handle.expire("/a").await.expect("acknowledged");
    for client in ["alice", "bob"] {
        assert!(!other.hits("/a", client).await, "{client}: it is stale");
    }
}

/// Promise P9: the number of a client's responses is bounded on a server, too.
#[tokio::test]
async fn an_instance_bounds_what_it_stores_for_a_client() {
    let server = RedisServer::start().await;
    let (one, other) = (Instance::on(&server), Instance::on(&server));
    let pages = ["/1", "/2", "/3", "/4", "/5"];
    for page in pages {
        assert!(!one.hits(page, "alice").await, "{page}");
    }
    // The removal may still be under way.
    let entries = async || server.names("test:e*").await.len() == 3;
    until("the first ones are removed", entries).await;
    let mut hits = Vec::new();
    for page in &pages[2..] {
        hits.push(other.hits(page, "alice").await);
    }
    assert_eq!(hits, [true; 3], "those that were stored last");
}
