//! Each operation of the contract, with its checks before and its records after.

use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::attempt::{Attempt, TimeLimit, is_failure};
use super::counts::count;
use super::delivery::PendingDelivery;
use super::error::GuardError;
use super::undelivered::{DeliveryMode, DeliveryTarget};
use super::{Guarded, GuardedFence};
use crate::backend::{
    Backend, BackendError, BreakerState, GraceScope, Group, Health, InvalidationTarget,
    JoinDecision, Lookup, LookupWithVariant, PutOutcome, StoredResponse, Usage,
};
use crate::key::{CacheKey, DigestSeed, Resource};
use crate::semantics::moment::Moment;
use crate::timeout::with_timeout;

/// A longer period ends no later, so that its end can be computed.
const MAX_GRACE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Returns when a period ends that begins now.
fn end_of_grace(grace: Duration) -> Option<Instant> {
    Instant::now().checked_add(grace.min(MAX_GRACE))
}

fn remove_until(grace_until: Option<Instant>) -> DeliveryMode {
    DeliveryMode::Remove { grace_until }
}

impl<B: Backend> Guarded<B> {
    fn record_all(
        &self,
        targets: &[InvalidationTarget],
        mode: DeliveryMode,
    ) -> Vec<PendingDelivery<B>> {
        let record =
            |target: &InvalidationTarget| self.0.record_as(DeliveryTarget::One(*target), mode);
        targets.iter().map(record).collect()
    }
}

impl<B: Backend> Backend for Guarded<B> {
    type Fence = GuardedFence<B::Fence>;

    fn get_now(&self, key: &CacheKey) -> Option<Lookup<Self::Fence>> {
        // `get` reports why the resource cannot be read.
        if self.0.undelivered.has_resource(key.resource()) {
            return None;
        }
        let start = self.0.undelivered.snapshot();
        let lookup = self.0.backend.get_now(key)?;
        Some(self.0.check_groups(lookup, start))
    }

