//! The way in a few lines: miss, hit, write, miss.

use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Backend, MemoryBackend};

use crate::support::origin::versions;
use crate::support::yielding::yielding;
use crate::support::{get, put, send};

async fn miss_hit_write_miss(backend: impl Backend) {
    let origin = versions();
    let layer = CacheLayer::new(backend);
    let service = layer.layer(origin.clone());
    let first = send(&service, get("/a")).await;
    assert_eq!(
        (first.body.as_str(), first.cache_status().as_str()),
        ("v1", "fwd=uri-miss; stored")
    );
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    let second = send(&service, get("/a")).await;
    assert_eq!(
        (second.body.as_str(), second.cache_status().as_str()),
        ("v1", "hit; ttl=3600")
    );
    assert_eq!(second.header("age"), "0");
    let written = send(&service, put("/a")).await;
    assert_eq!(
        (written.body.as_str(), written.cache_status().as_str()),
        ("v2", "fwd=method; detail=invalidated")
    );
    let third = send(&service, get("/a")).await;
    assert_eq!((third.body.as_str(), third.is_hit()), ("v2", false));
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn memory() {
    miss_hit_write_miss(MemoryBackend::default()).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_waits() {
    miss_hit_write_miss(yielding(MemoryBackend::default())).await;
}
