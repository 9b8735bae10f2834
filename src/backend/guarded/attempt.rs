//! One operation on the backend, recorded as a success or a failure when it ends or is dropped.

use std::time::Duration;

use tokio::time::Instant;

use super::breaker::Permit;
use super::counts::{Counts, count};
use super::error::GuardError;
use crate::backend::BackendError;

/// An operation in progress.
///
/// Dropped before its end, it counts as a failure if it was slow by then, and as nothing otherwise.
pub(super) struct Attempt<'g> {
    permit: Option<Permit<'g>>,
    counts: &'g Counts,
    deadline: Duration,
    started: Instant,
}

impl<'g> Attempt<'g> {
    pub(super) fn new(permit: Permit<'g>, counts: &'g Counts, deadline: Duration) -> Self {
        Self {
            permit: Some(permit),
            counts,
            deadline,
            started: Instant::now(),
        }
    }

    /// Whether the backend was slow. An operation that is noticed long after its deadline was
    /// noticed late: then this process is slow, and an open breaker would make it slower.
    fn is_slow(&self, elapsed: Duration) -> bool {
        elapsed > self.deadline / 2 && elapsed <= self.deadline + self.deadline / 2
    }

    /// Records the outcome; `None` means that the deadline has passed.
    pub(super) fn finish<T>(
        mut self,
        outcome: Option<Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.started);
        let is_slow = self.is_slow(elapsed);
        let outcome = outcome.unwrap_or_else(|| {
            count(&self.counts.timeouts);
            Err(BackendError::new(GuardError::TimedOut))
        });
        // A backend that refuses an operation is healthy.
        let has_failed = outcome.as_ref().is_err_and(|error| !error.is_refused());
        if has_failed {
            count(&self.counts.failures);
        }
        if let Some(permit) = self.permit.take() {
            permit.record(has_failed || is_slow, now);
        }
        outcome
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.started);
        if let Some(permit) = self.permit.take()
            && self.is_slow(elapsed)
        {
            permit.record(true, now);
        }
    }
}
