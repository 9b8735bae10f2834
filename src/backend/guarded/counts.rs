//! What a guarded backend counts.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::GuardError;
use crate::backend::BackendError;

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) failures: AtomicU64,
    pub(super) timeouts: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) skipped_invalidations: AtomicU64,
    pub(super) replayed: AtomicU64,
}

impl Counts {
    /// Counts an operation that was cancelled at its deadline, and returns its error.
    pub(super) fn timed_out(&self) -> BackendError {
        count(&self.timeouts);
        BackendError::timed_out(GuardError::TimedOut)
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
