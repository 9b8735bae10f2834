//! An unsafe request: call, invalidate, and only then yield the head (RFC 9111 §4.4, RFC 9875 §3).

pub(crate) mod guard;
pub(crate) mod pending;
pub(crate) mod through;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use tower_service::Service;

use crate::backend::Backend;
use crate::semantics::reason::WriteOutcome;

use crate::body::response::ResponseBody;
use crate::error::BoxError;
use crate::service::origin::ready;
use crate::service::request::route::Written;
use crate::service::write::guard::WriteGuard;
use crate::service::write::pending::Settlement;
use crate::service::write::through::Replaced;
use crate::state::Shared;

pub(crate) async fn write<S, B, Req, Res>(
    shared: Shared<B>,
    mut inner: S,
    request: Request<Req>,
    written: Written,
) -> Result<Response<ResponseBody<Res>>, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Backend,
    Res: Body<Data = Bytes> + Send + 'static,
    Res::Error: Into<BoxError>,
{
    let settlement = Settlement::new(shared.clone(), &request, written);
    let fence = through::fence(&settlement).await;
    // Until here nothing was written: whoever leaves now, leaves nothing behind.
    ready::ready(&mut inner).await?;
    let mut guard = WriteGuard::arm(settlement, said);
    guard.call(|| inner.call(request));
    let response = match guard.answer().await {
        Ok(response) => response,
        Err(error) => {
            guard.failed();
            let _ = guard.settle(None).await;
            return Err(error);
        }
    };
    let (mut head, body) = response.into_parts();
    let outcome = outcome(head.status);
    guard.answered(outcome, &head);
    let (body, replaced) = match through::wanted(guard.settlement(), fence, &head, &body) {
        Some(wanted) => wanted.store(&shared, body).await,
        None => (ResponseBody::streaming(body), Replaced::default()),
    };
    let acknowledged = guard.settle(replaced.settled).await;
    shared.written(&mut head.headers, outcome, acknowledged, replaced.stored);
    Ok(Response::from_parts(head, body))
}

fn said<Res, E>(answer: &Result<Response<Res>, E>) -> (WriteOutcome, Option<&HeaderMap>) {
    match answer {
        Ok(response) => (outcome(response.status()), Some(response.headers())),
        Err(_) => (WriteOutcome::Unknown, None),
    }
}

fn outcome(status: StatusCode) -> WriteOutcome {
    // A time-out layer inside answers 408 for a handler that it drops wherever it is, behind its commit too.
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
