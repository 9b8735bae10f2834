//! A backend with await points before and after every effect, around any other: a backend without
//! them proves little.

use std::sync::Arc;

use super::schedule::pause;
use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, InvalidationTarget, Lookup, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::{CacheKey, Resource};

#[derive(Clone, Debug)]
pub struct Yielding<B>(pub B);

impl<B: Backend> ForwardBackend for Yielding<B> {
    type Inner = B;

    fn inner(&self) -> &B {
        &self.0
    }

    /// No lookup is answered at once.
    fn get_now(&self, _: &CacheKey) -> Option<Lookup<B::Fence>> {
        None
    }

    async fn remove(&self, key: &CacheKey, fence: B::Fence) -> Result<bool, BackendError> {
        pause().await;
        let removed = self.0.remove(key, fence).await;
        pause().await;
        removed
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<B::Fence>, BackendError> {
        pause().await;
        let found = self.0.get(key, now).await;
        pause().await;
        found
    }

    async fn fence(&self, resource: Option<&Resource>) -> Result<Option<B::Fence>, BackendError> {
        pause().await;
        let fence = self.0.fence(resource).await;
        pause().await;
        fence
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        pause().await;
        let put = self.0.put(key, fence, response, now).await;
        pause().await;
        put
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        pause().await;
        let put = self.0.replace(key, fence, response, now).await;
        pause().await;
        put
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        pause().await;
        let done = self.0.invalidate(target).await;
        pause().await;
        done
    }

    async fn clear(&self) -> Result<(), BackendError> {
        pause().await;
        let done = self.0.clear().await;
        pause().await;
        done
    }
}
