//! Backends that do something around every operation of another backend.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, GraceScope, InvalidationTarget, Lookup, PutOutcome,
    StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::{CacheKey, Resource};

/// What happens before and after each operation, or in its place.
pub trait Around: Clone + Send + Sync + 'static {
    fn around<T: Send>(
        &self,
        operation: impl Future<Output = Result<T, BackendError>> + Send,
    ) -> impl Future<Output = Result<T, BackendError>> + Send;
}

/// A backend with something around each of its operations. No lookup is answered at once.
#[derive(Clone, Debug)]
pub struct Wrapped<B, A> {
    pub backend: B,
    pub around: A,
}

impl<B: Backend, A: Around> ForwardBackend for Wrapped<B, A> {
    type Inner = B;

    fn inner(&self) -> &B {
        &self.backend
    }

    fn get_now(&self, _: &CacheKey) -> Option<Lookup<B::Fence>> {
        None
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<B::Fence>, BackendError> {
        self.around.around(self.backend.get(key, now)).await
    }

    async fn read_body(
        &self,
        response: &StoredResponse,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, BackendError> {
        let read = self.backend.read_body(response, range);
        self.around.around(read).await
    }

    async fn fence(&self, resource: Option<&Resource>) -> Result<Option<B::Fence>, BackendError> {
        self.around.around(self.backend.fence(resource)).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        let put = self.backend.put(key, fence, response, now);
        self.around.around(put).await
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        let replace = self.backend.replace(key, fence, response, now);
        self.around.around(replace).await
    }

    async fn remove(&self, key: &CacheKey, fence: B::Fence) -> Result<bool, BackendError> {
        self.around.around(self.backend.remove(key, fence)).await
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        self.around.around(self.backend.invalidate(target)).await
    }

    async fn invalidate_unknown(
        &self,
        target: &InvalidationTarget,
        grace: Duration,
    ) -> Result<GraceScope, BackendError> {
        let invalidation = self.backend.invalidate_unknown(target, grace);
        self.around.around(invalidation).await
    }

    async fn expire(
        &self,
        targets: &[InvalidationTarget],
        at: Moment,
        ago: Duration,
    ) -> Result<(), BackendError> {
        let expiration = self.backend.expire(targets, at, ago);
        self.around.around(expiration).await
    }

    async fn expire_all(&self, now: Moment) -> Result<(), BackendError> {
        self.around.around(self.backend.expire_all(now)).await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        self.around.around(self.backend.clear()).await
    }
}
