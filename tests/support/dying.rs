//! A backend whose operations fail when told to, around any other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower_response_cache::backend::{
    Backend, BackendError, CacheKey, DigestSeed, Lookup, Moment, Put, Resource, StoredResponse,
    Target, Usage,
};

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

impl<B: Backend> Backend for Dying<B> {
    type Fence = B::Fence;

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<B::Fence>, BackendError> {
        self.switch.ask()?;
        self.backend.get(key, now).await
    }

    async fn fence(&self, resource: Option<&Resource>) -> Result<Option<B::Fence>, BackendError> {
        self.switch.ask()?;
        self.backend.fence(resource).await
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
        self.switch.ask()?;
        self.backend.put(key, fence, response, now).await
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: B::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        self.switch.ask()?;
        self.backend.replace(key, fence, response, now).await
    }

    async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
        self.switch.ask()?;
        self.backend.invalidate(target).await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        self.switch.ask()?;
        self.backend.clear().await
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
