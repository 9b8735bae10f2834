//! A backend whose invalidations break the fences first and remove the responses later: in between,
//! a lookup gets a new fence and an old response.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tower_response_cache::backend::{
    Backend, BackendError, InvalidationTarget, Lookup, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::{CacheKey, Resource};

#[derive(Clone)]
pub struct TwoSteps {
    state: Arc<Mutex<State>>,
    is_held: Arc<watch::Sender<bool>>,
    /// Whether it tells that a response was invalidated before its lookup.
    tells: bool,
}

#[derive(Default)]
struct State {
    invalidations: u64,
    /// Each with the fence of its fill.
    stored: HashMap<CacheKey, (Arc<StoredResponse>, u64)>,
}

impl TwoSteps {
    pub fn new(tells: bool) -> Self {
        Self {
            state: Arc::default(),
            is_held: Arc::new(watch::Sender::new(false)),
            tells,
        }
    }

    /// Holds invalidations between their steps.
    pub fn hold(&self) {
        self.is_held.send_replace(true);
    }

    pub fn release(&self) {
        self.is_held.send_replace(false);
    }

    async fn invalidate_where(&self, is_removed: impl Fn(&CacheKey, &StoredResponse) -> bool) {
        self.state.lock().expect("no panic").invalidations += 1;
        let mut is_held = self.is_held.subscribe();
        is_held.wait_for(|held| !held).await.expect("a sender");
        let mut state = self.state.lock().expect("no panic");
        state
            .stored
            .retain(|key, (response, _)| !is_removed(key, response));
    }
}

impl Backend for TwoSteps {
    type Fence = u64;

    async fn get(&self, key: &CacheKey, _: Moment) -> Result<Lookup<u64>, BackendError> {
        let state = self.state.lock().expect("no panic");
        let fence = state.invalidations;
        Ok(match state.stored.get(key) {
            Some((response, _)) => Lookup::Found(response.clone(), fence),
            None => Lookup::Miss(fence),
        })
    }

    async fn fence(&self, _: Option<&Resource>) -> Result<Option<u64>, BackendError> {
        Ok(Some(self.state.lock().expect("no panic").invalidations))
    }

    fn is_still_valid(&self, key: &CacheKey, _: &StoredResponse, fence: &u64) -> bool {
        let state = self.state.lock().expect("no panic");
        let since = state.stored.get(key).map(|(_, since)| since);
        self.tells && since == Some(fence)
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: u64,
        response: Arc<StoredResponse>,
        _: Moment,
    ) -> Result<PutOutcome, BackendError> {
        let mut state = self.state.lock().expect("no panic");
        if state.invalidations != fence {
            return Ok(PutOutcome::Superseded);
        }
        state.stored.insert(*key, (response, fence));
        Ok(PutOutcome::Stored)
    }

    async fn remove(&self, key: &CacheKey, fence: u64) -> Result<bool, BackendError> {
        let mut state = self.state.lock().expect("no panic");
        let holds = state.invalidations == fence;
        if holds {
            state.stored.remove(key);
        }
        Ok(holds)
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        let is_member = |key: &CacheKey, response: &StoredResponse| match target {
            InvalidationTarget::Resource(resource) => key.resource() == resource,
            InvalidationTarget::Group(group) => response.groups().contains(group),
            _ => true,
        };
        self.invalidate_where(is_member).await;
        Ok(())
    }

    async fn clear(&self) -> Result<(), BackendError> {
        self.invalidate_where(|_, _| true).await;
        Ok(())
    }
}
