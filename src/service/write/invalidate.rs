//! Invalidates the targets of a write, and records its outcome.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use crate::backend::{Backend, InvalidationTarget};
use crate::semantics::reason::{Reason, WriteOutcome};
use crate::state::throttled_log::Message;
use crate::stats::Event;

use tracing::Instrument;

use super::targets::{PendingInvalidation, WriteTargets};

/// Targets that are invalidated at the same time.
const MAX_CONCURRENT: usize = 32;

impl<B: Backend> PendingInvalidation<B> {
    /// Counts and logs the outcome of the write.
    pub(crate) fn record_outcome(&self, outcome: WriteOutcome) {
        self.state.count(Event::Write(outcome));
        tracing::debug!(
            outcome = outcome.as_str(),
            method = %self.request.method,
            path = self.request.uri.path(),
            "write"
        );
    }

    /// Invalidates the targets. Each is attempted, whatever became of the others. Returns whether
    /// the backend acknowledged all.
    ///
    /// All lines about it say which write it is for.
    pub(crate) async fn invalidate(&self, outcome: WriteOutcome, targets: &WriteTargets) -> bool {
        let (method, path) = (&self.request.method, self.request.uri.path());
        let span = tracing::error_span!("write", %method, path);
        self.invalidate_targets(outcome, targets)
            .instrument(span)
            .await
    }

    async fn invalidate_targets(&self, outcome: WriteOutcome, targets: &WriteTargets) -> bool {
        let grace = self.grace_after(outcome);
        if let Some(grace) = grace {
            // It must begin before the invalidation, see `WriteGrace::begin`.
            let (periods, now) = (&self.state.shared.write_grace, self.state.now());
            for target in &targets.targets {
                periods.begin(Some(target), now, grace);
            }
            if targets.clears_all {
                periods.begin(None, now, grace);
            }
        }
        let mut acknowledged = true;
        if targets.clears_all {
            if let Some(suppressed) = self.state.admit_log(Message::TooManyGroups) {
                tracing::warn!(
                    method = %self.request.method,
                    path = self.request.uri.path(),
                    suppressed,
                    "the response to a write names too many groups; everything is cleared"
                );
            }
            acknowledged = self.state.clear().await.is_ok();
            if grace.is_none() {
                return acknowledged;
            }
            // A clear tells the other instances of no period.
        }
        // A failure is counted and logged there. It does not change the response to the write.
        let Some((first, others)) = targets.targets.split_first() else {
            return acknowledged;
        };
        // The first one goes alone: if the backend has just recovered, it finds that out for all.
        acknowledged &= self
            .state
            .invalidate_with_grace(*first, grace)
            .await
            .is_ok();
        for some in others.chunks(MAX_CONCURRENT) {
            acknowledged &= self.invalidate_all(some, grace).await;
        }
        acknowledged
    }

    /// How long nothing may be stored of the targets of a write with this outcome.
    fn grace_after(&self, outcome: WriteOutcome) -> Option<Duration> {
        let config = &self.state.config;
        let may_commit = outcome == WriteOutcome::Unknown && config.invalidate_on_unknown;
        may_commit.then_some(config.write_grace_window)
    }

    /// Invalidates targets concurrently, because each may take its time where the backend is slow.
    async fn invalidate_all(
        &self,
        targets: &[InvalidationTarget],
        grace: Option<Duration>,
    ) -> bool {
        let invalidate = |target: &InvalidationTarget| {
            let (state, target) = (self.state.clone(), *target);
            Box::pin(async move { state.invalidate_with_grace(target, grace).await.is_ok() })
        };
        let mut under_way: Vec<_> = targets.iter().map(invalidate).collect();
        let mut acknowledged = true;
        poll_fn(|cx| {
            under_way.retain_mut(|one| match one.as_mut().poll(cx) {
                Poll::Ready(is_acknowledged) => {
                    acknowledged &= is_acknowledged;
                    false
                }
                Poll::Pending => true,
            });
            if under_way.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        acknowledged
    }
}
