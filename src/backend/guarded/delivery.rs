//! The delivery of one invalidation: acknowledged, or recorded as undelivered.

use std::future::Future;
use std::sync::Arc;

use super::attempt::TimeLimit;
use super::counts::count;
use super::error::GuardError;
use super::guard::Guard;
use super::undelivered::{DeliveryMode, DeliveryTarget};
use crate::backend::{Backend, BackendError};
use crate::timeout::with_timeout;

/// An invalidation in progress.
///
/// When it is dropped before the backend has acknowledged it, also because the future of the write
/// was dropped, the target is recorded as undelivered.
pub(super) struct PendingDelivery<B: Backend> {
    guard: Arc<Guard<B>>,
    target: DeliveryTarget,
    started: u64,
    mode: DeliveryMode,
    is_acknowledged: bool,
}

impl<B: Backend> Guard<B> {
    /// Records that an invalidation is in progress.
    pub(super) fn record(self: &Arc<Self>, target: DeliveryTarget) -> PendingDelivery<B> {
        self.record_as(target, DeliveryMode::REMOVE)
    }

    /// Records that an invalidation is in progress: one that makes stale, or after which nothing
    /// may be stored for a while.
    pub(super) fn record_as(
        self: &Arc<Self>,
        target: DeliveryTarget,
        mode: DeliveryMode,
    ) -> PendingDelivery<B> {
        PendingDelivery {
            started: self.undelivered.start_delivery(),
            guard: self.clone(),
            target,
            mode,
            is_acknowledged: false,
        }
    }

    /// Runs the operation that delivers an invalidation, and transfers this many bytes with it.
    pub(super) async fn deliver<T>(
        &self,
        delivery: PendingDelivery<B>,
        bytes: usize,
        operation: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        self.deliver_all([delivery], bytes, operation).await
    }

    /// Runs the operation that delivers several invalidations.
    pub(super) async fn deliver_all<T>(
        &self,
        mut deliveries: impl AsMut<[PendingDelivery<B>]>,
        bytes: usize,
        operation: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let limit = TimeLimit::transfer(self.options.invalidation_deadline, bytes);
        let Ok(attempt) = self.attempt_invalidation(limit) else {
            count(&self.counts.rejected);
            count(&self.counts.skipped_invalidations);
            return Err(BackendError::unavailable(GuardError::BreakerOpen));
        };
        let outcome = attempt.finish(with_timeout(limit.deadline(), operation).await);
        for delivery in deliveries.as_mut() {
            delivery.is_acknowledged = outcome.is_ok();
        }
        outcome
    }
}

impl<B: Backend> Drop for PendingDelivery<B> {
    fn drop(&mut self) {
        let undelivered = &self.guard.undelivered;
        let is_any_left = if self.is_acknowledged {
            undelivered.settle(self.target, self.started, self.mode)
        } else {
            undelivered.add(self.target, self.mode);
            true
        };
        if is_any_left {
            self.guard.replay_in_background();
        }
    }
}
