//! The same cache met twice on one request's way: one lookup, one store, one answer.

mod axum_routes;
mod options;
mod rewriting;

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Extensions, Method, Request};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{Cache, CacheLayer};

use crate::support::origin::{Origin, OriginError, answer, cacheable, slow};
use crate::support::time::{SECOND, SLOW, in_virtual_time, settle};
use crate::support::{Answer, get, gets, put, request, send, send_all};

const MINUTE: Duration = Duration::from_secs(60);

type Twice = Cache<Cache<Origin, MemoryBackend>, MemoryBackend>;

fn layer() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default())
}

/// A cache around itself, with five minutes for what the inner one sees.
fn twice(layer: &CacheLayer<MemoryBackend>, origin: &Origin) -> Twice {
    let inner = layer.clone().ttl(MINUTE * 5).layer(origin.clone());
    layer.layer(inner)
}

/// The members of `Cache-Status`.
fn members(answer: &Answer) -> usize {
    answer.headers.get_all("cache-status").iter().count()
}

fn plain(text: &'static str) -> Origin {
    slow(move |_, _| answer(200, &[], text))
}

/// A miss used to wait for itself, until the takeover timeout.
#[tokio::test(start_paused = true)]
async fn a_miss_waits_for_the_inner_service_alone() {
    let (layer, origin) = (layer().ttl(MINUTE), plain("x"));
    let service = twice(&layer, &origin);
    let begun = Instant::now();
    let miss = send(&service, get("/a")).await;
    assert_eq!(begun.elapsed(), SLOW);
    assert_eq!(
        (miss.cache_status().as_str(), members(&miss)),
        ("fwd=uri-miss; stored", 1)
    );
    let hit = send(&service, get("/a")).await;
    assert_eq!(
        (hit.cache_status().as_str(), members(&hit)),
        ("hit; ttl=300", 1)
    );
    let stats = layer.handle().stats();
    assert_eq!((stats.hits, stats.fetches.total(), stats.stores), (1, 1, 1));
    assert_eq!((origin.calls(), stats.collapsed), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn followers_and_refreshes_pass_both_once() {
    let origin = plain("x");
    let layer = layer();
    let inner = layer.clone().ttl(MINUTE).stale_while_revalidate(MINUTE);
    let service = layer.layer(inner.layer(origin.clone()));
    let begun = Instant::now();
    for answer in send_all(&service, gets(100)).await {
        assert_eq!((answer.body.as_str(), members(&answer)), ("x", 1));
    }
    assert_eq!((begun.elapsed(), origin.calls()), (SLOW, 1));
    tokio::time::advance(MINUTE + SECOND).await;
    let stale = send(&service, get("/a")).await;
    assert_eq!(
        stale.cache_status(),
        "hit; ttl=-1; detail=stale-while-revalidate"
    );
    tokio::time::sleep(SLOW * 2).await;
    assert_eq!(origin.calls(), 2);
    let fresh = send(&service, get("/a")).await;
    assert_eq!(
        (fresh.cache_status().as_str(), members(&fresh)),
        ("hit; ttl=60", 1)
    );
    assert_eq!(layer.handle().stats().stores, 2);
}

/// RFC 9110 §9.3.2.
#[tokio::test(start_paused = true)]
async fn head_passes_both_once() {
    let (layer, origin) = (layer(), plain("x"));
    let service = twice(&layer, &origin);
    let head = send(&service, request(Method::HEAD, "/a")).await;
    assert_eq!(members(&head), 1);
    send(&service, get("/a")).await;
    assert!(send(&service, request(Method::HEAD, "/a")).await.is_hit());
    assert_eq!(origin.calls(), 2);
}

/// RFC 9111 §4.4.
#[tokio::test(start_paused = true)]
async fn a_write_invalidates_once() {
    let (layer, origin) = (layer(), plain("x"));
    let service = twice(&layer, &origin);
    send(&service, get("/a")).await;
    let begun = Instant::now();
    let written = send(&service, put("/a")).await;
    assert_eq!((begun.elapsed(), members(&written)), (SLOW, 1));
    let stats = layer.handle().stats();
    assert_eq!((stats.invalidations, stats.writes.total()), (1, 1));
    assert!(!send(&service, get("/a")).await.is_hit());
}

/// A write whose client leaves runs on, and is one write still.
#[tokio::test(start_paused = true)]
async fn a_write_without_its_client_passes_both_once() {
    let (layer, origin) = (layer(), plain("x"));
    let service = twice(&layer, &origin);
    send(&service, get("/a")).await;
    let left = tokio::time::timeout(SLOW / 2, send(&service, put("/a"))).await;
    assert!(left.is_err());
    tokio::time::sleep(SLOW).await;
    settle().await;
    assert_eq!(
        (origin.calls(), layer.handle().stats().writes.total()),
        (2, 1)
    );
    assert!(!send(&service, get("/a")).await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn three_layers_of_one_cache_are_one() {
    let (layer, origin) = (layer(), plain("x"));
    let service = twice(&layer, &origin);
    let service = layer.clone().ttl(MINUTE).layer(service);
    let begun = Instant::now();
    let miss = send(&service, get("/a")).await;
    assert_eq!((begun.elapsed(), members(&miss)), (SLOW, 1));
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "hit; ttl=300"
    );
    assert_eq!(layer.handle().stats().stores, 1);
}

/// RFC 9211 §2: caches that share nothing each add a member of their own.
#[tokio::test(start_paused = true)]
async fn different_caches_both_store() {
    let (near, far, origin) = (layer(), layer(), plain("x"));
    let (near, far) = (near.ttl(MINUTE), far.ttl(MINUTE));
    let service = near.layer(far.layer(origin.clone()));
    let miss = send(&service, get("/a")).await;
    assert_eq!(members(&miss), 2);
    near.handle().clear().await.expect("memory");
    let from_far = send(&service, get("/a")).await;
    assert_eq!((members(&from_far), origin.calls()), (2, 1));
    assert_eq!(
        (near.handle().stats().stores, far.handle().stats().hits),
        (2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_cache_recognizes_itself_through_another_one() {
    let (near, other, origin) = (layer(), layer().ttl(MINUTE), plain("x"));
    let service = other.layer(twice(&near, &origin));
    let service = near.layer(service);
    let begun = Instant::now();
    let miss = send(&service, get("/a")).await;
    assert_eq!((begun.elapsed(), members(&miss)), (SLOW, 2));
    let stats = (near.handle().stats(), other.handle().stats());
    assert_eq!((stats.0.stores, stats.1.stores), (1, 1));
    assert!(
        send(&service, get("/a"))
            .await
            .header("cache-status")
            .ends_with("ttl=300")
    );
}

/// A service that sends a request again when the first answer is an error, and runs each try in a
/// task of its own.
#[derive(Clone)]
struct Retry<S>(S);

impl<S> Service<Request<()>> for Retry<S>
where
    S: Service<Request<()>, Error = OriginError> + Clone + Send + 'static,
    S::Response: Send,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = OriginError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<S::Response, OriginError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OriginError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let first = self.0.clone().oneshot(request.clone());
        let second = self.0.clone().oneshot(request);
        Box::pin(async move {
            match tokio::spawn(first).await.expect("no panic") {
                Err(_) => tokio::spawn(second).await.expect("no panic"),
                answer => answer,
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn each_try_between_the_layers_is_recognized() {
    let origin = crate::support::origin::fallible(|_, call| match call {
        1 => Err(OriginError("refused")),
        _ => Ok(answer(200, &[], "x")),
    });
    let layer = layer();
    let inner = layer.clone().ttl(MINUTE).layer(origin.clone());
    let service = layer.layer(Retry(inner));
    let begun = Instant::now();
    let miss = send(&service, get("/a")).await;
    assert_eq!((begun.elapsed(), members(&miss)), (SLOW * 2, 1));
    assert_eq!((layer.handle().stats().stores, origin.calls()), (1, 2));
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "hit; ttl=60"
    );
}

/// A retry outside passes the cache twice in sequence: each try is a request of its own.
#[tokio::test(start_paused = true)]
async fn each_try_from_outside_is_looked_up() {
    let origin = crate::support::origin::fallible(|_, call| match call {
        1 => Err(OriginError("refused")),
        _ => Ok(cacheable("x")),
    });
    let layer = layer();
    let service = Retry(layer.layer(origin.clone()));
    let miss = send(&service, get("/a")).await;
    assert_eq!(miss.cache_status(), "fwd=uri-miss; stored");
    assert_eq!(layer.handle().stats().fetches.total(), 2);
    assert!(send(&service, get("/a")).await.is_hit());
}

/// What the inner service keeps of a request means nothing once that is answered.
#[tokio::test(start_paused = true)]
async fn a_request_with_the_extensions_of_an_earlier_one_is_looked_up() {
    let kept = Arc::new(Mutex::new(Extensions::new()));
    let seen = kept.clone();
    let origin = Origin::at_once(move |request| {
        *seen.lock().expect("a lock") = request.extensions().clone();
        cacheable("x")
    });
    let service = layer().layer(origin.clone());
    send(&service, get("/a")).await;
    for path in ["/a", "/b", "/b"] {
        let mut again = get(path);
        *again.extensions_mut() = kept.lock().expect("a lock").clone();
        let is_known = path == "/a" || origin.calls() == 2;
        assert_eq!(send(&service, again).await.is_hit(), is_known, "{path}");
    }
    assert_eq!(origin.calls(), 2);
}
