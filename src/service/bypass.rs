//! Requests that bypass the cache, or one of its layers.

use http::{Request, Response};

use crate::backend::Backend;
use crate::body::response::ResponseBody;
use crate::body::watched::WatchedBody;
use crate::semantics::reason::{Bypass, Reason, RequestResult};
use crate::state::LayerState;
use crate::state::inner_layers::Marked;
use crate::state::throttled_log::Message;
use crate::stats::Event;

use super::bounds::{InnerBody, InnerService};
use super::origin::fetch::call;
use super::respond::Responder;
use super::response_groups::take_own;
use super::served::{Served, ServedResult};

/// Forwards a request untouched, and says why on its response.
///
/// Neither the lookup nor the store sees it. Writes never come here: they invalidate.
pub(crate) async fn bypass<S, B, Req, Res>(
    state: LayerState<B>,
    inner: S,
    request: Request<Req>,
    reason: Bypass,
) -> ServedResult<Res, S::Error>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Res: InnerBody,
{
    state.count(Event::Bypass(reason));
    tracing::debug!(reason = reason.as_str(), "bypass");
    let (parts, body) = request.into_parts();
    // A write bypasses the cache only without a key.
    if state.config.is_write(&parts)
        && let Some(suppressed) = state.admit_log(Message::WriteWithoutKey)
    {
        tracing::warn!(
            method = %parts.method,
            path = parts.uri.path(),
            reason = reason.as_str(),
            suppressed,
            "a write without a key invalidates nothing"
        );
    }
    let request = Request::from_parts(parts, body);
    let response = call(Marked::new(inner, &state), request).await?;
    let (mut head, body) = response.into_parts();
    take_own(&state.config, &mut head.headers, &mut head.extensions);
    Responder::new(&state).mark_bypassed(&mut head.headers, reason);
    let response = Response::from_parts(head, ResponseBody::streaming(body));
    Ok(Served::new(response, RequestResult::Bypass))
}

/// Forwards a request that a layer of the same cache further outside handles.
pub(crate) async fn pass_on<S, Req, Res>(
    inner: S,
    request: Request<Req>,
) -> Result<Response<ResponseBody<Res>>, S::Error>
where
    S: InnerService<Req, Res>,
    Res: InnerBody,
{
    Ok(call(inner, request)
        .await?
        .map(|body| ResponseBody::streaming(WatchedBody::watched_elsewhere(body))))
}
