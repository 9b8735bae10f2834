//! Sees to it that a write the inner service was given is settled, whatever becomes of its client.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use http::{HeaderMap, response};
use tokio::runtime::Handle;

use crate::backend::Backend;
use crate::key::Resource;
use crate::semantics::reason::WriteOutcome;

use crate::service::write::pending::{Settlement, Targets};
use crate::timeout::with_timeout;

/// Armed from the call to the inner service until the store is settled.
///
/// Dropped before that it settles by itself: a write that is still under way is invalidated at once, runs on in a task of
/// its own, and is invalidated again when it ends, because what it commits may land long after its client is gone.
pub(crate) struct WriteGuard<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    settlement: Settlement<B>,
    /// Where it goes on, if it must; the guard itself may be dropped outside of any runtime.
    runtime: Option<Handle>,
    said: Said<F::Output>,
    phase: Phase<F>,
}

/// What an answer says of the outcome, and its fields if it has any.
pub(crate) type Said<A> = fn(&A) -> (WriteOutcome, Option<&HeaderMap>);

enum Phase<F> {
    /// The inner service has the request.
    Calling(Pin<Box<F>>),
    /// It is being called, or its future polled; whoever finds this phase finds a panic.
    Running,
    /// It has answered; these are still to be invalidated.
    Answered(WriteOutcome, Targets),
    Settled,
}

impl<F, B> WriteGuard<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    pub(crate) fn arm(settlement: Settlement<B>, said: Said<F::Output>) -> Self {
        Self {
            settlement,
            runtime: Handle::try_current().ok(),
            said,
            phase: Phase::Settled,
        }
    }

    /// Gives the inner service the request.
    pub(crate) fn call(&mut self, call: impl FnOnce() -> F) {
        self.phase = Phase::Running;
        self.phase = Phase::Calling(Box::pin(call()));
    }

    pub(crate) fn settlement(&self) -> &Settlement<B> {
        &self.settlement
    }

    /// The inner service's answer. Until told otherwise, its outcome counts as unknown.
    pub(crate) async fn answer(&mut self) -> F::Output {
        poll_fn(|cx| {
            let Phase::Calling(mut future) = std::mem::replace(&mut self.phase, Phase::Running)
            else {
                unreachable!("there is one answer");
            };
            let polled = future.as_mut().poll(cx);
            self.phase = match &polled {
                Poll::Pending => Phase::Calling(future),
                Poll::Ready(_) => {
                    let target = Targets::of(vec![self.settlement.resource]);
                    Phase::Answered(WriteOutcome::Unknown, target)
                }
            };
            polled
        })
        .await
    }

    /// Notes what the answer's head says.
    pub(crate) fn answered(&mut self, outcome: WriteOutcome, head: &response::Parts) {
        let targets = self.settlement.targets(outcome, Some(head));
        self.phase = Phase::Answered(outcome, targets);
    }

    /// Notes that there is no head: the inner service failed.
    pub(crate) fn failed(&mut self) {
        let targets = self.settlement.targets(WriteOutcome::Unknown, None);
        self.phase = Phase::Answered(WriteOutcome::Unknown, targets);
    }

    /// Invalidates what is to be invalidated, but for what was settled already; whether all of it was acknowledged.
    pub(crate) async fn settle(mut self, already: Option<Resource>) -> bool {
        let Phase::Answered(outcome, targets) = &mut self.phase else {
            return true;
        };
        *targets = targets.clone().without(already);
        let (outcome, targets) = (*outcome, targets.clone());
        let acknowledged = self.settlement.settle(outcome, &targets).await;
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
            Phase::Answered(outcome, targets) => {
                self.settlement.ended(outcome);
                self.settle_aside(outcome, targets);
            }
            Phase::Running => {
                self.settlement.ended(WriteOutcome::Unknown);
                let targets = self.settlement.targets(WriteOutcome::Unknown, None);
                self.settle_aside(WriteOutcome::Unknown, targets);
            }
            Phase::Calling(future) => {
                self.settlement.ended(WriteOutcome::Dropped);
                let targets = self.settlement.targets(WriteOutcome::Dropped, None);
                self.settle_aside(WriteOutcome::Dropped, targets.clone());
                self.run_to_its_end(future, targets);
            }
        }
    }
}

impl<F, B> WriteGuard<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    fn settle_aside(&self, outcome: WriteOutcome, targets: Targets) {
        settle_aside(&self.settlement, self.runtime.as_ref(), outcome, targets);
    }

    fn run_to_its_end(&self, future: Pin<Box<F>>, targets: Targets) {
        let mut last = LastSettlement {
            settlement: self.settlement.clone(),
            runtime: self.runtime.clone(),
            outcome: WriteOutcome::Unknown,
            targets,
        };
        let Some(runtime) = &self.runtime else {
            return;
        };
        let limit = self.settlement.shared.config.detached_write_timeout;
        let said = self.said;
        let background = &self.settlement.shared.core.background;
        background.spawn(runtime, async move {
            // Without an answer, or with one that leaves it open, the commit may be yet to come.
            if let Some(answer) = with_timeout(limit, future).await {
                let (outcome, fields) = said(&answer);
                if outcome != WriteOutcome::Unknown {
                    last.outcome = WriteOutcome::Dropped;
                }
                last.names(fields);
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
    targets: Targets,
}

impl<B: Backend> LastSettlement<B> {
    /// The groups that only the answer names.
    fn names(&mut self, fields: Option<&HeaderMap>) {
        if let Some(fields) = fields {
            let groups = self.settlement.groups(fields);
            self.targets = self.targets.clone().and(groups);
        }
    }
}

impl<B: Backend> Drop for LastSettlement<B> {
    fn drop(&mut self) {
        settle_aside(
            &self.settlement,
            self.runtime.as_ref(),
            self.outcome,
            self.targets.clone(),
        );
    }
}

fn settle_aside<B: Backend>(
    settlement: &Settlement<B>,
    runtime: Option<&Handle>,
    outcome: WriteOutcome,
    targets: Targets,
) {
    let settlement = settlement.clone();
    let shared = settlement.shared.clone();
    shared.core.background.run_on(runtime, async move {
        // Nobody is left to be told whether it was acknowledged; if not, that is counted and logged.
        let _ = settlement.settle(outcome, &targets).await;
    });
}
