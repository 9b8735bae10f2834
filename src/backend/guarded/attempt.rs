//! One operation on the backend, recorded as a success or a failure when it ends or is dropped.

use std::time::Duration;

use tokio::time::Instant;

use super::breaker::Permit;
use super::counts::{Counts, count};
use crate::backend::BackendError;
use crate::timeout::max_transfer_time;

/// The time limit of an operation, and what a slow one says of the backend.
#[derive(Clone, Copy, Debug)]
pub(super) enum TimeLimit {
    /// A request waits for it: one that takes more than half of its deadline counts as a failure.
    Lookup(Duration),
    /// One that ends by its deadline is a success.
    Transfer(Duration),
    /// One that transfers a lot: that it takes too long may be the network's fault.
    LargeTransfer(Duration),
}

/// The number of bytes above which a transfer is a large one.
const LARGE: usize = 32 * 1024;

impl TimeLimit {
    /// Creates the limit of an operation that transfers this many bytes: the slowest transfer is
    /// added to its deadline.
    pub(super) fn transfer(deadline: Duration, bytes: usize) -> Self {
        Self::Transfer(deadline.saturating_add(max_transfer_time(bytes)))
    }

    /// Creates the limit of a store, for which no request waits.
    pub(super) fn store(deadline: Duration, bytes: usize) -> Self {
        match Self::transfer(deadline, bytes).deadline() {
            deadline if bytes > LARGE => Self::LargeTransfer(deadline),
            deadline => Self::Transfer(deadline),
        }
    }

    pub(super) fn deadline(self) -> Duration {
        match self {
            Self::Lookup(deadline) | Self::Transfer(deadline) | Self::LargeTransfer(deadline) => {
                deadline
            }
        }
    }
}

/// An operation in progress.
///
/// Dropped before its end, it counts as a failure if it was slow by then, and as nothing otherwise.
/// A large transfer that is slow counts as nothing, too.
pub(super) struct Attempt<'g> {
    permit: Option<Permit<'g>>,
    counts: &'g Counts,
    limit: TimeLimit,
    started: Instant,
}

impl<'g> Attempt<'g> {
    pub(super) fn new(permit: Permit<'g>, counts: &'g Counts, limit: TimeLimit) -> Self {
        Self {
            permit: Some(permit),
            counts,
            limit,
            started: Instant::now(),
        }
    }

    /// Whether the backend was slow. An operation that is noticed long after its deadline was
    /// noticed late: then this process is slow, and an open breaker would make it slower.
    fn is_slow(&self, elapsed: Duration) -> bool {
        if let TimeLimit::LargeTransfer(_) = self.limit {
            return false;
        }
        let deadline = self.limit.deadline();
        elapsed > deadline / 2 && elapsed <= deadline + deadline / 2
    }

    /// Records the outcome; `None` means that the deadline has passed.
    pub(super) fn finish<T>(
        mut self,
        outcome: Option<Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.started);
        let is_slow = matches!(self.limit, TimeLimit::Lookup(_)) && self.is_slow(elapsed);
        let tells_nothing = outcome.is_none() && matches!(self.limit, TimeLimit::LargeTransfer(_));
        let outcome = outcome.unwrap_or_else(|| Err(self.counts.timed_out()));
        // A backend that refuses an operation, or does not attempt it, is healthy.
        let is_failure = |error: &BackendError| !error.is_refused() && !error.is_unavailable();
        let has_failed = outcome.as_ref().is_err_and(is_failure);
        if has_failed {
            count(&self.counts.failures);
        }
        if let Some(permit) = self.permit.take()
            && !tells_nothing
        {
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
