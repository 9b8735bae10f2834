//! A backend whose every effect comes after a delay, and is answered after another.

use std::sync::Arc;

use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, InvalidationTarget, Lookup, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::{CacheKey, Resource};

use crate::luck::Luck;

#[derive(Clone)]
pub struct Dawdling<B> {
    pub backend: B,
    pub luck: Arc<Luck>,
}

impl<B: Backend> Dawdling<B> {
    async fn around<T>(&self, effect: impl Future<Output = T>) -> T {
        self.luck.pause(5).await;
        let done = effect.await;
        self.luck.pause(5).await;
        done
    }
}

impl<B: Backend> ForwardBackend for Dawdling<B> {
    type Inner = B;

    fn inner(&self) -> &B {
        &self.backend
    }

    /// No lookup is answered at once.
    fn get_now(&self, _: &CacheKey) -> Option<Lookup<B::Fence>> {
        None
    }

    async fn remove(&self, key: &CacheKey, fence: B::Fence) -> Result<bool, BackendError> {
        self.around(self.backend.remove(key, fence)).await
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<B::Fence>, BackendError> {
        self.around(self.backend.get(key, now)).await
    }

    async fn fence(&self, resource: Option<&Resource>) -> Result<Option<B::Fence>, BackendError> {
        self.around(self.backend.fence(resource)).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        self.around(self.backend.put(key, fence, response, now))
            .await
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        self.around(self.backend.replace(key, fence, response, now))
            .await
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        self.around(self.backend.invalidate(target)).await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        self.around(self.backend.clear()).await
    }
}
