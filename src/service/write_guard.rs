//! Sees to it that a write the inner service was given is settled, whatever becomes of its client.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use http::response;
use tokio::runtime::Handle;

use crate::backend::Backend;
use crate::key::Resource;
use crate::semantics::reason::WriteOutcome;

use super::inner::run_on;
use super::settlement::Settlement;

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
    phase: Phase<F>,
}

enum Phase<F> {
    /// The inner service has the request.
    Calling(Pin<Box<F>>),
    /// Its future is being polled; whoever finds this phase finds a panic.
    Polling,
    /// It has answered; these resources are still to be invalidated.
    Answered(WriteOutcome, Vec<Resource>),
    Settled,
}

impl<F, B> WriteGuard<F, B>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    pub(super) fn arm(settlement: Settlement<B>, calling: F) -> Self {
        Self {
            settlement,
            runtime: Handle::try_current().ok(),
            phase: Phase::Calling(Box::pin(calling)),
        }
    }

    pub(super) fn settlement(&self) -> &Settlement<B> {
        &self.settlement
    }

    /// The inner service's answer. Until told otherwise, its outcome counts as unknown.
    pub(super) async fn answer(&mut self) -> F::Output {
        poll_fn(|cx| {
            let Phase::Calling(mut future) = std::mem::replace(&mut self.phase, Phase::Polling)
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

    /// Invalidates what is to be invalidated, but for what was settled already.
    pub(super) async fn settle(mut self, already: Option<Resource>) {
        if let Phase::Answered(outcome, resources) = &mut self.phase {
            resources.retain(|resource| Some(*resource) != already);
            let (outcome, resources) = (*outcome, resources.clone());
            self.settlement.ended(outcome);
            self.settlement.settle(outcome, &resources).await;
        }
        self.phase = Phase::Settled;
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
                self.settle_aside(outcome, resources);
            }
            Phase::Polling => {
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
        runtime.spawn(async move {
            if tokio::time::timeout(limit, future).await.is_ok() {
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
    run_on(runtime, async move {
        settlement.settle(outcome, &resources).await;
    });
}
