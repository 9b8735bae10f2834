//! A write whose key hook panics is not carried out, because its resource is unknown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderValue, Method, Request};
use tower::Layer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::key::Sites;
use tower_response_cache::stats::Bypass;
use tower_response_cache::{Cache, CacheLayer};

use crate::support::origin::{Origin, answer, cacheable};
use crate::support::time::{in_virtual_time, settled};
use crate::support::{get, request, send, with};

/// A layer whose hook panics for tenants that are not visible ASCII.
fn by_tenant(sites: Sites, in_path: bool) -> CacheLayer<MemoryBackend> {
    let layer = in_virtual_time(MemoryBackend::default()).sites(sites);
    layer.key_by(move |request, key| {
        let tenant = request.headers.get("x-tenant")?;
        let tenant = tenant.to_str().expect("visible ASCII");
        Some(match in_path {
            true => {
                let path = format!("/{tenant}{}", key.path());
                key.with_path(path)
            }
            false => {
                let authority = format!("{tenant}@{}", key.authority());
                key.with_authority(authority)
            }
        })
    })
}

/// Versions, one more with each write.
fn versions() -> (Origin, Arc<AtomicUsize>) {
    let version = Arc::new(AtomicUsize::new(1));
    let shown = version.clone();
    let origin = Origin::at_once(move |request| match *request.method() {
        Method::GET => cacheable(format!("v{}", shown.load(Ordering::SeqCst))),
        _ => {
            shown.fetch_add(1, Ordering::SeqCst);
            answer(204, &[], "")
        }
    });
    (origin, version)
}

fn of(tenant: &[u8], mut request: Request<()>) -> Request<()> {
    let tenant = HeaderValue::from_bytes(tenant).expect("a value");
    request.headers_mut().insert("x-tenant", tenant);
    request
}

/// Promise P1, without exception: no response from before the write is served after it.
#[tokio::test(start_paused = true)]
async fn a_write_whose_key_hook_panics_is_not_carried_out() {
    for method in [Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
        for (sites, in_path) in [
            (Sites::ByAuthority, false),
            (Sites::One, false),
            (Sites::One, true),
        ] {
            let layer = by_tenant(sites, in_path);
            let (origin, version) = versions();
            let (service, handle): (Cache<_, _>, _) = (layer.layer(origin), layer.handle());
            send(&service, of(b"alice", get("/a"))).await;
            settled().await;
            assert!(send(&service, of(b"alice", get("/a"))).await.is_hit());
            let written = send(&service, of(b"alice\xff", request(method.clone(), "/a"))).await;
            assert_eq!(written.status, 500, "{method}");
            assert!(
                written.cache_status().contains("detail=hook-panicked"),
                "{written:?}"
            );
            assert_eq!(
                version.load(Ordering::SeqCst),
                1,
                "{method}: not carried out"
            );
            assert_eq!(handle.stats().bypasses.get(Bypass::HookPanicked), 1);
            let read = send(&service, of(b"alice", get("/a"))).await;
            assert_eq!((read.is_hit(), &*read.body), (true, "v1"), "{method}");
            // One with a key is.
            send(&service, of(b"alice", request(method.clone(), "/a"))).await;
            let read = send(&service, of(b"alice", get("/a"))).await;
            assert_eq!((read.is_hit(), &*read.body), (false, "v2"), "{method}");
        }
    }
}

/// The hook of an inner layer: the outer one has sent the write, and invalidates.
#[tokio::test(start_paused = true)]
async fn a_write_whose_key_hook_panics_in_an_inner_layer_is_not_carried_out() {
    let (origin, version) = versions();
    let inner = by_tenant(Sites::ByAuthority, false).layer(origin);
    let service = in_virtual_time(MemoryBackend::default()).layer(inner);
    send(&service, with(get("/a"), "x-tenant", "alice")).await;
    settled().await;
    let written = send(&service, of(b"alice\xff", request(Method::PUT, "/a"))).await;
    assert_eq!(written.status, 500);
    assert_eq!(version.load(Ordering::SeqCst), 1);
    let read = send(&service, with(get("/a"), "x-tenant", "alice")).await;
    assert_eq!(read.body, "v1");
}
