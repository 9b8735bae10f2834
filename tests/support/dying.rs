//! A backend whose operations fail when told to, around any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, InvalidationTarget, Lookup, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::{CacheKey, Resource};

#[derive(Clone, Debug)]
pub struct Dying<B> {
    backend: B,
    switch: Switch,
}

/// What makes it fail. It begins dead.
#[derive(Clone, Debug)]
pub struct Switch(Arc<State>);

#[derive(Debug)]
struct State {
    /// Every how manieth operation works; none if 0.
    works: AtomicUsize,
    asked: AtomicUsize,
}

impl Switch {
    /// From now on every `n`th operation works.
    pub fn works_every(&self, n: usize) {
        self.0.works.store(n, Ordering::SeqCst);
    }

    pub fn revive(&self) {
        self.works_every(1);
    }

    pub fn kill(&self) {
        self.works_every(0);
    }

    fn ask(&self) -> Result<(), BackendError> {
        let number = self.0.asked.fetch_add(1, Ordering::SeqCst);
        match self.0.works.load(Ordering::SeqCst) {
            0 => Err(BackendError::new("dead")),
            works if number.is_multiple_of(works) => Ok(()),
            _ => Err(BackendError::new("half dead")),
        }
    }
}

impl<B> Dying<B> {
    pub fn new(backend: B) -> (Self, Switch) {
        let switch = Switch(Arc::new(State {
            works: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
        }));
        let own = switch.clone();
        (
            Self {
                backend,
                switch: own,
            },
            switch,
        )
    }
}

impl<B: Backend> ForwardBackend for Dying<B> {
    type Inner = B;

    fn inner(&self) -> &B {
        &self.backend
    }

    /// No lookup is answered at once.
    fn get_now(&self, _: &CacheKey) -> Option<Lookup<B::Fence>> {
        None
    }

    async fn remove(&self, key: &CacheKey, fence: B::Fence) -> Result<bool, BackendError> {
        self.switch.ask()?;
        self.backend.remove(key, fence).await
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<B::Fence>, BackendError> {
        self.switch.ask()?;
        self.backend.get(key, now).await
    }

    async fn fence(&self, resource: Option<&Resource>) -> Result<Option<B::Fence>, BackendError> {
        self.switch.ask()?;
        self.backend.fence(resource).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        self.switch.ask()?;
        self.backend.put(key, fence, response, now).await
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        self.switch.ask()?;
        self.backend.replace(key, fence, response, now).await
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        self.switch.ask()?;
        self.backend.invalidate(target).await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        self.switch.ask()?;
        self.backend.clear().await
    }
}
