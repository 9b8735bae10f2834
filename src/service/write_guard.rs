//! Sees to it that a write the inner service was given is settled, whatever becomes of its client.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use http::response;
use tokio::runtime::Handle;

use crate::backend::Backend;
use crate::key::Resource;
use crate::semantics::reason::WriteOutcome;

use super::settlement::Settlement;
use crate::wait::within;

/// Armed from the call to the inner service until the store is settled.
///
/// Dropped before that it settles by itself: a write that is still under way is invalidated at once, runs on in a task of
/// its own, and is invalidated again when it ends, because what it commits may land long after its client is gone.
pub(super) struct WriteGuard<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    settlement: Settlement<B>,
    /// Where it goes on, if it must; the guard itself may be dropped outside of any runtime.
    runtime: Option<Handle>,
    /// What an answer says of the outcome.
    outcome: fn(&F::Output) -> WriteOutcome,
    phase: Phase<F>,
}

enum Phase<F> {
    /// The inner service has the request.
    Calling(Pin<Box<F>>),
    /// It is being called, or its future polled; whoever finds this phase finds a panic.
    Running,
    /// It has answered; these resources are still to be invalidated.
    Answered(WriteOutcome, Vec<Resource>),
    Settled,
}

impl<F, B> WriteGuard<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    pub(super) fn arm(settlement: Settlement<B>, outcome: fn(&F::Output) -> WriteOutcome) -> Self {
        Self {
            settlement,
            runtime: Handle::try_current().ok(),
            outcome,
            phase: Phase::Settled,
        }
    }

    /// Gives the inner service the request.
    pub(super) fn call(&mut self, call: impl FnOnce() -> F) {
        self.phase = Phase::Running;
        self.phase = Phase::Calling(Box::pin(call()));
    }

    pub(super) fn settlement(&self) -> &Settlement<B> {
        &self.settlement
    }

    /// The inner service's answer. Until told otherwise, its outcome counts as unknown.
    pub(super) async fn answer(&mut self) -> F::Output {
        poll_fn(|cx| {
            let Phase::Calling(mut future) = std::mem::replace(&mut self.phase, Phase::Running)
            else {
                unreachable!("there is one answer");
            };
            let polled = future.as_mut().poll(cx);
            self.phase = match &polled {
                Poll::Pending => Phase::Calling(future),
                Poll::Ready(_) => {
                    Phase::Answered(WriteOutcome::Unknown, vec![self.settlement.resource])
                }
            };
            polled
        })
        .await
    }

    /// Notes what the answer's head says.
    pub(super) fn answered(&mut self, outcome: WriteOutcome, head: &response::Parts) {
        let resources = match outcome {
            WriteOutcome::Rejected => Vec::new(),
            _ => self.settlement.resources(Some(head)),
        };
        self.phase = Phase::Answered(outcome, resources);
    }

    /// Notes that there is no head: the inner service failed.
    pub(super) fn failed(&mut self) {
        let resources = self.settlement.resources(None);
        self.phase = Phase::Answered(WriteOutcome::Unknown, resources);
    }

    /// Invalidates what is to be invalidated, but for what was settled already; whether all of it was acknowledged.
    pub(super) async fn settle(mut self, already: Option<Resource>) -> bool {
        let Phase::Answered(outcome, resources) = &mut self.phase else {
            return true;
        };
        resources.retain(|resource| Some(*resource) != already);
        let (outcome, resources) = (*outcome, resources.clone());
        let acknowledged = self.settlement.settle(outcome, &resources).await;
        self.settlement.ended(outcome);
        self.phase = Phase::Settled;
        acknowledged
    }
}

impl<F, B> Drop for WriteGuard<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    fn drop(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Settled) {
            Phase::Settled => {}
            Phase::Answered(outcome, resources) => {
                self.settlement.ended(outcome);
                self.settle_aside(outcome, resources);
            }
            Phase::Running => {
                self.settlement.ended(WriteOutcome::Unknown);
                let resources = self.settlement.resources(None);
                self.settle_aside(WriteOutcome::Unknown, resources);
            }
            Phase::Calling(future) => {
                self.settlement.ended(WriteOutcome::Dropped);
                let resources = self.settlement.resources(None);
                self.settle_aside(WriteOutcome::Dropped, resources.clone());
                self.run_to_its_end(future, resources);
            }
        }
    }
}

impl<F, B> WriteGuard<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    fn settle_aside(&self, outcome: WriteOutcome, resources: Vec<Resource>) {
        settle_aside(&self.settlement, self.runtime.as_ref(), outcome, resources);
    }

    fn run_to_its_end(&self, future: Pin<Box<F>>, resources: Vec<Resource>) {
        let mut last = LastSettlement {
            settlement: self.settlement.clone(),
            runtime: self.runtime.clone(),
            outcome: WriteOutcome::Unknown,
            resources,
        };
        let Some(runtime) = &self.runtime else {
            return;
        };
        let limit = self.settlement.shared.config.write_limit;
        let outcome = self.outcome;
        let background = &self.settlement.shared.core.background;
        background.spawn(runtime, async move {
            // Without an answer, or with one that leaves it open, the commit may be yet to come.
            if let Some(answer) = within(limit, future).await
                && outcome(&answer) != WriteOutcome::Unknown
            {
                last.outcome = WriteOutcome::Dropped;
            }
            drop(last);
        });
    }
}

/// The second invalidation of a dropped write: when it ends, when it panics, when its time is up, when the runtime shuts
/// down.
struct LastSettlement<B: Backend> {
    settlement: Settlement<B>,
    runtime: Option<Handle>,
    outcome: WriteOutcome,
    resources: Vec<Resource>,
}

impl<B: Backend> Drop for LastSettlement<B> {
    fn drop(&mut self) {
        let resources = std::mem::take(&mut self.resources);
        settle_aside(
            &self.settlement,
            self.runtime.as_ref(),
            self.outcome,
            resources,
        );
    }
}

fn settle_aside<B: Backend>(
    settlement: &Settlement<B>,
    runtime: Option<&Handle>,
    outcome: WriteOutcome,
    resources: Vec<Resource>,
) {
    let settlement = settlement.clone();
    let shared = settlement.shared.clone();
    shared.core.background.run_on(runtime, async move {
        // Nobody is left to be told whether it was acknowledged; if not, that is counted and logged.
        let _ = settlement.settle(outcome, &resources).await;
    });
}
