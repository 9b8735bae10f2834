//! Redis in virtual time, which stands still while Redis is asked.

use std::sync::{Arc, mpsc};

use tokio::task::spawn_blocking;
use tower_response_cache::backend::redis::RedisFence;
use tower_response_cache::backend::{
    Backend, BackendError, CacheKey, DigestSeed, Lookup, Moment, Put, RedisBackend, Resource,
    StoredResponse, Target,
};

/// Lets no virtual time pass: it does when all are idle, and nobody knows that a socket is waited for. It does not while
/// something blocks.
pub async fn standing_still<T>(operation: impl Future<Output = T>) -> T {
    let (goes_on, blocks) = mpsc::channel::<()>();
    drop(spawn_blocking(move || blocks.recv()));
    let done = operation.await;
    drop(goes_on);
    done
}

#[derive(Clone)]
pub struct Held(pub RedisBackend);

impl Backend for Held {
    type Fence = RedisFence;

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<RedisFence>, BackendError> {
        standing_still(self.0.get(key, now)).await
    }

    async fn fence(&self, resource: Option<&Resource>) -> Result<Option<RedisFence>, BackendError> {
        standing_still(self.0.fence(resource)).await
    }

    fn may_join(&self, resource: &Resource, flight: &RedisFence, own: &RedisFence) -> bool {
        self.0.may_join(resource, flight, own)
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: RedisFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        standing_still(self.0.put(key, fence, response, now)).await
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: RedisFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        standing_still(self.0.replace(key, fence, response, now)).await
    }

    async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
        standing_still(self.0.invalidate(target)).await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        standing_still(self.0.clear()).await
    }

    fn seed(&self) -> DigestSeed {
        self.0.seed()
    }

    fn largest(&self) -> u64 {
        self.0.largest()
    }
}
