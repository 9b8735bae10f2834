//! One operation on the backend, recorded as a success or a failure when it ends or is dropped.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::breaker::Permit;
use super::counts::{Counts, count};
use crate::backend::reply_count::{Replies, with_replies};
use crate::backend::{Backend, BackendError, PanicsAsErrors};
use crate::timeout::{max_transfer_time, with_deadline};

/// The time limit of an operation, and what it says of the backend if it passes.
#[derive(Clone, Copy, Debug)]
pub(super) enum TimeLimit {
    /// A request waits for it. Each of its round trips has the deadline, and it may take longer by
    /// the time of what is transferred meanwhile.
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
/// The round trips of a lookup that have its deadline each: four of the first miss of all in an
/// empty Redis, which creates three tokens, and four of the connection that it opens (TCP, TLS,
/// login, handshake).
const MAX_ROUND_TRIPS: u32 = 8;

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
    /// The replies that a lookup has had without being done.
    replies: AtomicU32,
    /// When the deadline began anew, because the last of them gave it more time, in nanoseconds
    /// after the start.
    replied_after: AtomicU64,
}

impl<'g> Attempt<'g> {
    pub(super) fn new(
        permit: Permit<'g>,
        counts: &'g Counts,
        limit: TimeLimit,
        meter: &'g dyn TransferMeter,
    ) -> Self {
        let mut attempt = Self::unrecorded(counts, limit, meter);
        attempt.permit = Some(permit);
        attempt
    }

    /// Creates one whose outcome says nothing of the backend's health.
    pub(super) fn unrecorded(
        counts: &'g Counts,
        limit: TimeLimit,
        meter: &'g dyn TransferMeter,
    ) -> Self {
        Self {
            permit: None,
            counts,
            limit,
            started: Instant::now(),
            meter,
            transferred_before: meter.transferred_bytes(),
            replies: AtomicU32::new(0),
            replied_after: AtomicU64::new(0),
        }
    }

    /// Waits for a lookup until its deadline, which begins anew with each reply, and for as much
    /// longer as is transferred meanwhile.
    pub(super) async fn wait_for<F: Future>(&self, mut lookup: Pin<&mut F>) -> Option<F::Output> {
        let mut limit = self.limit.deadline();
        loop {
            let poll = poll_fn(|cx| {
                let (poll, replies) = with_replies(|| lookup.as_mut().poll(cx));
                if replies != Replies::NONE && poll.is_pending() {
                    self.record_replies(replies);
                }
                poll
            });
            // No clock is read for it.
            let Some(deadline) = self.started.checked_add(limit) else {
                return Some(poll.await);
            };
            if let Some(output) = with_deadline(deadline, poll).await {
                return Some(output);
            }
            limit = self.limit.deadline() + self.more_time();
            if self.started.elapsed() >= limit {
                return None;
            }
        }
    }

    /// Begins the deadline anew: a further round trip of the lookup has begun.
    ///
    /// It begins later by one deadline for each reply whose arrival will not be seen.
    fn record_replies(&self, Replies { received, expected }: Replies) {
        let before = self
            .replies
            .fetch_add(received + expected, Ordering::Relaxed);
        if before < MAX_ROUND_TRIPS - 1 {
            let expected = expected.min(MAX_ROUND_TRIPS - 1 - before);
            let later = self.limit.deadline().saturating_mul(expected);
            let begins = self.started.elapsed().saturating_add(later);
            let nanos = u64::try_from(begins.as_nanos()).unwrap_or(u64::MAX);
            self.replied_after.store(nanos, Ordering::Relaxed);
        }
    }

    /// Returns how much longer than its deadline the operation may take.
    fn more_time(&self) -> Duration {
        let replied_after = self.replied_after.load(Ordering::Relaxed);
        Duration::from_nanos(replied_after) + self.transfer_time()
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
        let limit = self.limit.deadline() / 2 + self.more_time();
        elapsed > limit && !self.is_noticed_late(elapsed)
    }

