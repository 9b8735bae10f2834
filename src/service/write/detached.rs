//! A write whose client has left: it runs to its end in a task of its own, and is judged then.
//!
//! Its end is that of its response's body, before which the inner service may still be at work.
//! Start at [`run_on`] for a client that leaves before the head, and at [`read_on`] for one that
//! leaves after it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::{Response, response};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::backend::Backend;
use crate::body::ending::EndingBody;
use crate::body::origin::OriginBody;
use crate::body::watched::WatchedBody;
use crate::semantics::reason::WriteOutcome;
use crate::semantics::storing::is_endless;
use crate::service::bounds::InnerBody;
use crate::state::bounded_work::WorkPermit;
use crate::stats::Event;
use crate::timeout::with_timeout;

use super::outcome::outcome_of;
use super::targets::{PendingInvalidation, WriteTargets};

/// Takes the response from a result of the inner service; `None` if that is an error.
pub(crate) type ResponseOf<A, Res> = fn(A) -> Option<Response<WatchedBody<Res>>>;

/// Runs a write on after its client has left before the head. It invalidates by its outcome as soon
/// as the head is there, and again at the end of the body.
///
/// Until the head nothing is invalidated: it was yielded to no client, so no request can expect to
/// see the write's changes. A write that cannot run on is dropped, and its outcome is unknown at
/// once.
pub(super) fn run_on<F, Res, B>(
    pending: &PendingInvalidation<B>,
    runtime: Option<&Handle>,
    future: Pin<Box<F>>,
    response_of: ResponseOf<F::Output, Res>,
) where
    F: Future<Output: Send> + Send + 'static,
    Res: InnerBody,
    B: Backend,
{
    if let Some(write) = DetachedWrite::begin(pending, runtime, Progress::Calling) {
        let runtime = write.runtime.clone();
        let background = &pending.state.shared.background;
        background.spawn(&runtime, write.run(future, response_of));
    }
}

/// Reads the rest of the response to a committed write after its client has left within the body,
/// and invalidates its targets at the end.
///
/// They are invalidated at once, too: the client had the head, and may know from the body that the
/// write is done. A body that cannot be read on is dropped, and its write may go on or not.
pub(super) fn read_on<Res: InnerBody, B: Backend>(
    pending: &PendingInvalidation<B>,
    runtime: Option<&Handle>,
    targets: WriteTargets,
    rest: EndingBody<Res>,
) {
    let progress = Progress::Reading(targets.clone());
    if let Some(write) = DetachedWrite::begin(pending, runtime, progress) {
        let (runtime, state) = (write.runtime.clone(), &pending.state);
        invalidate_in_background(pending, Some(&runtime), WriteOutcome::Committed, targets);
        let limit = state.config.detached_write_timeout;
        let background = &state.shared.background;
        background.spawn(&runtime, write.read(rest, limit));
    }
}

/// A write without a client. Dropped before its end, it invalidates in the background.
struct DetachedWrite<B: Backend> {
    pending: PendingInvalidation<B>,
    runtime: Handle,
    progress: Progress,
    _permit: WorkPermit,
}

/// The progress of a write without a client.
enum Progress {
    Calling,
    /// It was committed by its head, and its body is to be read. These targets are to be
    /// invalidated at the end of that.
    Reading(WriteTargets),
    /// It has ended. These targets are to be invalidated.
    Ended(WriteOutcome, WriteTargets),
    Done,
}

impl<B: Backend> DetachedWrite<B> {
    /// Admits a write; `None` if it cannot run on, and was given up.
    fn begin(
        pending: &PendingInvalidation<B>,
        runtime: Option<&Handle>,
        progress: Progress,
    ) -> Option<Self> {
        let (config, shared) = (&pending.state.config, &pending.state.shared);
        let runtime = runtime.filter(|_| !config.detached_write_timeout.is_zero());
        let max = config.max_detached_writes;
        let permit = shared.detached_writes.begin(pending.client, max);
        let (Some(runtime), Some(permit)) = (runtime, permit) else {
            give_up(pending, runtime, progress);
            return None;
        };
        pending.state.count(Event::WriteDetached);
        Some(Self {
            pending: pending.clone(),
            runtime: runtime.clone(),
            progress,
            _permit: permit,
        })
    }

