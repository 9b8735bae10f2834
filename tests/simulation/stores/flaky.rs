//! A backend that by luck fails before its effect or after it, refuses, hangs, or does it when it
//! has long been given up; and gets well again.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, GraceScope, InvalidationTarget, Lookup, MemoryBackend,
    MemoryFence, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::{CacheKey, Resource};

use super::grace::WithGrace;
use crate::luck::Luck;

/// How long the caller should wait.
pub const LIMIT: Duration = Duration::from_millis(20);

type Shared = WithGrace<MemoryBackend>;

#[derive(Clone)]
pub struct Flaky(Arc<State>);

struct State {
    backend: Shared,
    luck: Arc<Luck>,
    /// Whether some lookups need no waiting.
    answers_now: bool,
    /// Whether nothing ever goes well, until it behaves.
    is_away: bool,
    is_ill: AtomicBool,
    behaves: AtomicBool,
}

impl Flaky {
    pub fn new(backend: Shared, luck: Arc<Luck>, is_away: bool) -> Self {
        Self(Arc::new(State {
            answers_now: luck.chance(30) && !is_away,
            is_away,
            backend,
            luck,
            is_ill: AtomicBool::new(false),
            behaves: AtomicBool::new(false),
        }))
    }

    /// Nothing fails from now on.
    pub fn behaves(&self) {
        self.0.behaves.store(true, Ordering::Relaxed);
    }

    /// Whether something goes wrong this time. Illness comes and goes.
    fn mishap(&self) -> bool {
        let state = &*self.0;
        if state.behaves.load(Ordering::Relaxed) {
            return false;
        }
        if state.is_away {
            return true;
        }
        if state.luck.chance(10) {
            state.is_ill.fetch_xor(true, Ordering::Relaxed);
        }
        let is_ill = state.is_ill.load(Ordering::Relaxed);
        state.luck.chance(if is_ill { 80 } else { 3 })
    }

    async fn around<T: Send + 'static>(
        &self,
        effect: impl Future<Output = Result<T, BackendError>> + Send + 'static,
    ) -> Result<T, BackendError> {
        let luck = &self.0.luck;
        luck.pause(3).await;
        if self.mishap() {
            return self.goes_wrong(effect).await;
        }
        let done = effect.await;
        luck.pause(3).await;
        done
    }

    async fn goes_wrong<T: Send + 'static>(
        &self,
        effect: impl Future<Output = Result<T, BackendError>> + Send + 'static,
    ) -> Result<T, BackendError> {
        let luck = &self.0.luck;
        match luck.below(7) {
            // A late answer may come in time.
            3 if self.0.is_away => {}

            0 => return Err(BackendError::refused("no room")),
            1 => return Err(BackendError::new("nothing was done")),
            2 => {
                drop(effect.await);
                return Err(BackendError::new("done, and not acknowledged"));
            }
            3 => {
                sleep(Duration::from_millis(luck.below(30))).await;
                return effect.await;
            }
            4 => drop(effect.await),
            5 => {
                let wait = Duration::from_millis(luck.below(100));
                drop(tokio::spawn(async move {
                    sleep(wait).await;
                    effect.await
                }));
                if luck.chance(50) {
                    return Err(BackendError::new("done later"));
                }
            }
            _ => {}
        }
        pending().await
    }
}

impl ForwardBackend for Flaky {
    type Inner = Shared;

    fn inner(&self) -> &Shared {
        &self.0.backend
    }

    async fn remove(&self, key: &CacheKey, fence: MemoryFence) -> Result<bool, BackendError> {
        let (backend, key) = (self.0.backend.clone(), *key);
        self.around(async move { Backend::remove(&backend, &key, fence).await })
            .await
    }

    fn get_now(&self, key: &CacheKey) -> Option<Lookup<MemoryFence>> {
        let answers = self.0.answers_now && self.0.luck.chance(80);
        answers
            .then(|| Backend::get_now(&self.0.backend, key))
            .flatten()
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<MemoryFence>, BackendError> {
        let (backend, key) = (self.0.backend.clone(), *key);
        self.around(async move { Backend::get(&backend, &key, now).await })
            .await
    }

    async fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> Result<Option<MemoryFence>, BackendError> {
        let (backend, resource) = (self.0.backend.clone(), resource.copied());
        self.around(async move { Backend::fence(&backend, resource.as_ref()).await })
            .await
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: MemoryFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        let (backend, key) = (self.0.backend.clone(), *key);
        self.around(async move { Backend::put(&backend, &key, fence, response, now).await })
            .await
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: MemoryFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        let (backend, key) = (self.0.backend.clone(), *key);
        self.around(async move { Backend::replace(&backend, &key, fence, response, now).await })
            .await
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        let (backend, target) = (self.0.backend.clone(), *target);
        self.around(async move { Backend::invalidate(&backend, &target).await })
            .await
    }

    async fn invalidate_unknown(
        &self,
        target: &InvalidationTarget,
        grace: Duration,
    ) -> Result<GraceScope, BackendError> {
        let (backend, target) = (self.0.backend.clone(), *target);
        self.around(async move { Backend::invalidate_unknown(&backend, &target, grace).await })
            .await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        let backend = self.0.backend.clone();
        self.around(async move { Backend::clear(&backend).await })
            .await
    }
}
