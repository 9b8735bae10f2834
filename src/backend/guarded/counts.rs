//! What a guarded backend counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::GuardError;
use super::undelivered::{DeliveryBatch, DeliveryMode};
use crate::backend::{BackendError, InvalidationTarget, ReplayedInvalidations};

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) failures: AtomicU64,
    pub(super) timeouts: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) skipped_invalidations: AtomicU64,
    replayed: Mutex<ReplayedInvalidations>,
}

impl Counts {
    /// Counts invalidations that were delivered later.
    pub(super) fn replayed(&self, batch: &DeliveryBatch) {
        let mut counts = self.lock_replayed();
        let (targets, is_removal) = match batch {
            DeliveryBatch::Everything => return counts.clears += 1,
            DeliveryBatch::Targets { targets, mode } => {
                (targets, matches!(mode, DeliveryMode::Remove { .. }))
            }
        };
        for target in targets {
            *match (target, is_removal) {
                (InvalidationTarget::Resource(_), true) => &mut counts.removed_resources,
                (InvalidationTarget::Resource(_), false) => &mut counts.expired_resources,
                (InvalidationTarget::Group(_), true) => &mut counts.removed_groups,
                (InvalidationTarget::Group(_), false) => &mut counts.expired_groups,
            } += 1;
        }
    }

    pub(super) fn replayed_by(&self) -> ReplayedInvalidations {
        *self.lock_replayed()
    }

    fn lock_replayed(&self) -> MutexGuard<'_, ReplayedInvalidations> {
        self.replayed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation that was cancelled at its deadline, and returns its error.
    pub(super) fn timed_out(&self) -> BackendError {
        count(&self.timeouts);
        BackendError::timed_out(GuardError::TimedOut)
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