    // No `async fn`, which would hold its arguments twice.
    fn get(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> impl Future<Output = Result<Lookup<Self::Fence>, BackendError>> + Send {
        let (guard, deadline) = (&self.0, self.0.options.lookup_deadline);
        async move {
            guard.check_delivered(Some(key.resource()))?;
            let start = guard.undelivered.snapshot();
            let attempt = guard.attempt(TimeLimit::Lookup(deadline))?;
            let lookup = attempt.wait_for(pin!(guard.backend.get(key, now))).await;
            Ok(guard.check_groups(attempt.finish(lookup)?, start))
        }
    }

    /// Fails at once where `get` would. Neither the counts nor the circuit breaker learn of it.
    async fn peek(&self, key: &CacheKey, now: Moment) -> Result<Lookup<Self::Fence>, BackendError> {
        let (guard, deadline) = (&self.0, self.0.options.lookup_deadline);
        if guard.undelivered.has_resource(key.resource()) {
            return Err(BackendError::unavailable(GuardError::Undelivered));
        }
        if guard.breaker.state() != BreakerState::Closed {
            return Err(BackendError::unavailable(GuardError::BreakerOpen));
        }
        let start = guard.undelivered.snapshot();
        let time = Attempt::unrecorded(&guard.counts, TimeLimit::Lookup(deadline), &guard.backend);
        let lookup = time.wait_for(pin!(guard.backend.peek(key, now))).await;
        let lookup = lookup.ok_or_else(|| BackendError::timed_out(GuardError::TimedOut))??;
        Ok(guard.check_groups(lookup, start))
    }

    async fn get_with_variant(
        &self,
        key: &CacheKey,
        variant: &CacheKey,
        now: Moment,
    ) -> Result<LookupWithVariant<Self::Fence>, BackendError> {
        let (guard, deadline) = (&self.0, self.0.options.lookup_deadline);
        guard.check_delivered(Some(key.resource()))?;
        let start = guard.undelivered.snapshot();
        let attempt = guard.attempt(TimeLimit::Lookup(deadline))?;
        let lookup = pin!(guard.backend.get_with_variant(key, variant, now));
        let lookup = attempt.wait_for(lookup).await;
        let (found, other) = attempt.finish(lookup)?;
        let check = |lookup| guard.check_groups(lookup, start);
        Ok((check(found), other.map(check)))
    }

    /// Says nothing of the backend's health: a lookup has just been answered, and a transfer may be
    /// slow.
    async fn read_body(
        &self,
        response: &StoredResponse,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, BackendError> {
        let guard = &self.0;
        let bytes = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let limit = TimeLimit::transfer(guard.options.store_deadline, bytes);
        let read = guard.backend.read_body(response, range);
        let read = with_timeout(limit.deadline(), read).await;
        let read = read.unwrap_or_else(|| Err(guard.counts.timed_out()));
        if read.as_ref().is_err_and(is_failure) {
            count(&guard.counts.failures);
        }
        read
    }

    async fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> Result<Option<Self::Fence>, BackendError> {
        let (guard, deadline) = (&self.0, self.0.options.lookup_deadline);
        guard.check_delivered(resource)?;
        let groups_added = guard.undelivered.snapshot().groups_added;
        let attempt = guard.attempt(TimeLimit::Lookup(deadline))?;
        let fence = attempt.wait_for(pin!(guard.backend.fence(resource))).await;
        let fence = attempt.finish(fence)?;
        Ok(fence.map(|fence| GuardedFence {
            fence,
            groups_added,
        }))
    }

    fn join_decision(
        &self,
        resource: &Resource,
        flight: &Self::Fence,
        own: &Self::Fence,
    ) -> JoinDecision {
        let decision = (self.0.backend).join_decision(resource, &flight.fence, &own.fence);
        match decision {
            // The backend was not told of the groups that are owed to it.
            JoinDecision::Join if own.groups_added > flight.groups_added => {
                JoinDecision::CheckGroups
            }
            decision => decision,
        }
    }

    fn has_current_groups(
        &self,
        groups: &[Group],
        flight: &Self::Fence,
        own: &Self::Fence,
    ) -> bool {
        let is_told = own.groups_added <= flight.groups_added;
        (is_told || groups.is_empty())
            && (self.0.backend).has_current_groups(groups, &flight.fence, &own.fence)
    }

    fn is_still_valid(
        &self,
        key: &CacheKey,
        response: &StoredResponse,
        fence: &Self::Fence,
    ) -> bool {
        !self.0.is_undelivered(key, response)
            && (self.0.backend).is_still_valid(key, response, &fence.fence)
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        let guard = &self.0;
        // An invalidation that was delivered by now has broken the fence in the backend.
        if guard.is_undelivered(key, &response) {
            return Ok(PutOutcome::Superseded);
        }
        // Not an operation: it would say nothing about the backend's health.
        if response.weight() as u64 > guard.backend.max_response_size() {
            return Ok(PutOutcome::TooLarge);
        }
        let limit = TimeLimit::store(guard.options.store_deadline, response.weight());
        let attempt = guard.attempt(limit)?;
        let put = guard.backend.put(key, fence.fence, response, now);
        attempt.finish(with_timeout(limit.deadline(), put).await)
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        let guard = &self.0;
        let target = InvalidationTarget::Resource(*key.resource());
        // Before the check: this delivery must not settle an addition that comes after the check.
        let delivery = guard.record(DeliveryTarget::One(target));
        if guard.is_undelivered(key, &response) {
            // The undelivered write has broken this fence, too, which the backend does not know.
            let invalidation = guard.backend.invalidate(&target);
            guard.deliver(delivery, 0, invalidation).await?;
            return Ok(PutOutcome::Superseded);
        }
        let bytes = response.weight();
        let replace = guard.backend.replace(key, fence.fence, response, now);
        guard.deliver(delivery, bytes, replace).await
    }

    async fn remove(&self, key: &CacheKey, fence: Self::Fence) -> Result<bool, BackendError> {
        let guard = &self.0;
        // The undelivered invalidation has broken the fence, and will remove the entry.
        if guard.undelivered.has_resource(key.resource()) {
            return Ok(false);
        }
        let limit = TimeLimit::transfer(guard.options.store_deadline, 0);
        let attempt = guard.attempt(limit)?;
        let removal = guard.backend.remove(key, fence.fence);
        attempt.finish(with_timeout(limit.deadline(), removal).await)
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        let delivery = self.0.record(DeliveryTarget::One(*target));
        let invalidation = self.0.backend.invalidate(target);
        self.0.deliver(delivery, 0, invalidation).await
    }

    async fn invalidate_unknown(
        &self,
        target: &InvalidationTarget,
        grace: Duration,
    ) -> Result<GraceScope, BackendError> {
        let mode = remove_until(end_of_grace(grace));
        let delivery = self.0.record_as(DeliveryTarget::One(*target), mode);
        let invalidation = self.0.backend.invalidate_unknown(target, grace);
        self.0.deliver(delivery, 0, invalidation).await
    }

    async fn invalidate_many(
        &self,
        targets: &[InvalidationTarget],
        grace: Option<Duration>,
    ) -> Result<(), BackendError> {
        let deliveries = self.record_all(targets, remove_until(grace.and_then(end_of_grace)));
        let invalidation = self.0.backend.invalidate_many(targets, grace);
        self.0.deliver_all(deliveries, 0, invalidation).await
    }

    async fn expire(
        &self,
        targets: &[InvalidationTarget],
        at: Moment,
        ago: Duration,
    ) -> Result<(), BackendError> {
        let deliveries = self.record_all(targets, DeliveryMode::expire(at, ago));
        let expiration = self.0.backend.expire(targets, at, ago);
        self.0.deliver_all(deliveries, 0, expiration).await
    }

    /// Everything is cleared later if it is not acknowledged.
    async fn expire_all(&self, now: Moment) -> Result<(), BackendError> {
        let mode = DeliveryMode::expire(now, Duration::ZERO);
        let delivery = self.0.record_as(DeliveryTarget::Everything, mode);
        let expiration = self.0.backend.expire_all(now);
        self.0.deliver(delivery, 0, expiration).await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        let delivery = self.0.record(DeliveryTarget::Everything);
        self.0.deliver(delivery, 0, self.0.backend.clear()).await
    }

    fn seed(&self) -> DigestSeed {
        self.0.backend.seed()
    }

    fn max_response_size(&self) -> u64 {
        self.0.backend.max_response_size()
    }

    fn usage(&self) -> Option<Usage> {
        self.0.backend.usage()
    }

    fn transferred_bytes(&self) -> u64 {
        self.0.backend.transferred_bytes()
    }

    fn health(&self) -> Option<Health> {
        Some(self.0.health())
    }

    async fn drain(&self) {
        let (targets, is_everything) = self.0.undelivered.count();
        if targets > 0 || is_everything {
            tracing::info!(targets, is_everything, "delivering invalidations");
        }
        self.0.replay().await;
        self.0.backend.drain().await;
    }
}
