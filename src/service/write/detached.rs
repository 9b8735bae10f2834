//! A write whose client has left: it runs to its end in a task of its own, and is judged then.

use std::future::Future;
use std::pin::Pin;

use http::response;
use tokio::runtime::Handle;

use crate::backend::Backend;
use crate::semantics::reason::WriteOutcome;
use crate::state::bounded_work::WorkPermit;
use crate::stats::Event;
use crate::timeout::with_timeout;

use super::outcome::outcome_of;
use super::targets::{PendingInvalidation, WriteTargets};

/// Takes the head from a result of the inner service.
pub(crate) type HeadOf<A> = fn(A) -> Option<response::Parts>;

/// Runs a write on whose client has left, and invalidates by its outcome as soon as its head is
/// there.
///
/// Until then nothing is invalidated: its head was yielded to no client, so no request can expect
/// to see its changes. A write that cannot run on is dropped, and its outcome is unknown at once.
pub(super) fn run_on<F, B>(
    pending: &PendingInvalidation<B>,
    runtime: Option<&Handle>,
    future: Pin<Box<F>>,
    head_of: HeadOf<F::Output>,
) where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
{
    let (config, shared) = (&pending.state.config, &pending.state.shared);
    let runtime = runtime.filter(|_| !config.detached_write_timeout.is_zero());
    let max = config.max_detached_writes;
    let permit = shared.detached_writes.begin(pending.client, max);
    let (Some(runtime), Some(permit)) = (runtime, permit) else {
        abandon(pending, runtime);
        return;
    };
    pending.state.count(Event::WriteDetached);
    let write = DetachedWrite {
        pending: pending.clone(),
        runtime: runtime.clone(),
        progress: Progress::Calling,
        _permit: permit,
    };
    shared.background.spawn(runtime, write.run(future, head_of));
}

/// Ends a write that does not run to its end: it may be committed or not, now or later.
fn abandon<B: Backend>(pending: &PendingInvalidation<B>, runtime: Option<&Handle>) {
    pending.state.count(Event::WriteAbandoned);
    tracing::debug!(
        method = %pending.request.method,
        path = pending.request.uri.path(),
        "a write whose client has left was dropped before its end"
    );
    let outcome = WriteOutcome::Unknown;
    pending.record_outcome(outcome);
    invalidate_in_background(pending, runtime, outcome, pending.targets(outcome, None));
}

/// A write without a client. Dropped before it has invalidated, it does so in the background.
struct DetachedWrite<B: Backend> {
    pending: PendingInvalidation<B>,
    runtime: Handle,
    progress: Progress,
    _permit: WorkPermit,
}

/// The progress of a write without a client.
enum Progress {
    Calling,
    /// These targets are to be invalidated.
    Answered(WriteOutcome, WriteTargets),
    Done,
}

impl<B: Backend> DetachedWrite<B> {
    async fn run<F: Future>(mut self, future: Pin<Box<F>>, head_of: HeadOf<F::Output>) {
        let limit = self.pending.state.config.detached_write_timeout;
        // After the timeout it is dropped as it is: abandoned.
        let Some(result) = with_timeout(limit, future).await else {
            return;
        };
        self.pending.take_over_options();
        let head = head_of(result);
        let outcome = head.as_ref().map_or(WriteOutcome::Unknown, |head| {
            outcome_of(&self.pending.state.config, &self.pending.request, head)
        });
        let targets = self.pending.targets(outcome, head.as_ref());
        self.pending.record_outcome(outcome);
        self.progress = Progress::Answered(outcome, targets.clone());
        // A missing acknowledgement is counted and logged there.
        let _ = self.pending.invalidate(outcome, &targets).await;
        self.progress = Progress::Done;
    }
}

impl<B: Backend> Drop for DetachedWrite<B> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.progress, Progress::Done) {
            Progress::Done => {}
            Progress::Calling => abandon(&self.pending, Some(&self.runtime)),
            Progress::Answered(outcome, targets) => {
                invalidate_in_background(&self.pending, Some(&self.runtime), outcome, targets);
            }
        }
    }
}

/// Invalidates in a background task, or on the spot as far as that needs no waiting.
pub(super) fn invalidate_in_background<B: Backend>(
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
