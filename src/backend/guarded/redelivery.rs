//! The later delivery of undelivered invalidations, by one task in the background.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::attempt::TimeLimit;
use super::guard::Guard;
use super::undelivered::{DeliveryBatch, DeliveryMode};
use crate::backend::{Backend, BackendError};
use crate::error::causes::WithCauses;
use crate::timeout::{sleep, with_timeout};

/// The backoff after a failed attempt, in addition to the delay of the circuit breaker.
const BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// The most targets that are delivered together.
const MAX_BATCH: usize = 256;

/// The next step of a replay.
enum ReplayStep {
    /// Nothing is left to deliver.
    Done,
    /// Continue after this time.
    After(Duration),
}

impl<B: Backend> Guard<B> {
    /// Starts a task that delivers everything, unless one is running.
    ///
    /// Also called while values are dropped, and outside of a runtime: then a later operation
    /// starts the task.
    pub(super) fn replay_in_background(self: &Arc<Self>) {
        if self.is_replaying.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if self.is_replaying.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = ReplayTask {
            guard: Arc::downgrade(self),
            owns_flag: true,
        };
        drop(runtime.spawn(task.run()));
    }

    /// Delivers everything, however long that takes.
    pub(super) async fn replay(&self) {
        let mut pace = ReplayPace::default();
        while let ReplayStep::After(wait) = self.deliver_next(&mut pace).await {
            if !wait.is_zero() && !sleep(wait).await {
                return;
            }
        }
    }

    async fn deliver_next(&self, pace: &mut ReplayPace) -> ReplayStep {
        let Some(batch) = self.undelivered.next(pace.batch) else {
            pace.tell_delivered();
            return ReplayStep::Done;
        };
        let started = self.undelivered.start_delivery();
        let deadline = self.options.invalidation_deadline;
        let attempt = match self.attempt_invalidation(TimeLimit::transfer(deadline, 0)) {
            Ok(attempt) => attempt,
            // By then the breaker has closed, or admits a probe.
            Err(wait) => return ReplayStep::After(wait.min(MAX_BACKOFF)),
        };
        let outcome = with_timeout(deadline, self.invalidate_batch(&batch)).await;
        match attempt.finish(outcome) {
            Ok(()) => {
                self.undelivered.settle_batch(&batch, started);
                self.counts.replayed(&batch);
                pace.succeeded();
                pace.delivered += batch.len();
                ReplayStep::After(Duration::ZERO)
            }
            Err(error) => {
                tracing::debug!(
                    error = %WithCauses(&error),
                    targets = batch.len(),
                    "invalidations not delivered; will retry"
                );
                self.undelivered.put_off(&batch);
                ReplayStep::After(pace.failed(batch.len()))
            }
        }
    }

    /// Makes targets stale, or invalidates them; for the rest of the time until their period ends,
    /// the backend stores nothing of them.
    async fn invalidate_batch(&self, batch: &DeliveryBatch) -> Result<(), BackendError> {
        let DeliveryBatch::Targets { targets, mode } = batch else {
            return self.backend.clear().await;
        };
        let grace_until = match mode {
            DeliveryMode::Remove { grace_until } => grace_until,
            DeliveryMode::Expire { at, told } => {
                return self.backend.expire(targets, *at, told.elapsed()).await;
            }
        };
        let grace = grace_until.map(|until| until.saturating_duration_since(Instant::now()));
        let grace = grace.filter(|grace| !grace.is_zero());
        self.backend.invalidate_many(targets, grace).await
    }
}

/// The pace of a replay: after a failure it waits for longer and delivers fewer targets at once.
struct ReplayPace {
    backoff: Duration,
    batch: usize,
    /// The most targets at once. Lowered when a larger batch fails right after a smaller one
    /// succeeded: the backend takes too long for so many, or refuses one of them. When a target
    /// fails by itself, it was that one.
    max_batch: usize,
    has_succeeded: bool,
    /// The number of targets that were delivered, and not told of yet.
    delivered: usize,
}

