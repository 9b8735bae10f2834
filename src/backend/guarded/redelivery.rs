//! The later delivery of undelivered invalidations, by one task in the background.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::attempt::TimeLimit;
use super::counts::count;
use super::guard::Guard;
use super::undelivered::DeliveryTarget;
use crate::backend::{Backend, BackendError};
use crate::timeout::{sleep, with_timeout};

/// The backoff after a failed attempt, in addition to the delay of the circuit breaker.
const BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(2);

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
        let mut backoff = BACKOFF;
        while let ReplayStep::After(wait) = self.deliver_next(&mut backoff).await {
            if !wait.is_zero() && !sleep(wait).await {
                return;
            }
        }
    }

    async fn deliver_next(&self, backoff: &mut Duration) -> ReplayStep {
        let Some((target, grace_until)) = self.undelivered.next() else {
            return ReplayStep::Done;
        };
        let started = self.undelivered.start_delivery();
        let deadline = self.options.invalidation_deadline;
        let attempt = match self.attempt_invalidation(TimeLimit::transfer(deadline, 0)) {
            Ok(attempt) => attempt,
            // By then the breaker has closed, or admits a probe.
            Err(wait) => return ReplayStep::After(wait.min(MAX_BACKOFF)),
        };
        let outcome = with_timeout(deadline, self.invalidate_target(target, grace_until)).await;
        match attempt.finish(outcome) {
            Ok(()) => {
                self.undelivered.settle(target, started, grace_until);
                count(&self.counts.replayed);
                *backoff = BACKOFF;
                ReplayStep::After(Duration::ZERO)
            }
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "invalidation not delivered; will retry"
                );
                let wait = *backoff;
                *backoff = (wait * 2).min(MAX_BACKOFF);
                ReplayStep::After(wait)
            }
        }
    }

    /// Invalidates a target; for the rest of the time until `grace_until`, the backend stores
    /// nothing of it.
    async fn invalidate_target(
        &self,
        target: DeliveryTarget,
        grace_until: Option<Instant>,
    ) -> Result<(), BackendError> {
        let grace = grace_until.map(|until| until.saturating_duration_since(Instant::now()));
        match (target, grace.filter(|grace| !grace.is_zero())) {
            (DeliveryTarget::Everything, _) => self.backend.clear().await,
            (DeliveryTarget::One(target), None) => self.backend.invalidate(&target).await,
            (DeliveryTarget::One(target), Some(grace)) => {
                let scope = self.backend.invalidate_unknown(&target, grace).await?;
                tracing::debug!(?target, ?scope, "invalidated, outcome of the write unknown");
                Ok(())
            }
        }
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
        let mut backoff = BACKOFF;
        loop {
            let Some(guard) = self.guard.upgrade() else {
                return;
            };
            let step = guard.deliver_next(&mut backoff).await;
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
            guard.undelivered.next().is_some() && !guard.is_replaying.swap(true, Ordering::AcqRel);
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
