//! A backend with await points before and after every effect, around any other: a backend without them proves little.

use std::sync::Arc;

use super::schedule::pause;
use tower_response_cache::backend::{
    Backend, BackendError, CacheKey, DigestSeed, Lookup, Moment, Put, Resource, StoredResponse,
    Target, Usage,
};

#[derive(Clone, Debug)]
pub struct Yielding<B>(pub B);

impl<B: Backend> Backend for Yielding<B> {
    type Fence = B::Fence;

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

    fn may_join(&self, resource: &Resource, flight: &B::Fence, own: &B::Fence) -> bool {
        self.0.may_join(resource, flight, own)
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
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
    ) -> Result<Put, BackendError> {
        pause().await;
        let put = self.0.replace(key, fence, response, now).await;
        pause().await;
        put
    }

    async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
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

    fn seed(&self) -> DigestSeed {
        self.0.seed()
    }

    fn largest(&self) -> u64 {
        self.0.largest()
    }

    fn usage(&self) -> Option<Usage> {
        self.0.usage()
    }
}
