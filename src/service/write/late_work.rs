//! A write whose response ends later than its head: the inner service may do its work in between.
//!
//! What is stored in between may be older than that work, so the targets are invalidated once more,
//! before the end of the body is passed on. Nothing is held up meanwhile: a client that does not
//! read delays no more than its own end. If the client leaves within the body, the rest is read
//! without it ([`detached`](super::detached)), unless it is an endless stream.

use std::future::Future;
use std::pin::Pin;

use http::response;
use tokio::runtime::Handle;
use tracing::Span;

use crate::backend::Backend;
use crate::body::ending::{EndWork, EndingBody};
use crate::body::origin::OriginBody;
use crate::body::response::ResponseBody;
use crate::error::SharedError;
use crate::semantics::reason::WriteOutcome;
use crate::semantics::storing::is_endless;
use crate::service::bounds::InnerBody;

use super::detached::{invalidate_in_background, read_on};
use super::targets::{PendingInvalidation, WriteTargets};
use super::write_guard::CommittedWrite;

/// The body of the response to a write.
pub(super) enum WriteBody<Res> {
    /// It has ended, well or not.
    Whole(ResponseBody<Res>),
    Streaming(OriginBody<Res>),
}

impl<Res> WriteBody<Res> {
    /// A body that failed while it was collected.
    pub(super) fn failed(error: SharedError) -> Self {
        Self::Whole(ResponseBody::failed(error))
    }
}

/// The body of the response to a write, before whose end the targets are invalidated once more.
///
/// Not where it has ended already, or comes with the head: the invalidation that is to come follows
/// its end then. A write that was not committed has no targets to look at again: a rejected one has
/// done nothing, and after an unknown one nothing is stored for a while.
pub(super) fn begin_body<B: Backend, Res: InnerBody>(
    write: Option<CommittedWrite<'_, B>>,
    head: &response::Parts,
    body: WriteBody<Res>,
) -> ResponseBody<Res> {
    let body = match body {
        WriteBody::Whole(body) => return body,
        WriteBody::Streaming(body) => body,
    };
    let Some(write) = write else {
        return ResponseBody::from_origin(body);
    };
    match EndingBody::after_head(&head.headers, body) {
        Ok(body) => {
            let is_endless = is_endless(&head.headers);
            ResponseBody::ending(with_late_invalidation(write, body, is_endless))
        }
        Err(ended) => ResponseBody::from_origin(ended),
    }
}

/// Reads a body on after its client has left while it was collected. `left` is the announced length
/// of its rest.
pub(super) fn read_without_client<B: Backend, Res: InnerBody>(
    write: CommittedWrite<'_, B>,
    body: OriginBody<Res>,
    left: u64,
) {
    // Its reader leaves at once.
    let body = EndingBody::begin(body, Some(left));
    drop(with_late_invalidation(write, body, false));
}

/// Lets the end of a body wait for an invalidation, unless the end is there already.
fn with_late_invalidation<B: Backend, Res: InnerBody>(
    write: CommittedWrite<'_, B>,
    mut body: EndingBody<Res>,
    is_endless: bool,
) -> EndingBody<Res> {
    if body.has_panicked() {
        write.pending.state.shared.background.report_panic();
    }
    if !body.is_whole() {
        body.set_work(Box::new(LateInvalidation::new(write, is_endless)));
    }
    body
}

/// An invalidation that is to come. Dropped before that, as when the body breaks off, it comes at
/// once.
struct LateInvalidation<B: Backend> {
    pending: PendingInvalidation<B>,
    /// The runtime for a task. The body may be dropped outside of any.
    runtime: Option<Handle>,
    span: Span,
    /// Whether the body is one of an endless stream, which nobody reads on.
    is_endless: bool,
    /// `None` once it is done.
    targets: Option<WriteTargets>,
}

impl<B: Backend> LateInvalidation<B> {
    fn new(write: CommittedWrite<'_, B>, is_endless: bool) -> Self {
        Self {
            pending: write.pending.without_fields(),
            runtime: write.runtime.cloned(),
            span: write.span.clone(),
            is_endless,
            targets: Some(write.targets.clone()),
        }
    }

    async fn invalidate(mut self) {
        if let Some(targets) = self.targets.clone() {
            // A missing acknowledgement is counted and logged there. The head has been sent.
            let _ = self
                .pending
                .invalidate(WriteOutcome::Committed, &targets)
                .await;
            self.targets = None;
        }
    }
}

impl<B: Backend, Res: InnerBody> EndWork<Res> for LateInvalidation<B> {
    fn begin(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.invalidate())
    }

    fn take_over(mut self: Box<Self>, rest: EndingBody<Res>) {
        if self.is_endless {
            // Dropped, it invalidates at once.
            return;
        }
        if let Some(targets) = self.targets.take() {
            let _entered = self.span.clone().entered();
            let runtime = self.runtime.as_ref();
            read_on(&self.pending, runtime, targets, rest);
        }
    }
}

impl<B: Backend> Drop for LateInvalidation<B> {
    fn drop(&mut self) {
        if let Some(targets) = self.targets.take() {
            let _entered = self.span.clone().entered();
            let runtime = self.runtime.as_ref();
            let outcome = WriteOutcome::Committed;
            invalidate_in_background(&self.pending, runtime, outcome, targets);
        }
    }
}
