//! A backend whose every effect comes after a while, and is told of after another.

use std::sync::Arc;

use tower_response_cache::backend::{
    Backend, BackendError, CacheKey, DigestSeed, Lookup, Moment, Put, Resource, StoredResponse,
    Target, Usage,
};

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

impl<B: Backend> Backend for Dawdling<B> {
    type Fence = B::Fence;

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<B::Fence>, BackendError> {
        self.around(self.backend.get(key, now)).await
    }

    async fn fence(&self, resource: Option<&Resource>) -> Result<Option<B::Fence>, BackendError> {
        self.around(self.backend.fence(resource)).await
    }

    fn may_join(&self, resource: &Resource, flight: &B::Fence, own: &B::Fence) -> bool {
        self.backend.may_join(resource, flight, own)
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        self.around(self.backend.put(key, fence, response, now))
            .await
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        self.around(self.backend.replace(key, fence, response, now))
            .await
    }

    async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
        self.around(self.backend.invalidate(target)).await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        self.around(self.backend.clear()).await
    }

    fn seed(&self) -> DigestSeed {
        self.backend.seed()
    }

    fn largest(&self) -> u64 {
        self.backend.largest()
    }

    fn usage(&self) -> Option<Usage> {
        self.backend.usage()
    }
}
