//! An unsafe request: call, invalidate, and only then yield the head (RFC 9111 §4.4, RFC 9875 §3).
//!
//! * [`write_guard`]: sees to the invalidation whatever becomes of the client.
//! * [`detached`]: runs a write on whose client has left, to the end of its body.
//! * [`outcome`]: committed, rejected or unknown, by the head of the response.
//! * [`targets`]: the resources and groups that a write invalidates.
//! * [`named`]: the resources that a response or `also_invalidate` names.
//! * [`invalidate`]: invalidates them.
//! * [`late_work`]: invalidates once more at the end of the response, if that is later than its head.
//! * [`store_write_response`]: write-through, which stores the response to a write.
//! * [`collecting`]: collects the body of such a response.

mod collecting;
mod detached;
pub(crate) mod invalidate;
mod late_work;
mod named;
pub(crate) mod outcome;
pub(crate) mod store_write_response;
pub(crate) mod targets;
pub(crate) mod write_guard;

use http::{Request, Response};
use tower_service::Service;

use crate::backend::Backend;
use crate::body::origin::OriginBody;
use crate::semantics::reason::{RequestResult, WriteOutcome};
use crate::state::LayerState;
use crate::state::inner_layers::Marked;

use self::late_work::WriteBody;
use self::store_write_response::Replaced;
use self::targets::PendingInvalidation;
use self::write_guard::WriteGuard;
use super::bounds::{InnerBody, InnerService};
use super::origin::fetch::ready;
use super::request::route::WriteTarget;
use super::respond::Responder;
use super::response_groups::take_own;
use super::served::{Served, ServedResult};

/// Forwards a write, and invalidates before its head is yielded, and again before its end.
///
/// Cancelling this before the call has no effect. After it, the guard runs the write to its end,
/// and invalidates by its outcome.
///
/// # Errors
/// The error of the inner service. The resource is invalidated before it is returned.
pub(crate) async fn write<S, B, Req, Res>(
    state: LayerState<B>,
    inner: S,
    request: Request<Req>,
    target: WriteTarget,
) -> ServedResult<Res, S::Error>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Res: InnerBody,
{
    let mut inner = Marked::of_write(inner, &state);
    let pending = PendingInvalidation::new(state, &request, target, inner.layers());
    let fence = store_write_response::capture_fence(&pending).await;
    // Nothing is written before the call: a client that leaves until then leaves nothing behind.
    ready(&mut inner).await?;
    let mut guard = WriteGuard::arm(pending, Result::ok);
    guard.call(|| inner.call(request));
    let response = match guard.response().await {
        Ok(response) => response,
        Err(error) => {
            guard.note_failure();
            let _ = guard.invalidate(None).await;
            return Err(error);
        }
    };
    let (mut head, body) = response.into_parts();
    let outcome = guard.note_response(&head);
    // A write that was not committed has no representation to show for it.
    let fence = fence.filter(|_| outcome == WriteOutcome::Committed);
    let representation = store_write_response::representation(guard.pending(), fence, &head, &body);
    let state = guard.pending().state.clone();
    let (body, replaced) = match representation.zip(guard.committed()) {
        Some((representation, write)) => representation.store(write, body).await,
        None => (
            WriteBody::Streaming(OriginBody::streaming(body)),
            Replaced::default(),
        ),
    };
    let body = late_work::begin_body(guard.committed(), &head, body);
    take_own(&state.config, &mut head.headers, &mut head.extensions);
    let acknowledged = guard.invalidate(replaced.invalidated).await;
    let responder = Responder::new(&state);
    responder.mark_written(&mut head, outcome, acknowledged, replaced.stored);
    let response = Response::from_parts(head, body);
    Ok(Served::new(response, RequestResult::Bypass))
}
