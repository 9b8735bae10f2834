//! An `Invalidator` does what its handle does, and can be kept wherever no backend is named.

use tower::Layer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{CacheHandle, CacheLayer, Invalidator};

use crate::support::both::on_both_backends;
use crate::support::dying::dying;
use crate::support::origin::with_group;
use crate::support::{get, is_stored, send};

/// What an application keeps: it is sent to tasks, shared and cloned, and names no backend.
#[derive(Clone, Debug)]
struct App {
    cache: Invalidator,
}

#[tokio::test]
async fn an_invalidator_removes_by_uri_by_key_by_group_and_all() {
    on_both_backends(async |layer| {
        let app = App {
            cache: layer.handle().invalidator(),
        };
        let service = layer.layer(with_group());
        let all = ["/uri?q=1", "/key", "/g/1", "/kept", "/last"];
        for path in all {
            send(&service, get(path)).await;
        }
        // From a task of its own, as background jobs do it.
        let job = app.clone();
        let done = tokio::spawn(async move {
            job.cache.invalidate("/uri").await?;
            job.cache.invalidate_key("test.example", "/key").await
        });
        done.await.expect("no panic").expect("memory answers");
        let done = app.cache.invalidate_group("test.example", "stock").await;
        done.expect("memory answers");
        for path in all {
            let expected = ["/kept", "/last"].contains(&path);
            assert_eq!(is_stored(&service, get(path)).await, expected, "{path}");
        }
        app.cache.clear().await.expect("memory answers");
        assert!(!is_stored(&service, get("/kept")).await);
        assert_eq!(layer.handle().stats().invalidations, 3);
    })
    .await;
}

#[tokio::test]
async fn an_invalidator_says_what_the_backend_has_not_acknowledged() {
    let (backend, switch) = dying(MemoryBackend::default());
    let handle: CacheHandle<_> = CacheLayer::new(backend).handle();
    let cache = handle.invalidator();
    let error = cache.invalidate("/a").await.expect_err("dead");
    assert!(error.is_backend_failure() && !error.is_invalid_uri());
    let error = cache.invalidate("no path").await.expect_err("no URI");
    assert!(error.is_invalid_uri() && !error.is_backend_failure());
    assert!(cache.invalidate_key("", "/a").await.is_err());
    assert!(cache.invalidate_group("", "stock").await.is_err());
    assert!(cache.clear().await.is_err());
    switch.revive();
    assert!(cache.invalidate("/a").await.is_ok());
    assert!(cache.invalidate_group("", "stock").await.is_ok());
    assert!(cache.clear().await.is_ok());
}
