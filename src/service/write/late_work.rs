//! A write whose response ends later than its head: the inner service may do its work in between.
//!
//! What is stored in between may be older than that work, so the targets are invalidated once more,
//! before the end of the body is passed on. Nothing is held up meanwhile: a client that does not
//! read delays no more than its own end.

use std::future::Future;
use std::pin::Pin;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, response};
use tokio::runtime::Handle;
use tracing::Span;

use crate::backend::Backend;
use crate::body::ending::{EndWork, EndingBody, has_no_more};
use crate::body::origin::OriginBody;
use crate::body::response::ResponseBody;
use crate::error::SharedError;
use crate::semantics::reason::WriteOutcome;
use crate::service::bounds::InnerBody;

use super::detached::invalidate_in_background;
use super::targets::{PendingInvalidation, WriteTargets};
use super::write_guard::WriteGuard;

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
pub(super) fn begin_body<F, B, Res>(
    guard: &WriteGuard<F, B>,
    head: &response::Parts,
    body: WriteBody<Res>,
) -> ResponseBody<Res>
where
    F: Future<Output: Send> + Send + 'static,
    B: Backend,
    Res: InnerBody,
{
    let body = match body {
        WriteBody::Whole(body) => return body,
        WriteBody::Streaming(body) => body,
    };
    let announced = announced_length(&head.headers);
    let targets = guard.committed_targets();
    let (Some(targets), false) = (targets, has_no_more(&body) || announced == Some(0)) else {
        return ResponseBody::from_origin(body);
    };
    let mut body = EndingBody::begin(body, announced);
    if !body.is_whole() {
        body.set_work(Box::new(LateInvalidation::new(guard.pending(), targets)));
    }
    ResponseBody::ending(body)
}

/// The length that a server sends, and no more.
fn announced_length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// An invalidation that is to come. Dropped before that, as when the client leaves within the body,
/// it comes at once.
struct LateInvalidation<B: Backend> {
    pending: PendingInvalidation<B>,
    /// The runtime for a task. The body may be dropped outside of any.
    runtime: Option<Handle>,
    span: Span,
    /// `None` once it is done.
    targets: Option<WriteTargets>,
}

impl<B: Backend> LateInvalidation<B> {
    fn new(pending: &PendingInvalidation<B>, targets: WriteTargets) -> Self {
        Self {
            pending: pending.without_fields(),
            runtime: Handle::try_current().ok(),
            span: Span::current(),
            targets: Some(targets),
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

impl<B: Backend> EndWork for LateInvalidation<B> {
    fn begin(self: Box<Self>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.invalidate())
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
