//! Requests that join a fill whose response has arrived whole: hits, though the store waits.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::sync::Semaphore;
use tokio::time::advance;
use tower::{Layer, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, MemoryBackend, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::CacheKey;
use tower_response_cache::stats::{FetchReason, StaleUse};

use crate::support::origin::{Origin, answer, cacheable, data, scripted, slow, versions};
use crate::support::puts::ScriptedPuts;
use crate::support::time::{SECOND, in_virtual_time, settle};
use crate::support::{collect, get, gets, put, send, send_all, with};

fn held() -> (CacheLayer<ScriptedPuts>, Arc<Semaphore>) {
    let (backend, permits) = ScriptedPuts::held();
    (in_virtual_time(backend), permits)
}

/// RFC 9211 §2.1. A second request in a row finds the response, wherever it is stored.
#[tokio::test(start_paused = true)]
async fn the_second_request_is_a_hit_while_the_store_is_under_way() {
    let (layer, permits) = held();
    let origin = Origin::at_once(|_| cacheable("x"));
    let service = layer.clone().layer(origin.clone());
    assert!(!send(&service, get("/a")).await.is_hit());
    for (age, ttl) in [(0, 3600), (3, 3597)] {
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.cache_status(), format!("hit; ttl={ttl}"));
        assert_eq!(
            (answer.header("age"), &*answer.body),
            (age.to_string(), "x")
        );
        advance(SECOND * 3).await;
    }
    permits.add_permits(1);
    settle().await;
    let answer = send(&service, get("/a")).await;
    assert_eq!(answer.cache_status(), "hit; ttl=3594");
    let stats = layer.handle().stats();
    assert_eq!((stats.hits, stats.collapsed, stats.stores), (3, 0, 1));
    assert_eq!((stats.fetches.total(), origin.calls()), (1, 1));
}

/// RFC 9110 §13.1.2: the cache answers the condition from the response that is whole.
#[tokio::test(start_paused = true)]
async fn a_304_from_a_whole_response_is_a_hit() {
    let (layer, _permits) = held();
    let fields = [("cache-control", "max-age=60"), ("etag", "\"1\"")];
    let origin = Origin::at_once(move |_| answer(200, &fields, "x"));
    let service = layer.layer(origin);
    send(&service, get("/a")).await;
    let answer = send(&service, with(get("/a"), "if-none-match", "\"1\"")).await;
    assert_eq!(answer.status, 304);
    assert_eq!(answer.cache_status(), "hit; ttl=60");
}

/// RFC 5861 §3: a stale one that may be used says so, as from the store.
#[tokio::test(start_paused = true)]
async fn a_whole_response_that_has_become_stale_is_a_stale_hit() {
    let (layer, _permits) = held();
    let fields = [("cache-control", "max-age=1, stale-while-revalidate=60")];
    let origin = Origin::at_once(move |_| answer(200, &fields, "x"));
    let service = layer.clone().layer(origin.clone());
    send(&service, get("/a")).await;
    advance(SECOND * 3).await;
    let answer = send(&service, get("/a")).await;
    assert_eq!(
        answer.cache_status(),
        "hit; ttl=-2; detail=stale-while-revalidate"
    );
    let stats = layer.handle().stats();
    assert_eq!(stats.stale.get(StaleUse::WhileRevalidate), 1);
    assert_eq!((stats.hits, origin.calls()), (1, 1));
}

/// A client that counts bytes sees the end before the inner service's body says so.
#[tokio::test(start_paused = true)]
async fn a_body_of_known_length_is_whole_with_its_last_byte() {
    let (frames, body) = scripted();
    let body = std::sync::Mutex::new(Some(body));
    let fields = [("cache-control", "max-age=60"), ("content-length", "4")];
    let origin = Origin::at_once(move |_| {
        let body = body.lock().expect("a lock").take().expect("one call");
        answer(200, &fields, "").map(|_| body)
    });
    let service = in_virtual_time(MemoryBackend::default()).layer(origin);
    let first = service.clone().oneshot(get("/a")).await.expect("a head");
    frames.send(data("da")).expect("a reader");
    settle().await;
    let ends = async { frames.send(data("ta")).expect("a reader") };
    let (early, ()) = tokio::join!(service.clone().oneshot(get("/a")), ends);
    let early = early.expect("a head");
    settle().await;
    let late = service.clone().oneshot(get("/a")).await.expect("a head");
    drop(frames);
    let statuses = [first, early, late].map(async |response| {
        let answer = collect(response).await;
        assert_eq!(answer.body, "data");
        answer.cache_status()
    });
    let mut said = Vec::new();
    for status in statuses {
        said.push(status.await);
    }
    assert_eq!(
        said,
        [
            "fwd=uri-miss; stored",
            "fwd=uri-miss; collapsed",
            "hit; ttl=59"
        ]
    );
}

