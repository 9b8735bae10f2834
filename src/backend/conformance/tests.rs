//! The backends of this crate, and their wrappers, keep the contract.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::yield_now;

use super::check;
use crate::backend::{
    Backend, BackendError, Either, ForwardBackend, GraceScope, Guarded, InvalidationTarget, Lookup,
    MemoryBackend, MemoryFence, PutOutcome, StoredResponse,
};
use crate::key::{CacheKey, Resource};
use crate::semantics::moment::Moment;

fn memory() -> MemoryBackend {
    MemoryBackend::new(1 << 20)
}

/// A backend with an await point before and after every effect.
#[derive(Clone, Debug)]
struct Yielding<B>(B);

async fn with_pauses<T>(operation: impl Future<Output = T>) -> T {
    yield_now().await;
    let output = operation.await;
    yield_now().await;
    output
}

impl<B: Backend> ForwardBackend for Yielding<B> {
    type Inner = B;

    fn inner(&self) -> &B {
        &self.0
    }

    fn get_now(&self, _: &CacheKey) -> Option<Lookup<B::Fence>> {
        None
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<B::Fence>, BackendError> {
        with_pauses(self.0.get(key, now)).await
    }

    async fn fence(&self, resource: Option<&Resource>) -> Result<Option<B::Fence>, BackendError> {
        with_pauses(self.0.fence(resource)).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        with_pauses(self.0.put(key, fence, response, now)).await
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        with_pauses(self.0.invalidate(target)).await
    }

    async fn invalidate_unknown(
        &self,
        target: &InvalidationTarget,
        grace: Duration,
    ) -> Result<GraceScope, BackendError> {
        with_pauses(self.0.invalidate_unknown(target, grace)).await
    }
}

/// A backend that relies on all defaults of the trait.
#[derive(Clone, Debug)]
struct Minimal(MemoryBackend);

impl Backend for Minimal {
    type Fence = <MemoryBackend as Backend>::Fence;

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<Self::Fence>, BackendError> {
        self.0.get(key, now).await
    }

    async fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> Result<Option<Self::Fence>, BackendError> {
        self.0.fence(resource).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        self.0.put(key, fence, response, now).await
    }

    async fn remove(&self, key: &CacheKey, fence: Self::Fence) -> Result<bool, BackendError> {
        self.0.remove(key, fence).await
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        self.0.invalidate(target).await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        self.0.clear().await
    }
}

/// A backend that captures a lookup's fence after it has read the response, and calls that valid.
#[derive(Clone, Debug)]
struct Lying(MemoryBackend);

impl ForwardBackend for Lying {
    type Inner = MemoryBackend;

    fn inner(&self) -> &MemoryBackend {
        &self.0
    }

    fn get_now(&self, _: &CacheKey) -> Option<Lookup<MemoryFence>> {
        None
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<MemoryFence>, BackendError> {
        let found = self.0.get(key, now).await?;
        yield_now().await;
        let fence = self.0.fence(None).await?.expect("memory has fences");
        Ok(found.map_fence(|_| fence))
    }

    fn is_still_valid(&self, _: &CacheKey, _: &StoredResponse, _: &MemoryFence) -> bool {
        true
    }
}

#[tokio::test]
#[should_panic(expected = "was valid when its fence was captured")]
async fn a_backend_that_calls_a_removed_response_valid_is_caught() {
    check(|| Lying(memory())).await;
}

/// A key, and the response that was stored under it.
type RemovedResponse = (CacheKey, Arc<StoredResponse>);

/// A backend that numbers an invalidation, and breaks the fences, before it removes anything.
#[derive(Clone, Debug)]
struct InTwoSteps {
    memory: MemoryBackend,
    removed: Arc<Mutex<Option<RemovedResponse>>>,
}

impl ForwardBackend for InTwoSteps {
    type Inner = MemoryBackend;

    fn inner(&self) -> &MemoryBackend {
        &self.memory
    }

    fn get_now(&self, _: &CacheKey) -> Option<Lookup<MemoryFence>> {
        None
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<MemoryFence>, BackendError> {
        let removed = self.removed.lock().expect("no panic").clone();
        Ok(match (self.memory.get(key, now).await?, removed) {
            (Lookup::Miss(fence), Some((removed, response))) if removed == *key => {
                Lookup::Found(response, fence)
            }
            (found, _) => found,
        })
    }

    fn is_still_valid(&self, _: &CacheKey, _: &StoredResponse, _: &MemoryFence) -> bool {
        true
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: MemoryFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        let removed = (*key, response.clone());
        let put = self.memory.put(key, fence, response, now).await?;
        if put == PutOutcome::Stored {
            *self.removed.lock().expect("no panic") = Some(removed);
        }
        Ok(put)
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        self.memory.invalidate(target).await?;
        yield_now().await;
        *self.removed.lock().expect("no panic") = None;
        Ok(())
    }
}

#[tokio::test]
#[should_panic(expected = "was valid when its fence was captured")]
async fn an_invalidation_in_two_steps_is_caught_unless_it_is_told() {
    let make = || InTwoSteps {
        memory: memory(),
        removed: Arc::default(),
    };
    for polls in 0..8 {
        let resource = super::validity::Invalidation::Resource;
        super::validity::a_lookup_during_an_invalidation(make(), resource, polls).await;
    }
}

#[tokio::test]
async fn a_memory_backend_keeps_the_contract() {
    check(memory).await;
}

#[tokio::test]
async fn the_defaults_of_the_trait_keep_the_contract() {
    check(|| Minimal(memory())).await;
}

#[tokio::test]
async fn an_optional_backend_keeps_the_contract() {
    check(|| Some(memory())).await;
}

#[tokio::test]
async fn either_backend_keeps_the_contract() {
    check(|| Either::<_, MemoryBackend>::Left(memory())).await;
    check(|| Either::<MemoryBackend, _>::Right(Yielding(memory()))).await;
}

#[tokio::test]
async fn a_wrapper_that_forwards_keeps_the_contract() {
    check(|| Yielding(memory())).await;
}

#[tokio::test(start_paused = true)]
async fn a_guarded_backend_keeps_the_contract() {
    check(|| Guarded::new(memory())).await;
    check(|| Guarded::new(Yielding(memory()))).await;
    check(|| Yielding(Guarded::new(memory()))).await;
}
