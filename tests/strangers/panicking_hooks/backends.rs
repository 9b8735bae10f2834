//! Backends that panic: in a call, in a future, in an answer that the cache needs at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, Group, Guarded, InvalidationTarget, JoinDecision,
    Lookup, MemoryBackend, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::{CacheKey, Resource};
use tower_response_cache::stats::{FetchReason, Refusal};

use super::Fuse;
use crate::support::origin::{cacheable, slow, versions};
use crate::support::time::settled;
use crate::support::{get, put, send, send_all};

type Fence = <MemoryBackend as Backend>::Fence;

/// Where a backend panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    GetNow,
    Call,
    Future,
    Drop,
    Questions,
}

const PLACES: [Place; 5] = {
    use Place::{Call, Drop, Future, GetNow, Questions};
    [GetNow, Call, Future, Drop, Questions]
};

/// A backend that panics while its fuse is lit.
#[derive(Clone)]
struct Panicking {
    memory: MemoryBackend,
    place: Place,
    fuse: Fuse,
}

impl Panicking {
    fn at(place: Place) -> Self {
        let (memory, fuse) = (MemoryBackend::default(), Fuse::default());
        Self {
            memory,
            place,
            fuse,
        }
    }

    fn burn_at(&self, place: Place) {
        if self.place == place {
            self.fuse.burn();
        }
    }

    /// An operation that panics when it is called, polled or dropped.
    fn operation<R>(
        &self,
        operation: impl Future<Output = R> + Send,
    ) -> impl Future<Output = R> + Send {
        self.burn_at(Place::Call);
        let (backend, operation) = (self.clone(), Box::pin(operation));
        Dropped {
            backend: self.clone(),
            future: Box::pin(async move {
                tokio::task::yield_now().await;
                backend.burn_at(Place::Future);
                backend.burn_at(Place::Drop);
                operation.await
            }),
        }
    }
}

/// A future that panics when it is dropped, too.
struct Dropped<F> {
    backend: Panicking,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Dropped<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.future.as_mut().poll(cx)
    }
}

impl<F> Drop for Dropped<F> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.backend.burn_at(Place::Drop);
        }
    }
}

impl ForwardBackend for Panicking {
    type Inner = MemoryBackend;

    fn inner(&self) -> &MemoryBackend {
        &self.memory
    }

    fn get_now(&self, key: &CacheKey) -> Option<Lookup<Fence>> {
        self.burn_at(Place::GetNow);
        (self.place == Place::GetNow).then(|| self.memory.get_now(key))?
    }

    fn get(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> impl Future<Output = Result<Lookup<Fence>, BackendError>> + Send {
        self.operation(Backend::get(&self.memory, key, now))
    }

    fn put(
        &self,
        key: &CacheKey,
        fence: Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> impl Future<Output = Result<PutOutcome, BackendError>> + Send {
        self.operation(Backend::put(&self.memory, key, fence, response, now))
    }

    fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> impl Future<Output = Result<Option<Fence>, BackendError>> + Send {
        self.operation(Backend::fence(&self.memory, resource))
    }

    fn invalidate(
        &self,
        target: &InvalidationTarget,
    ) -> impl Future<Output = Result<(), BackendError>> + Send {
        self.operation(Backend::invalidate(&self.memory, target))
    }

    fn clear(&self) -> impl Future<Output = Result<(), BackendError>> + Send {
        self.operation(Backend::clear(&self.memory))
    }

    fn join_decision(&self, resource: &Resource, flight: &Fence, own: &Fence) -> JoinDecision {
        self.burn_at(Place::Questions);
        self.memory.join_decision(resource, flight, own)
    }

    fn has_current_groups(&self, groups: &[Group], flight: &Fence, own: &Fence) -> bool {
        self.burn_at(Place::Questions);
        self.memory.has_current_groups(groups, flight, own)
    }

    fn is_still_valid(&self, key: &CacheKey, response: &StoredResponse, fence: &Fence) -> bool {
        self.burn_at(Place::Questions);
        self.memory.is_still_valid(key, response, fence)
    }

    fn max_response_size(&self) -> u64 {
        self.burn_at(Place::Questions);
        self.memory.max_response_size()
    }
}

/// A backend's `get` panics. The service answers all, no flight hangs, and the backend
/// works as ever once it panics no more.
async fn panics_once<B: Backend>(place: Place, fuse: Fuse, backend: B) {
    let layer = CacheLayer::new(backend);
    let origin = slow(|_, call| cacheable(format!("answer {call}")));
    let service = layer.layer(origin.clone());
    fuse.light(true);
    let answers = send_all(&service, (0..10).map(|_| get("/a"))).await;
    settled().await;
    assert!(answers.iter().all(|told| told.status == 200), "{place:?}");
    let stats = layer.handle().stats();
    assert_eq!(
        (stats.in_flight.fills, stats.in_flight.tasks),
        (0, 0),
        "{place:?}"
    );
    assert_eq!(stats.in_flight.bytes, 0, "{place:?}");
    match place {
        // Nothing but the quick lookup panics: `get` answers in its place.
        Place::GetNow => assert_eq!(stats.stores, 1),
        Place::Questions => assert_eq!(stats.stores, 0),
        _ => {
            let failed = stats.fetches.get(FetchReason::BackendFailed);
            let refused = stats.refusals.get(Refusal::BackendFailed);
            assert!(failed > 0 && refused > 0, "{place:?}: {stats:?}");
        }
    }
    fuse.light(false);
    // A circuit breaker may have opened.
    sleep(Duration::from_secs(60)).await;
    send(&service, get("/b")).await;
    settled().await;
    assert!(send(&service, get("/b")).await.is_hit(), "{place:?}");
}

#[tokio::test(start_paused = true)]
async fn a_read_whose_backend_panics_is_answered_by_the_service() {
    for place in PLACES {
        let backend = Panicking::at(place);
        panics_once(place, backend.fuse.clone(), backend).await;
    }
}

/// A circuit breaker sees the panics as the failures that they are.
#[tokio::test(start_paused = true)]
async fn a_guarded_backend_that_panics_has_failed() {
    for place in PLACES {
        let backend = Panicking::at(place);
        let guarded = Guarded::new(backend.clone());
        panics_once(place, backend.fuse, guarded.clone()).await;
        let failures = guarded.health().expect("a guard knows it").failures;
        let is_operation = !matches!(place, Place::GetNow | Place::Questions);
        assert_eq!(failures > 0, is_operation, "{place:?}: {failures}");
    }
}

/// The write is answered; a guard delivers its invalidation when the backend works again.
#[tokio::test(start_paused = true)]
async fn a_write_whose_backend_panics_is_answered_and_invalidates_later() {
    for place in [Place::Call, Place::Future, Place::Drop] {
        let backend = Panicking::at(place);
        let layer = CacheLayer::new(Guarded::new(backend.clone()));
        let service = layer.layer(versions());
        send(&service, get("/a")).await;
        settled().await;
        backend.fuse.light(true);
        assert_eq!(send(&service, put("/a")).await.body, "v2", "{place:?}");
        assert_eq!(layer.handle().stats().failed_invalidations, 1, "{place:?}");
        assert_eq!(send(&service, get("/a")).await.body, "v2", "{place:?}");
        backend.fuse.light(false);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(send(&service, get("/a")).await.body, "v2", "{place:?}");
        assert!(layer.handle().clear().await.is_ok());
    }
}
