//! Invalidates after every write that the inner service was given, whatever becomes of its client.
//!
//! ```text
//! Done -> Running <-> Calling -> Answered -> Done
//!            |           |          |
//!            |           |          `- dropped: invalidates in the background
//!            |           `- dropped: invalidates now, runs on, invalidates again
//!            `- dropped (panic): invalidates, outcome unknown
//! ```

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use http::{HeaderMap, response};
use tokio::runtime::Handle;

use crate::backend::Backend;
use crate::key::Resource;
use crate::semantics::reason::WriteOutcome;

use super::targets::{PendingInvalidation, WriteTargets};
use crate::timeout::with_timeout;

/// Guards a write from the call to the inner service until its targets are invalidated.
///
/// Dropped before that, it invalidates by itself. A write that is still under way is invalidated
/// at once, runs on in a task of its own, and is invalidated again when it ends: it may commit long
/// after its client has left.
pub(crate) struct WriteGuard<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    pending: PendingInvalidation<B>,
    /// The runtime for the task. The guard itself may be dropped outside of any.
    runtime: Option<Handle>,
    outcome_of: OutcomeOf<F::Output>,
    phase: WritePhase<F>,
}

/// Reads the outcome and the fields of a result.
pub(crate) type OutcomeOf<A> = fn(&A) -> (WriteOutcome, Option<&HeaderMap>);

/// The progress of a guarded write.
enum WritePhase<F> {
    /// The inner service has the request.
    Calling(Pin<Box<F>>),
    /// It is being called, or its future polled. A guard dropped in this phase has met a panic.
    Running,
    /// It has answered. These targets are to be invalidated.
    Answered(WriteOutcome, WriteTargets),
    /// The targets are invalidated.
    Done,
}

impl<F, B> WriteGuard<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    /// A guard for a write that is about to be called.
    ///
    /// `outcome_of` reads the result of a write that ends after its client has left.
    pub(crate) fn arm(pending: PendingInvalidation<B>, outcome_of: OutcomeOf<F::Output>) -> Self {
        Self {
            pending,
            runtime: Handle::try_current().ok(),
            outcome_of,
            phase: WritePhase::Done,
        }
    }

    /// Calls the inner service.
    pub(crate) fn call(&mut self, call: impl FnOnce() -> F) {
        self.phase = WritePhase::Running;
        self.phase = WritePhase::Calling(Box::pin(call()));
    }

    /// The invalidation that the guard sees to.
    pub(crate) fn pending(&self) -> &PendingInvalidation<B> {
        &self.pending
    }

    /// The inner service's response. Until [`note_response`](Self::note_response) its outcome
    /// counts as unknown.
    pub(crate) async fn response(&mut self) -> F::Output {
        poll_fn(|cx| {
            let WritePhase::Calling(mut future) =
                std::mem::replace(&mut self.phase, WritePhase::Running)
            else {
                unreachable!("there is one answer");
            };
            let polled = future.as_mut().poll(cx);
            self.phase = match &polled {
                Poll::Pending => WritePhase::Calling(future),
                Poll::Ready(_) => {
                    let target = WriteTargets::new(vec![self.pending.resource]);
                    WritePhase::Answered(WriteOutcome::Unknown, target)
                }
            };
            polled
        })
        .await
    }

    /// Notes the outcome and the targets that the head of the response names.
    pub(crate) fn note_response(&mut self, outcome: WriteOutcome, head: &response::Parts) {
        let targets = self.pending.targets(outcome, Some(head));
        self.phase = WritePhase::Answered(outcome, targets);
    }

    /// Notes that the inner service failed, and gave no response.
    pub(crate) fn note_failure(&mut self) {
        let targets = self.pending.targets(WriteOutcome::Unknown, None);
        self.phase = WritePhase::Answered(WriteOutcome::Unknown, targets);
    }

    /// Invalidates the targets, except for one that is invalidated already. Returns whether the
    /// backend acknowledged all.
    pub(crate) async fn invalidate(mut self, already: Option<Resource>) -> bool {
        let WritePhase::Answered(outcome, targets) = &mut self.phase else {
            return true;
        };
        *targets = targets.clone().without(already);
        let (outcome, targets) = (*outcome, targets.clone());
        let acknowledged = self.pending.invalidate(outcome, &targets).await;
        self.pending.record_outcome(outcome);
        self.phase = WritePhase::Done;
        acknowledged
    }
}

