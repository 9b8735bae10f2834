//! An unsafe request: call, invalidate, and only then yield the head (RFC 9111 §4.4, RFC 9875 §3).
//!
//! * [`pending`]: what a write is to invalidate, and doing it.
//! * [`guard`]: sees to the invalidation whatever becomes of the client.
//! * [`targets`]: the resources and groups that one write invalidates.
//! * [`through`]: write-through, which stores the response to a write.

pub(crate) mod guard;
pub(crate) mod pending;
pub(crate) mod targets;
pub(crate) mod through;

use http::{HeaderMap, Request, Response, StatusCode};

use crate::backend::Backend;
use crate::body::response::ResponseBody;
use crate::semantics::reason::WriteOutcome;
use crate::state::LayerState;

use self::guard::WriteGuard;
use self::pending::PendingInvalidation;
use self::through::Replaced;
use super::bounds::{InnerBody, InnerService};
use super::origin::fetch::ready;
use super::request::route::WriteTarget;
use super::respond::Responder;

/// Forwards a write, and invalidates before its head is yielded.
///
/// Cancelling this before the call has no effect. After it, the guard runs the write to its end
/// and invalidates.
///
/// # Errors
/// The error of the inner service. The resource is invalidated before it is returned.
pub(crate) async fn write<S, B, Req, Res>(
    state: LayerState<B>,
    mut inner: S,
    request: Request<Req>,
    target: WriteTarget,
) -> Result<Response<ResponseBody<Res>>, S::Error>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Res: InnerBody,
{
    let pending = PendingInvalidation::new(state.clone(), &request, target);
    let fence = through::capture_fence(&pending).await;
    // Nothing is written before the call: a client that leaves until then leaves nothing behind.
    ready(&mut inner).await?;
    let mut guard = WriteGuard::arm(pending, outcome_of);
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
    let outcome = outcome_of_status(head.status);
    guard.note_response(outcome, &head);
    let representation = through::representation(guard.pending(), fence, &head, &body);
    let (body, replaced) = match representation {
        Some(representation) => representation.store(&state, body).await,
        None => (ResponseBody::streaming(body), Replaced::default()),
    };
    let acknowledged = guard.invalidate(replaced.invalidated).await;
    let responder = Responder::new(&state);
    responder.mark_written(&mut head.headers, outcome, acknowledged, replaced.stored);
    Ok(Response::from_parts(head, body))
}

/// The outcome of a write by its result, and the fields of its response. An error says nothing: the
/// write may have committed.
fn outcome_of<Res, E>(result: &Result<Response<Res>, E>) -> (WriteOutcome, Option<&HeaderMap>) {
    match result {
        Ok(response) => (
            outcome_of_status(response.status()),
            Some(response.headers()),
        ),
        Err(_) => (WriteOutcome::Unknown, None),
    }
}

/// The outcome of a write by its status: 2xx and 3xx committed, 4xx rejected, 5xx and 408 unknown.
fn outcome_of_status(status: StatusCode) -> WriteOutcome {
    // A timeout layer inside answers 408 for a handler that it drops wherever it is, after its
    // commit too.
    if status == StatusCode::REQUEST_TIMEOUT {
        WriteOutcome::Unknown
    } else if status.is_client_error() {
        WriteOutcome::Rejected
    } else if status.is_server_error() {
        WriteOutcome::Unknown
    } else {
        WriteOutcome::Committed
    }
}
