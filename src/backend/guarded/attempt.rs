//! One operation on the backend, recorded as a success or a failure when it ends or is dropped.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use super::breaker::Permit;
use super::counts::{Counts, count};
use crate::backend::{Backend, BackendError, PanicsAsErrors};
use crate::timeout::{max_transfer_time, with_deadline};

/// The time limit of an operation, and what it says of the backend if it passes.
#[derive(Clone, Copy, Debug)]
pub(super) enum TimeLimit {
    /// A request waits for it. It may take longer by the time of what is transferred meanwhile.
    Lookup(Duration),
    /// It transfers a response, or nothing.
    Transfer(Duration),
    /// It transfers a lot: that it takes too long may be the network's fault.
    LargeTransfer(Duration),
}

/// The number of bytes above which a transfer is a large one.
const LARGE: usize = 32 * 1024;

/// The bytes that a network transfers in a second, at least, if its slowness is no fault of the
/// backend.
const MIN_RATE: u64 = 8 * 1024 * 1024;
/// How many times its deadline a lookup may take in all.
const MAX_DEADLINES: u32 = 10;

/// Tells how many bytes a backend has transferred so far.
pub(super) trait TransferMeter: Sync {
    fn transferred_bytes(&self) -> u64;
}

impl<B: Backend> TransferMeter for PanicsAsErrors<B> {
    fn transferred_bytes(&self) -> u64 {
        Backend::transferred_bytes(self)
    }
}

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
/// It is a success if it is answered by its deadline, however late: what is answered is of use.
/// Dropped before its end, it counts as a failure if it was slow by then, and as nothing otherwise.
/// A large transfer that is slow counts as nothing, too.
pub(super) struct Attempt<'g> {
    permit: Option<Permit<'g>>,
    counts: &'g Counts,
    limit: TimeLimit,
    started: Instant,
    meter: &'g dyn TransferMeter,
    transferred_before: u64,
}

impl<'g> Attempt<'g> {
    pub(super) fn new(
        permit: Permit<'g>,
        counts: &'g Counts,
        limit: TimeLimit,
        meter: &'g dyn TransferMeter,
    ) -> Self {
        Self {
            permit: Some(permit),
            counts,
            limit,
            started: Instant::now(),
            meter,
            transferred_before: meter.transferred_bytes(),
        }
    }

    /// Waits for a lookup until its deadline, and for as much longer as is transferred meanwhile.
    pub(super) async fn wait_for<F: Future>(&self, mut lookup: Pin<&mut F>) -> Option<F::Output> {
        let mut limit = self.limit.deadline();
        loop {
            // No clock is read for it.
            let Some(deadline) = self.started.checked_add(limit) else {
                return Some(lookup.await);
            };
            if let Some(output) = with_deadline(deadline, lookup.as_mut()).await {
                return Some(output);
            }
            limit = self.limit.deadline() + self.transfer_time();
            if self.started.elapsed() >= limit {
                return None;
            }
        }
    }

    /// Returns how much longer the operation may take, because of what was transferred since it
    /// began.
    fn transfer_time(&self) -> Duration {
        let TimeLimit::Lookup(deadline) = self.limit else {
            return Duration::ZERO;
        };
        let bytes = self.meter.transferred_bytes();
        let bytes = bytes.saturating_sub(self.transferred_before);
        let time = Duration::from_micros(bytes.saturating_mul(1_000_000) / MIN_RATE);
        time.min(deadline.saturating_mul(MAX_DEADLINES - 1))
    }

    /// Whether the backend was slow.
    fn is_slow(&self, elapsed: Duration) -> bool {
        if let TimeLimit::LargeTransfer(_) = self.limit {
            return false;
        }
        let limit = self.limit.deadline() / 2 + self.transfer_time();
        elapsed > limit && !self.is_noticed_late(elapsed)
    }

    /// Whether the end of the operation was noticed long after its deadline: then this process is
    /// slow, and an open breaker would make it slower.
    fn is_noticed_late(&self, elapsed: Duration) -> bool {
        let deadline = self.limit.deadline();
        elapsed > deadline + deadline / 2 + self.transfer_time()
    }

