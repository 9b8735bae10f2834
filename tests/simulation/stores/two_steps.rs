//! A backend whose lookups and invalidations take two steps, as those of a concurrent map do.
//!
//! An invalidation first breaks the fences, and removes the responses after that. A lookup first
//! captures its fence, and reads the response after that. So a lookup may have a fence that holds,
//! beside a response that is about to be removed.
//!
//! Or one whose lookups take one step, as those of a server do: they read the response and its
//! fence together, and compare. What has come since, such a backend cannot tell without waiting.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tower_response_cache::backend::{
    Backend, BackendError, Group, InvalidationTarget, JoinDecision, Lookup, PutOutcome,
    StoredResponse, VaryRule,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::{CacheKey, Resource};

use crate::luck::Luck;

#[derive(Clone)]
pub struct TwoSteps {
    state: Arc<Mutex<State>>,
    /// Whether a lookup takes one step.
    compares: bool,
    luck: Arc<Luck>,
}

#[derive(Default)]
struct State {
    /// The number of invalidations so far: what a fence is.
    invalidations: u64,
    /// The numbers of the last invalidations.
    of_resources: BTreeMap<Resource, u64>,
    of_groups: BTreeMap<u128, u64>,
    of_all: u64,
    responses: BTreeMap<CacheKey, Entry>,
    rules: BTreeMap<CacheKey, (Arc<VaryRule>, u64)>,
}

/// A response, and the fence of its fill.
type Entry = (Arc<StoredResponse>, u64);

impl State {
    fn count_up(&mut self) -> u64 {
        self.invalidations += 1;
        self.invalidations
    }

    /// Whether no invalidation of the resource came after a fence.
    fn holds(&self, resource: &Resource, fence: u64) -> bool {
        let last = self.of_resources.get(resource).copied();
        last.unwrap_or_default().max(self.of_all) <= fence
    }

    /// Whether no invalidation of a group came after a fence.
    fn holds_for(&self, groups: &[Group], fence: u64) -> bool {
        let last = |group: &Group| self.of_groups.get(&group.digest()).copied();
        let holds = |group| last(group).unwrap_or_default() <= fence;
        groups.iter().all(holds)
    }

    fn insert(&mut self, key: &CacheKey, response: Arc<StoredResponse>, fence: u64) {
        match response.vary_rule() {
            Some(rule) => drop(self.rules.insert(key.primary(), (rule.clone(), fence))),
            None => drop(self.rules.remove(key)),
        }
        self.responses.insert(*key, (response, fence));
    }

    /// Removes the responses stored before an invalidation of a resource, or of all.
    fn remove_older(&mut self, resource: Option<&Resource>, number: u64) {
        let stays = |key: &CacheKey, fence: u64| {
            fence >= number || resource.is_some_and(|resource| resource != key.resource())
        };
        self.responses.retain(|key, (_, fence)| stays(key, *fence));
        self.rules.retain(|key, (_, fence)| stays(key, *fence));
    }
}

impl TwoSteps {
    pub fn new(compares: bool, luck: Arc<Luck>) -> Self {
        Self {
            state: Arc::default(),
            compares,
            luck,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no check fails under this lock")
    }
}

impl Backend for TwoSteps {
    type Fence = u64;

    async fn get(&self, key: &CacheKey, _: Moment) -> Result<Lookup<u64>, BackendError> {
        let mut fence = self.state().invalidations;
        self.luck.pause(5).await;
        let state = self.state();
        if self.compares {
            fence = state.invalidations;
        }
        let holds = |since: u64| !self.compares || state.holds(key.resource(), since);
        let found = state.responses.get(key);
        let found =
            found.filter(|(found, since)| holds(*since) && state.holds_for(found.groups(), *since));
        let rule = state.rules.get(key).filter(|(_, since)| holds(*since));
        Ok(match (found, rule) {
            (Some((response, _)), _) => Lookup::Found(response.clone(), fence),
            (None, Some((rule, _))) => Lookup::Varies(rule.clone(), fence),
            (None, None) => Lookup::Miss(fence),
        })
    }

    async fn fence(&self, _: Option<&Resource>) -> Result<Option<u64>, BackendError> {
        Ok(Some(self.state().invalidations))
    }

    fn join_decision(&self, resource: &Resource, flight: &u64, own: &u64) -> JoinDecision {
        let state = self.state();
        let of_groups = state.of_groups.values().copied().max();
        let no_group_since = of_groups.unwrap_or_default() <= *flight;
        match own <= flight {
            true => JoinDecision::Join,
            false if !state.holds(resource, *flight) => JoinDecision::Refuse,
            false if no_group_since => JoinDecision::Join,
            false => JoinDecision::CheckGroups,
        }
    }

    fn has_current_groups(&self, groups: &[Group], flight: &u64, _: &u64) -> bool {
        self.state().holds_for(groups, *flight)
    }

    fn is_still_valid(&self, key: &CacheKey, response: &StoredResponse, _: &u64) -> bool {
        if self.compares {
            return true;
        }
        let state = self.state();
        state.responses.get(key).is_some_and(|(stored, since)| {
            std::ptr::eq(&raw const **stored, response)
                && state.holds(key.resource(), *since)
                && state.holds_for(response.groups(), *since)
        })
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: u64,
        response: Arc<StoredResponse>,
        _: Moment,
    ) -> Result<PutOutcome, BackendError> {
        let mut state = self.state();
        if !state.holds(key.resource(), fence) || !state.holds_for(response.groups(), fence) {
            return Ok(PutOutcome::Superseded);
        }
        state.insert(key, response, fence);
        Ok(PutOutcome::Stored)
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: u64,
        response: Arc<StoredResponse>,
        _: Moment,
    ) -> Result<PutOutcome, BackendError> {
        let mut state = self.state();
        let holds = state.holds(key.resource(), fence) && state.holds_for(response.groups(), fence);
        let number = state.count_up();
        state.of_resources.insert(*key.resource(), number);
        state.remove_older(Some(key.resource()), number);
        if !holds {
            return Ok(PutOutcome::Superseded);
        }
        state.insert(key, response, number);
        Ok(PutOutcome::Stored)
    }

    async fn remove(&self, key: &CacheKey, fence: u64) -> Result<bool, BackendError> {
        let mut state = self.state();
        let holds = state.holds(key.resource(), fence);
        if holds {
            state.responses.remove(key);
            state.rules.remove(key);
        }
        Ok(holds)
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        let number = self.state().count_up();
        match target {
            InvalidationTarget::Resource(resource) => {
                self.state().of_resources.insert(*resource, number);
                self.luck.pause(20).await;
                self.state().remove_older(Some(resource), number);
            }
            // Lookups compare the number.
            InvalidationTarget::Group(group) => {
                self.state().of_groups.insert(group.digest(), number);
            }
            _ => self.clear().await?,
        }
        Ok(())
    }

    async fn clear(&self) -> Result<(), BackendError> {
        let number = self.state().count_up();
        self.state().of_all = number;
        self.luck.pause(5).await;
        self.state().remove_older(None, number);
        Ok(())
    }
}
