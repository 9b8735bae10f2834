//! Redis in virtual time, which stands still while Redis is asked.

use std::sync::{Arc, mpsc};

use tokio::task::spawn_blocking;
use tower_response_cache::backend::redis::RedisFence;
use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, InvalidationTarget, Lookup, PutOutcome, RedisBackend,
    StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::{CacheKey, Resource};

/// Lets no virtual time pass: it passes when all tasks are idle, and a wait for a socket counts as
/// idle. It does not while something blocks.
pub async fn standing_still<T>(operation: impl Future<Output = T>) -> T {
    let (goes_on, blocks) = mpsc::channel::<()>();
    drop(spawn_blocking(move || blocks.recv()));
    let done = operation.await;
    drop(goes_on);
    done
}

#[derive(Clone)]
pub struct Held(pub RedisBackend);

impl ForwardBackend for Held {
    type Inner = RedisBackend;

    fn inner(&self) -> &RedisBackend {
        &self.0
    }

    async fn remove(&self, key: &CacheKey, fence: RedisFence) -> Result<bool, BackendError> {
        standing_still(self.0.remove(key, fence)).await
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<RedisFence>, BackendError> {
        standing_still(self.0.get(key, now)).await
    }

    async fn fence(&self, resource: Option<&Resource>) -> Result<Option<RedisFence>, BackendError> {
        standing_still(self.0.fence(resource)).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: RedisFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        standing_still(self.0.put(key, fence, response, now)).await
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: RedisFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        standing_still(self.0.replace(key, fence, response, now)).await
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        standing_still(self.0.invalidate(target)).await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        standing_still(self.0.clear()).await
    }
}
