//! What makes a backend in memory one that instances share: it keeps the grace period of a write of
//! unknown outcome for all of them.
//!
//! It stands for a server. Its period ends with another invalidation, which concerns the fences
//! that were captured while it lasted.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;
use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, GraceScope, InvalidationTarget, Lookup, PutOutcome,
    StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::{CacheKey, Resource};

/// A backend that refuses stores of a target until its grace period has ended.
#[derive(Clone)]
pub struct WithGrace<B> {
    backend: B,
    /// Whether instances share it.
    is_shared: bool,
    /// The ends of the periods.
    until: Arc<Mutex<Periods>>,
}

type Periods = Vec<(InvalidationTarget, Instant)>;

impl<B: Backend> WithGrace<B> {
    pub fn on(backend: B, is_shared: bool) -> Self {
        Self {
            backend,
            is_shared,
            until: Arc::default(),
        }
    }

    fn until(&self) -> MutexGuard<'_, Periods> {
        self.until.lock().expect("no check fails under this lock")
    }

    /// Breaks the fences that were captured in a period that has ended since.
    async fn settle(&self) -> Result<(), BackendError> {
        let now = Instant::now();
        let ended: Vec<_> = self
            .until()
            .extract_if(.., |(_, until)| *until <= now)
            .collect();
        for (target, _) in ended {
            self.backend.invalidate(&target).await?;
        }
        Ok(())
    }

    fn covers(&self, resource: &Resource) -> bool {
        self.covers_target(InvalidationTarget::Resource(*resource))
    }

    fn covers_group_of(&self, response: &StoredResponse) -> bool {
        let mut groups = response.groups().iter();
        groups.any(|group| self.covers_target(InvalidationTarget::Group(*group)))
    }

    fn covers_target(&self, target: InvalidationTarget) -> bool {
        self.until().iter().any(|(covered, _)| *covered == target)
    }
}

impl<B: Backend> ForwardBackend for WithGrace<B> {
    type Inner = B;

    fn inner(&self) -> &B {
        &self.backend
    }

    fn get_now(&self, key: &CacheKey) -> Option<Lookup<B::Fence>> {
        let is_quiet = self.until().is_empty();
        is_quiet.then(|| self.backend.get_now(key)).flatten()
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<B::Fence>, BackendError> {
        self.settle().await?;
        let lookup = self.backend.get(key, now).await?;
        match self.covers(key.resource()) {
            true => Ok(Lookup::Unfenced),
            false => Ok(lookup),
        }
    }

    async fn fence(&self, resource: Option<&Resource>) -> Result<Option<B::Fence>, BackendError> {
        self.settle().await?;
        let fence = self.backend.fence(resource).await?;
        let is_covered = match resource {
            Some(resource) => self.covers(resource),
            None => !self.until().is_empty(),
        };
        Ok(fence.filter(|_| !is_covered))
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        self.settle().await?;
        if self.covers(key.resource()) || self.covers_group_of(&response) {
            return Ok(PutOutcome::Superseded);
        }
        self.backend.put(key, fence, response, now).await
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        self.settle().await?;
        if self.covers(key.resource()) || self.covers_group_of(&response) {
            let target = InvalidationTarget::Resource(*key.resource());
            self.backend.invalidate(&target).await?;
            return Ok(PutOutcome::Superseded);
        }
        self.backend.replace(key, fence, response, now).await
    }

    async fn invalidate_unknown(
        &self,
        target: &InvalidationTarget,
        grace: Duration,
    ) -> Result<GraceScope, BackendError> {
        if !self.is_shared {
            return self.backend.invalidate_unknown(target, grace).await;
        }
        self.until().push((*target, Instant::now() + grace));
        self.backend.invalidate(target).await?;
        Ok(GraceScope::AllInstances)
    }
}