    /// Whether the end of the operation was noticed long after its deadline: then this process is
    /// slow, and an open breaker would make it slower.
    fn is_noticed_late(&self, elapsed: Duration) -> bool {
        let deadline = self.limit.deadline();
        elapsed > deadline + deadline / 2 + self.more_time()
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
        // One that is finished has none, and reads no clock.
        let Some(permit) = self.permit.take() else {
            return;
        };
        let now = Instant::now();
        if self.is_slow(now.saturating_duration_since(self.started)) {
            permit.record(true, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::pin::pin;

    use super::super::breaker::{BreakerOptions, CircuitBreaker};
    use super::*;
    use crate::backend::reply_count::{expect_replies, record_reply};
    use crate::backend::{BreakerState, MemoryBackend};
    use crate::timeout::with_timeout;

    const DEADLINE: Duration = Duration::from_secs(1);

    fn error(new: fn(&'static str) -> BackendError) -> Option<Result<(), BackendError>> {
        Some(Err(new("a reason")))
    }

    /// Promise: a healthy backend that is far away is no slow one.
    #[tokio::test(start_paused = true)]
    async fn each_round_trip_of_a_lookup_has_the_deadline_up_to_eight() {
        let (counts, meter) = (
            Counts::default(),
            PanicsAsErrors::new(MemoryBackend::default()),
        );
        let breaker = CircuitBreaker::new(BreakerOptions::default());
        // A lookup whose round trips take this long each, in milliseconds.
        let ends_after = async |round_trips: &[u64]| {
            let permit = breaker.admit().expect("it is closed");
            let limit = TimeLimit::Lookup(DEADLINE);
            let attempt = Attempt::new(permit, &counts, limit, &meter);
            let lookup = async {
                for millis in round_trips {
                    tokio::time::sleep(Duration::from_millis(*millis)).await;
                    record_reply();
                }
                Ok(())
            };
            let (start, outcome) = (Instant::now(), attempt.wait_for(pin!(lookup)).await);
            let is_answered = outcome.is_some();
            let _ = attempt.finish(outcome);
            (is_answered, start.elapsed().as_millis())
        };
        for (round_trips, expected) in [
            (&[900; 8][..], (true, 7200)),
            // None gets more time from those that were quick.
            (&[100, 1100], (false, 1100)),
            (&[1100], (false, 1000)),
            (&[900; 9], (false, 7300)),
        ] {
            assert_eq!(ends_after(round_trips).await, expected, "{round_trips:?}");
        }
        assert_eq!(counts.failures.into_inner(), 3);
    }

    /// Promise: a lookup that opens a connection has time for each of its round trips, also for those
    /// whose replies only the client crate sees.
    #[tokio::test(start_paused = true)]
    async fn a_reply_that_will_not_be_seen_has_the_deadline_too() {
        let (counts, meter) = (
            Counts::default(),
            PanicsAsErrors::new(MemoryBackend::default()),
        );
        // A lookup that waits for so many replies that are not seen, and a last one.
        let ends_after = async |expected: u32, millis: u64| {
            let limit = TimeLimit::Lookup(DEADLINE);
            let attempt = Attempt::unrecorded(&counts, limit, &meter);
            let lookup = async {
                expect_replies(expected);
                tokio::time::sleep(Duration::from_millis(millis)).await;
                record_reply();
                tokio::time::sleep(Duration::from_millis(900)).await;
            };
            let start = Instant::now();
            let is_answered = attempt.wait_for(pin!(lookup)).await.is_some();
            (is_answered, start.elapsed().as_millis())
        };
        assert_eq!(ends_after(0, 1100).await, (false, 1000));
        assert_eq!(ends_after(2, 2900).await, (true, 3800));
        assert_eq!(ends_after(2, 3100).await, (false, 3000));
        assert_eq!(ends_after(20, 8100).await, (false, 8000));
    }

    /// Promise: a client that leaves a lookup of several round trips makes the backend no slow one.
    #[tokio::test(start_paused = true)]
    async fn a_lookup_that_is_dropped_is_slow_only_in_its_last_round_trip() {
        let (counts, meter) = (
            Counts::default(),
            PanicsAsErrors::new(MemoryBackend::default()),
        );
        for (wait, opens) in [(300, false), (700, true)] {
            let breaker = CircuitBreaker::new(BreakerOptions {
                min_samples: 1,
                ..BreakerOptions::default()
            });
            let permit = breaker.admit().expect("it is closed");
            let limit = TimeLimit::Lookup(DEADLINE);
            let attempt = Attempt::new(permit, &counts, limit, &meter);
            let lookup = async {
                tokio::time::sleep(Duration::from_millis(900)).await;
                record_reply();
                pending::<()>().await;
            };
            let left = Duration::from_millis(900 + wait);
            let waits = async { attempt.wait_for(pin!(lookup)).await };
            assert!(with_timeout(left, waits).await.is_none());
            drop(attempt);
            assert_eq!(breaker.state() == BreakerState::Open, opens, "{wait}");
        }
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