impl<F, B> Drop for WriteGuard<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    fn drop(&mut self) {
        match std::mem::replace(&mut self.phase, WritePhase::Done) {
            WritePhase::Done => {}
            WritePhase::Answered(outcome, targets) => {
                self.pending.record_outcome(outcome);
                self.spawn_invalidation(outcome, targets);
            }
            WritePhase::Running => {
                self.pending.record_outcome(WriteOutcome::Unknown);
                let targets = self.pending.targets(WriteOutcome::Unknown, None);
                self.spawn_invalidation(WriteOutcome::Unknown, targets);
            }
            WritePhase::Calling(future) => {
                self.pending.record_outcome(WriteOutcome::Dropped);
                let targets = self.pending.targets(WriteOutcome::Dropped, None);
                self.spawn_invalidation(WriteOutcome::Dropped, targets.clone());
                self.run_to_completion(future, targets);
            }
        }
    }
}

impl<F, B> WriteGuard<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    /// Invalidates the targets without a client that waits for it.
    fn spawn_invalidation(&self, outcome: WriteOutcome, targets: WriteTargets) {
        invalidate_in_background(&self.pending, self.runtime.as_ref(), outcome, targets);
    }

    /// Runs a write whose client has left in a task of its own, for `detached_write_timeout` at
    /// most, and invalidates again when it ends. Outside of a runtime the write is dropped.
    fn run_to_completion(&self, future: Pin<Box<F>>, targets: WriteTargets) {
        let mut last = FinalInvalidation {
            pending: self.pending.clone(),
            runtime: self.runtime.clone(),
            outcome: WriteOutcome::Unknown,
            targets,
        };
        let Some(runtime) = &self.runtime else {
            return;
        };
        let limit = self.pending.state.config.detached_write_timeout;
        let outcome_of = self.outcome_of;
        let background = &self.pending.state.shared.background;
        background.spawn(runtime, async move {
            // Without a response, or with one that leaves the outcome open, the commit may be yet
            // to come.
            if let Some(answer) = with_timeout(limit, future).await {
                let (outcome, fields) = outcome_of(&answer);
                if outcome != WriteOutcome::Unknown {
                    last.outcome = WriteOutcome::Dropped;
                }
                last.add_groups(fields);
            }
            drop(last);
        });
    }
}

/// The second invalidation of a write whose client left. It happens on drop: when the write ends,
/// panics or times out, or when the runtime shuts down.
struct FinalInvalidation<B: Backend> {
    pending: PendingInvalidation<B>,
    runtime: Option<Handle>,
    outcome: WriteOutcome,
    targets: WriteTargets,
}

impl<B: Backend> FinalInvalidation<B> {
    /// Adds the groups that the response names.
    fn add_groups(&mut self, fields: Option<&HeaderMap>) {
        if let Some(fields) = fields {
            let groups = self.pending.groups(fields);
            self.targets = self.targets.clone().with_groups(groups);
        }
    }
}

impl<B: Backend> Drop for FinalInvalidation<B> {
    fn drop(&mut self) {
        invalidate_in_background(
            &self.pending,
            self.runtime.as_ref(),
            self.outcome,
            self.targets.clone(),
        );
    }
}

/// Invalidates in a background task, or on the spot as far as that needs no waiting.
fn invalidate_in_background<B: Backend>(
    pending: &PendingInvalidation<B>,
    runtime: Option<&Handle>,
    outcome: WriteOutcome,
    targets: WriteTargets,
) {
    let pending = pending.clone();
    let state = pending.state.clone();
    state.shared.background.run_on(runtime, async move {
        // A missing acknowledgement is counted and logged there.
        let _ = pending.invalidate(outcome, &targets).await;
    });
}