    /// Runs the call to its end, then reads the body. Both together have `detached_write_timeout`.
    async fn run<F, Res>(mut self, future: Pin<Box<F>>, response_of: ResponseOf<F::Output, Res>)
    where
        F: Future,
        Res: InnerBody,
    {
        let limit = self.pending.state.config.detached_write_timeout;
        let begun = Instant::now();
        // After the timeout it is dropped as it is: abandoned.
        let Some(result) = with_timeout(limit, future).await else {
            return;
        };
        self.pending.take_over_options();
        let Some(response) = response_of(result) else {
            let outcome = WriteOutcome::Unknown;
            let targets = self.pending.targets(outcome, None);
            self.pending.record_outcome(outcome);
            return self.end(outcome, targets).await;
        };
        let (head, body) = response.into_parts();
        let outcome = outcome_of(&self.pending.state.config, &self.pending.request, &head);
        let targets = self.pending.targets(outcome, Some(&head));
        self.pending.record_outcome(outcome);
        let rest = match outcome {
            WriteOutcome::Committed => rest_of(&head, body),
            WriteOutcome::Rejected | WriteOutcome::Unknown => {
                drop(body);
                None
            }
        };
        let Some(rest) = rest else {
            return self.end(outcome, targets).await;
        };
        // Its fields are needed no more.
        self.pending = self.pending.without_fields();
        self.progress = Progress::Reading(targets.clone());
        // A missing acknowledgement is counted and logged there.
        let _ = self.pending.invalidate(outcome, &targets).await;
        self.read(rest, limit.saturating_sub(begun.elapsed())).await;
    }

    /// Reads the rest of the body for no client. After the timeout it is dropped as it is.
    async fn read<Res: InnerBody>(mut self, rest: EndingBody<Res>, limit: Duration) {
        if with_timeout(limit, rest.discard()).await.is_some()
            && let Progress::Reading(targets) =
                std::mem::replace(&mut self.progress, Progress::Done)
        {
            self.end(WriteOutcome::Committed, targets).await;
        }
    }

    /// Invalidates the targets of a write that has ended.
    async fn end(mut self, outcome: WriteOutcome, targets: WriteTargets) {
        self.progress = Progress::Ended(outcome, targets.clone());
        // A missing acknowledgement is counted and logged there.
        let _ = self.pending.invalidate(outcome, &targets).await;
        self.progress = Progress::Done;
    }
}

impl<B: Backend> Drop for DetachedWrite<B> {
    fn drop(&mut self) {
        let progress = std::mem::replace(&mut self.progress, Progress::Done);
        give_up(&self.pending, Some(&self.runtime), progress);
    }
}

/// The rest of a body that goes on after its head; `None` if it has ended with it, or is an endless
/// stream, which nobody reads on.
fn rest_of<Res: InnerBody>(
    head: &response::Parts,
    body: WatchedBody<Res>,
) -> Option<EndingBody<Res>> {
    if is_endless(&head.headers) {
        return None;
    }
    let body = EndingBody::after_head(&head.headers, OriginBody::streaming(body));
    body.ok().filter(|body| !body.is_whole())
}

/// Ends a write that runs on no more. Before its end it may be committed or not, now or later.
fn give_up<B: Backend>(
    pending: &PendingInvalidation<B>,
    runtime: Option<&Handle>,
    progress: Progress,
) {
    let unknown = WriteOutcome::Unknown;
    let (outcome, targets) = match progress {
        Progress::Done => return,
        Progress::Ended(outcome, targets) => (outcome, targets),
        Progress::Calling => {
            note_abandoned(pending);
            pending.record_outcome(unknown);
            (unknown, pending.targets(unknown, None))
        }
        // Its outcome was recorded with its head.
        Progress::Reading(targets) => {
            note_abandoned(pending);
            (unknown, targets)
        }
    };
    invalidate_in_background(pending, runtime, outcome, targets);
}

/// Counts and logs a write that is dropped before its end.
fn note_abandoned<B: Backend>(pending: &PendingInvalidation<B>) {
    pending.state.count(Event::WriteAbandoned);
    tracing::debug!(
        method = %pending.request.method,
        path = pending.request.uri.path(),
        "a write whose client has left was dropped before its end"
    );
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