impl Default for ReplayPace {
    fn default() -> Self {
        Self {
            backoff: BACKOFF,
            batch: MAX_BATCH,
            max_batch: MAX_BATCH,
            has_succeeded: false,
            delivered: 0,
        }
    }
}

impl ReplayPace {
    /// Logs that everything is delivered, if anything was.
    fn tell_delivered(&mut self) {
        let targets = std::mem::take(&mut self.delivered);
        if targets > 0 {
            tracing::info!(targets, "undelivered invalidations delivered");
        }
    }

    fn succeeded(&mut self) {
        self.backoff = BACKOFF;
        self.batch = (self.batch * 2).min(self.max_batch);
        self.has_succeeded = true;
    }

    /// Returns how long to wait after a batch of so many targets failed.
    fn failed(&mut self, targets: usize) -> Duration {
        let wait = self.backoff;
        self.backoff = (wait * 2).min(MAX_BACKOFF);
        self.batch = (self.batch.min(targets) / 2).max(1);
        if targets <= 1 {
            self.max_batch = MAX_BATCH;
        } else if self.has_succeeded {
            self.max_batch = self.batch;
        }
        self.has_succeeded = false;
        wait
    }
}

/// The task that delivers. It does not keep the backend alive, and is replaced if its runtime ends.
struct ReplayTask<B: Backend> {
    guard: Weak<Guard<B>>,
    /// Whether this task has set `is_replaying`.
    owns_flag: bool,
}

impl<B: Backend> ReplayTask<B> {
    async fn run(mut self) {
        let mut pace = ReplayPace::default();
        loop {
            let Some(guard) = self.guard.upgrade() else {
                return;
            };
            let step = guard.deliver_next(&mut pace).await;
            drop(guard);
            match step {
                ReplayStep::Done if self.finish() => return,
                ReplayStep::Done => {}
                ReplayStep::After(Duration::ZERO) => tokio::task::yield_now().await,
                ReplayStep::After(wait) => {
                    // Outside of a runtime there is no timer: the next operation tries again.
                    if !sleep(wait).await {
                        return;
                    }
                }
            }
        }
    }

    /// Clears the flag; returns whether to stop. Sets it again, and goes on, if an invalidation was
    /// added since the last look.
    fn finish(&mut self) -> bool {
        let Some(guard) = self.guard.upgrade() else {
            return true;
        };
        guard.is_replaying.store(false, Ordering::Release);
        // `next` takes the lock: an operation that adds a target either finds the flag cleared, and
        // starts a task, or has added it before this look.
        self.owns_flag =
            guard.undelivered.next(1).is_some() && !guard.is_replaying.swap(true, Ordering::AcqRel);
        !self.owns_flag
    }
}

impl<B: Backend> Drop for ReplayTask<B> {
    fn drop(&mut self) {
        // Starts no other task: a runtime that shuts down would drop that one at once, and so on.
        if self.owns_flag
            && let Some(guard) = self.guard.upgrade()
        {
            guard.is_replaying.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backend that is back is given more with each success; one that takes too long for many
    /// targets gets no more than it managed.
    #[test]
    fn the_size_of_batches_follows_what_succeeds() {
        let mut pace = ReplayPace::default();
        for _ in 0..20 {
            pace.failed(pace.batch);
        }
        assert_eq!((pace.batch, pace.max_batch), (1, MAX_BATCH));
        for _ in 0..20 {
            pace.succeeded();
        }
        assert_eq!((pace.batch, pace.backoff), (MAX_BATCH, BACKOFF));
        pace.failed(MAX_BATCH);
        pace.failed(MAX_BATCH / 2);
        let half = MAX_BATCH / 2;
        assert_eq!((pace.batch, pace.max_batch), (half / 2, half));
        for _ in 0..20 {
            pace.succeeded();
        }
        assert_eq!(pace.batch, half);
        // A target that is refused by itself tells nothing of the size of batches.
        pace.failed(1);
        for _ in 0..20 {
            pace.succeeded();
        }
        assert_eq!(pace.batch, MAX_BATCH);
    }
}
