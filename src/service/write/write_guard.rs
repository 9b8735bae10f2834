//! Invalidates after every write that the inner service was given, whatever becomes of its client.
//!
//! ```text
//! Done -> Running <-> Calling
//!            |  |        `- dropped: runs on, and invalidates by its outcome (`detached`)
//!            |  `- dropped (panic): invalidates, outcome unknown
//!            `-> Answered -> Done
//!                   `- dropped: invalidates in the background
//! ```

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use http::response;
use tokio::runtime::Handle;
use tracing::Span;

use crate::backend::Backend;
use crate::key::Resource;
use crate::semantics::reason::WriteOutcome;
use crate::service::bounds::InnerBody;

use super::detached::{ResponseOf, invalidate_in_background, run_on};
use super::outcome::outcome_of;
use super::targets::{PendingInvalidation, WriteTargets};

/// Guards a write from the call to the inner service until its targets are invalidated.
///
/// Dropped before that, it invalidates by itself. A write that is still under way runs on in a task
/// of its own: it may commit long after its client has left.
pub(crate) struct WriteGuard<F, Res, B>
where
    F: Future<Output: Send> + Send + 'static,
    Res: InnerBody,
    B: Backend,
{
    pending: PendingInvalidation<B>,
    /// The runtime for the task. The guard itself may be dropped outside of any.
    runtime: Option<Handle>,
    /// The span of the client, which it may leave before the guard is dropped.
    span: Span,
    response_of: ResponseOf<F::Output, Res>,
    phase: WritePhase<F>,
}

/// The progress of a guarded write.
enum WritePhase<F> {
    /// The inner service has the request.
    Calling(Pin<Box<F>>),
    /// It is being called, its future polled, or its response judged. A guard dropped in this phase
    /// has met a panic.
    Running,
    /// It has answered. These targets are to be invalidated.
    Answered(WriteOutcome, WriteTargets),
    /// The targets are invalidated.
    Done,
}

/// A write that was committed, with what is needed to invalidate its targets later.
pub(super) struct CommittedWrite<'g, B: Backend> {
    pub(super) pending: &'g PendingInvalidation<B>,
    pub(super) runtime: Option<&'g Handle>,
    pub(super) span: &'g Span,
    pub(super) targets: &'g WriteTargets,
}

impl<B: Backend> Clone for CommittedWrite<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for CommittedWrite<'_, B> {}

impl<F, Res, B> WriteGuard<F, Res, B>
where
    F: Future<Output: Send> + Send + 'static,
    Res: InnerBody,
    B: Backend,
{
    /// A guard for a write that is about to be called.
    ///
    /// `response_of` takes the response from the result of a write that ends after its client has
    /// left.
    pub(crate) fn arm(
        pending: PendingInvalidation<B>,
        response_of: ResponseOf<F::Output, Res>,
    ) -> Self {
        Self {
            pending,
            runtime: Handle::try_current().ok(),
            span: Span::current(),
            response_of,
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

    /// The inner service's response. Until its outcome is noted, that counts as unknown.
    pub(crate) async fn response(&mut self) -> F::Output {
        poll_fn(|cx| {
            let WritePhase::Calling(mut future) =
                std::mem::replace(&mut self.phase, WritePhase::Running)
            else {
                unreachable!("there is one answer");
            };
            let polled = future.as_mut().poll(cx);
            match &polled {
                Poll::Pending => self.phase = WritePhase::Calling(future),
                Poll::Ready(_) => self.pending.take_over_options(),
            }
            polled
        })
        .await
    }

    /// Notes the outcome and the targets by the head of the response; returns the outcome.
    pub(crate) fn note_response(&mut self, head: &response::Parts) -> WriteOutcome {
        let outcome = outcome_of(&self.pending.state.config, &self.pending.request, head);
        let targets = self.pending.targets(outcome, Some(head));
        self.phase = WritePhase::Answered(outcome, targets);
        outcome
    }

    /// The write, if it was committed.
    pub(super) fn committed(&self) -> Option<CommittedWrite<'_, B>> {
        let WritePhase::Answered(WriteOutcome::Committed, targets) = &self.phase else {
            return None;
        };
        Some(CommittedWrite {
            pending: &self.pending,
            runtime: self.runtime.as_ref(),
            span: &self.span,
            targets,
        })
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

impl<F, Res, B> Drop for WriteGuard<F, Res, B>
where
    F: Future<Output: Send> + Send + 'static,
    Res: InnerBody,
    B: Backend,
{
    fn drop(&mut self) {
        let _entered = self.span.clone().entered();
        self.pending.take_over_options();
        match std::mem::replace(&mut self.phase, WritePhase::Done) {
            WritePhase::Done => {}
            WritePhase::Answered(outcome, targets) => {
                self.pending.record_outcome(outcome);
                invalidate_in_background(&self.pending, self.runtime.as_ref(), outcome, targets);
            }
            WritePhase::Running => {
                let outcome = WriteOutcome::Unknown;
                self.pending.record_outcome(outcome);
                let targets = self.pending.targets(outcome, None);
                invalidate_in_background(&self.pending, self.runtime.as_ref(), outcome, targets);
            }
            WritePhase::Calling(future) => {
                let runtime = self.runtime.as_ref();
                run_on(&self.pending, runtime, future, self.response_of);
            }
        }
    }
}
