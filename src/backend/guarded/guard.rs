//! The state that all clones of a guarded backend share, and the checks before each operation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::attempt::{Attempt, TimeLimit};
use super::breaker::{BreakerOptions, CircuitBreaker};
use super::counts::{Counts, count};
use super::error::GuardError;
use super::undelivered::{DeliverySnapshot, GuardedFence, Undelivered};
use crate::backend::{Backend, BackendError, Health, Lookup, PanicsAsErrors, StoredResponse};
use crate::key::{CacheKey, Resource};

/// How long after a success the backend counts as one that answers.
const ANSWERING: Duration = Duration::from_secs(1);

/// The deadlines and limits, which `options` sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct GuardOptions {
    pub(super) lookup_deadline: Duration,
    pub(super) invalidation_deadline: Duration,
    pub(super) store_deadline: Duration,
    pub(super) max_undelivered: usize,
    pub(super) breaker: BreakerOptions,
}

impl Default for GuardOptions {
    fn default() -> Self {
        Self {
            lookup_deadline: Duration::from_millis(50),
            invalidation_deadline: Duration::from_millis(250),
            store_deadline: Duration::from_secs(2),
            max_undelivered: 16_384,
            breaker: BreakerOptions::default(),
        }
    }
}

pub(super) struct Guard<B: Backend> {
    pub(super) backend: PanicsAsErrors<B>,
    pub(super) options: GuardOptions,
    /// The health of everything but invalidations.
    pub(super) breaker: CircuitBreaker,
    /// The health of invalidations.
    invalidation_breaker: CircuitBreaker,
    pub(super) undelivered: Undelivered,
    pub(super) is_replaying: AtomicBool,
    pub(super) counts: Counts,
}

impl<B: Backend> Guard<B> {
    pub(super) fn new(backend: B, options: GuardOptions) -> Self {
        Self {
            backend: PanicsAsErrors::new(backend),
            breaker: CircuitBreaker::new(options.breaker),
            invalidation_breaker: CircuitBreaker::new(options.breaker).with_name("invalidations"),
            undelivered: Undelivered::new(options.max_undelivered),
            is_replaying: AtomicBool::new(false),
            counts: Counts::default(),
            options,
        }
    }

    /// Starts a lookup or a store, or fails if the circuit breaker is open.
    pub(super) fn attempt(&self, limit: TimeLimit) -> Result<Attempt<'_>, BackendError> {
        let permit = match limit {
            // One that takes long and may tell nothing is no probe.
            TimeLimit::LargeTransfer(_) => self.breaker.admit_if_closed(),
            TimeLimit::Lookup(_) | TimeLimit::Transfer(_) => self.breaker.admit().ok(),
        };
        let Some(permit) = permit else {
            count(&self.counts.rejected);
            return Err(BackendError::unavailable(GuardError::BreakerOpen));
        };
        Ok(Attempt::new(permit, &self.counts, limit, &self.backend))
    }

    /// Starts an invalidation, or returns the time after which to try again.
    ///
    /// While the backend answers lookups, every invalidation is tried: a skipped one leaves
    /// outdated responses to other instances.
    pub(super) fn attempt_invalidation(&self, limit: TimeLimit) -> Result<Attempt<'_>, Duration> {
        let permit = match self.breaker.has_success_within(ANSWERING) {
            true => self.invalidation_breaker.admit_at_once(),
            false => self.invalidation_breaker.admit()?,
        };
        Ok(Attempt::new(permit, &self.counts, limit, &self.backend))
    }

    /// Fails if the backend may hold responses of the resource that are too old to be read. Without
    /// a resource, any undelivered invalidation makes it fail.
    pub(super) fn check_delivered(
        self: &Arc<Self>,
        resource: Option<&Resource>,
    ) -> Result<(), BackendError> {
        let is_delivered = match resource {
            Some(resource) => !self.undelivered.has_resource(resource),
            None => self.undelivered.is_empty(),
        };
        if is_delivered {
            return Ok(());
        }
        self.replay_in_background();
        count(&self.counts.rejected);
        Err(BackendError::unavailable(GuardError::Undelivered))
    }

    /// Whether an invalidation of a response's resource or groups is undelivered.
    pub(super) fn is_undelivered(&self, key: &CacheKey, response: &StoredResponse) -> bool {
        self.undelivered.has_resource(key.resource())
            || self.undelivered.has_group(response.groups())
    }

    /// Adds to a lookup what this instance alone knows: a response that may be older than the
    /// invalidation of one of its groups is a miss.
    pub(super) fn check_groups(
        self: &Arc<Self>,
        lookup: Lookup<B::Fence>,
        start: DeliverySnapshot,
    ) -> Lookup<GuardedFence<B::Fence>> {
        let groups_added = start.groups_added;
        match lookup.map_fence(|fence| GuardedFence {
            fence,
            groups_added,
        }) {
            Lookup::Found(response, fence)
                if self.undelivered.may_be_outdated(response.groups(), start) =>
            {
                self.replay_in_background();
                Lookup::Miss(fence)
            }
            lookup => lookup,
        }
    }

    pub(super) fn health(&self) -> Health {
        let counts = &self.counts;
        let replayed = counts.replayed_by();
        let (undelivered, to_be_cleared) = self.undelivered.count();
        Health {
            breaker: self.breaker.state(),
            invalidation_breaker: self.invalidation_breaker.state(),
            skipped_invalidations: counts.skipped_invalidations.load(Ordering::Relaxed),
            opened: self.breaker.opened(),
            invalidation_breaker_opened: self.invalidation_breaker.opened(),
            failures: counts.failures.load(Ordering::Relaxed),
            timeouts: counts.timeouts.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
            rejected: counts.rejected.load(Ordering::Relaxed),
            replayed: replayed.total(),
            replayed_by: replayed,
            reconnects: self.backend.health().map_or(0, |inner| inner.reconnects),
            undelivered,
            to_be_cleared,
        }
    }
}

impl<B: Backend> Drop for Guard<B> {
    fn drop(&mut self) {
        let (targets, is_everything) = self.undelivered.count();
        if targets > 0 || is_everything {
            tracing::error!(
                targets,
                is_everything,
                "undelivered invalidations lost; other instances may serve outdated responses until \
                 they expire"
            );
        }
    }
}