    /// Records the outcome; `None` means that the deadline has passed.
    pub(super) fn finish<T>(
        mut self,
        outcome: Option<Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.started);
        let tells_nothing = match &outcome {
            None => {
                self.is_noticed_late(elapsed) || matches!(self.limit, TimeLimit::LargeTransfer(_))
            }
            Some(Err(error)) => error.is_unavailable() || error.is_inconclusive(),
            Some(Ok(_)) => false,
        };
        let outcome = outcome.unwrap_or_else(|| Err(self.counts.timed_out()));
        let has_failed = outcome.as_ref().is_err_and(is_failure);
        if has_failed {
            count(&self.counts.failures);
        }
        if outcome.as_ref().is_err_and(BackendError::is_refused) {
            count(&self.counts.refused);
        }
        if let Some(permit) = self.permit.take()
            && !tells_nothing
        {
            permit.record(has_failed, now);
        }
        outcome
    }
}

/// Whether an error counts as a failure. A backend that refuses an operation is healthy.
pub(super) fn is_failure(error: &BackendError) -> bool {
    !error.is_refused() && !error.is_unavailable() && !error.is_inconclusive()
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

#[cfg(test)]
mod tests {
    use super::super::breaker::{BreakerOptions, CircuitBreaker};
    use super::*;
    use crate::backend::{BreakerState, MemoryBackend};

    const DEADLINE: Duration = Duration::from_secs(1);

    fn error(new: fn(&'static str) -> BackendError) -> Option<Result<(), BackendError>> {
        Some(Err(new("a reason")))
    }

    /// The outcome of a probe: what tells nothing neither closes the breaker nor keeps it open for
    /// longer, and counts as no failure.
    #[tokio::test(start_paused = true)]
    async fn outcomes_that_tell_nothing_are_neither_failures_nor_successes() {
        let is_large = TimeLimit::LargeTransfer(DEADLINE);
        let is_small = TimeLimit::Transfer(DEADLINE);
        let (nothing, closes, fails) = (None, Some(false), Some(true));
        for (outcome, limit, recorded) in [
            (Some(Ok(())), is_small, closes),
            (Some(Ok(())), is_large, closes),
            (error(BackendError::refused), is_small, closes),
            (error(BackendError::new), is_large, fails),
            (None, is_small, fails),
            (None, is_large, nothing),
            (error(BackendError::unavailable), is_small, nothing),
            (error(BackendError::inconclusive), is_small, nothing),
            (error(BackendError::inconclusive), is_large, nothing),
        ] {
            let case = format!("{outcome:?}, {limit:?}");
            let is_refused = matches!(&outcome, Some(Err(error)) if error.is_refused());
            let breaker = CircuitBreaker::new(BreakerOptions {
                min_samples: 1,
                ..BreakerOptions::default()
            });
            let counts = Counts::default();
            let closed = breaker.admit().expect("it is closed");
            closed.record(true, Instant::now());
            tokio::time::advance(DEADLINE).await;
            let probe = breaker.admit().expect("its time has come");
            assert!(breaker.admit_if_closed().is_none(), "{case}");
            let meter = PanicsAsErrors::new(MemoryBackend::default());
            let _ = Attempt::new(probe, &counts, limit, &meter).finish(outcome);
            let is_closed = breaker.state() == BreakerState::Closed;
            assert_eq!(is_closed, recorded == closes, "{case}");
            // After a failure the next probe has to wait, otherwise it comes at once.
            assert_eq!(breaker.admit().is_err(), recorded == fails, "{case}");
            let failures = counts.failures.into_inner();
            let is_counted = recorded == fails || counts.timeouts.into_inner() > 0;
            assert_eq!(failures > 0, is_counted, "{case}");
            let refused = counts.refused.into_inner();
            assert_eq!(refused, u64::from(is_refused), "{case}");
        }
    }
}