/// RFC 9211 §2.6. They waited for the inner service, however short.
#[tokio::test(start_paused = true)]
async fn requests_that_joined_before_the_end_are_collapsed() {
    let (layer, _permits) = held();
    let origin = slow(|_, _| cacheable("x"));
    let service = layer.clone().layer(origin.clone());
    let answers = send_all(&service, gets(3)).await;
    let said: Vec<_> = answers.iter().map(|answer| answer.cache_status()).collect();
    assert_eq!(
        said,
        [
            "fwd=uri-miss; stored",
            "fwd=uri-miss; collapsed",
            "fwd=uri-miss; collapsed"
        ]
    );
    let stats = layer.handle().stats();
    assert_eq!((stats.hits, stats.collapsed), (0, 2));
    assert_eq!(stats.fetches.get(FetchReason::UriMiss), 3);
}

/// Promise: no stale read after a write. A write ends it like a stored response.
#[tokio::test(start_paused = true)]
async fn after_a_write_a_whole_response_is_no_hit() {
    let (layer, _permits) = held();
    let origin = versions();
    let service = layer.layer(origin);
    assert_eq!(send(&service, get("/a")).await.body, "v1");
    assert!(send(&service, get("/a")).await.is_hit());
    send(&service, put("/a")).await;
    let answer = send(&service, get("/a")).await;
    assert_eq!((&*answer.body, answer.is_hit()), ("v2", false));
}

/// A request that joins while the response is being stored.
type Joining = Box<dyn FnOnce() + Send>;

/// Stores at once, and lets a request join right before or right after.
#[derive(Clone)]
struct JoinedPuts {
    backend: MemoryBackend,
    joining: Arc<Mutex<Option<Joining>>>,
    is_before: bool,
}

impl JoinedPuts {
    fn join(&self) {
        let joining = self.joining.lock().expect("a lock").take();
        if let Some(joining) = joining {
            joining();
        }
    }
}

impl ForwardBackend for JoinedPuts {
    type Inner = MemoryBackend;

    fn inner(&self) -> &MemoryBackend {
        &self.backend
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: <MemoryBackend as Backend>::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        if self.is_before {
            self.join();
        }
        let outcome = self.backend.put(key, fence, response, now).await;
        self.join();
        outcome
    }
}

/// Promise: one fill per key, also for a request that comes while the response is being stored.
#[tokio::test(start_paused = true)]
async fn a_request_that_joins_during_the_store_shares_the_response() {
    for is_before in [true, false] {
        let backend = JoinedPuts {
            backend: MemoryBackend::default(),
            joining: Arc::default(),
            is_before,
        };
        let origin = Origin::at_once(|_| cacheable("x"));
        let layer = in_virtual_time(backend.clone());
        let service = layer.clone().layer(origin.clone());
        let follower = Arc::new(Mutex::new(None));
        let (joined, request) = (follower.clone(), service.clone().oneshot(get("/a")));
        *backend.joining.lock().expect("a lock") = Some(Box::new(move || {
            let mut request = Box::pin(request);
            let polled = request
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            let answered = match polled {
                Poll::Ready(response) => Some(response.expect("no error")),
                Poll::Pending => None,
            };
            *joined.lock().expect("a lock") = Some((answered, request));
        }));
        let first = send(&service, get("/a")).await;
        let joined = follower.lock().expect("a lock").take();
        let second = match joined.expect("a request that has joined") {
            (Some(response), _) => collect(response).await,
            (None, request) => collect(request.await.expect("no error")).await,
        };
        assert_eq!((&*first.body, &*second.body), ("x", "x"), "{is_before}");
        assert_eq!(origin.calls(), 1, "{is_before}");
        assert!(send(&service, get("/a")).await.is_hit());
        let stats = layer.handle().stats();
        assert_eq!((stats.stores, stats.in_flight.fills), (1, 0), "{is_before}");
    }
}
