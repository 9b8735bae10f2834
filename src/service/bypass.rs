//! Requests that bypass the cache.

use http::{Request, Response};

use crate::backend::Backend;
use crate::body::response::ResponseBody;
use crate::semantics::reason::{Bypass, Reason};
use crate::state::LayerState;
use crate::stats::Event;

use super::bounds::{InnerBody, InnerService};
use super::origin::fetch::call;
use super::respond::Responder;

/// Forwards a request untouched, and says why on its response.
///
/// Neither the lookup nor the store sees it. Writes never come here: they invalidate.
pub(crate) async fn bypass<S, B, Req, Res>(
    state: LayerState<B>,
    inner: S,
    request: Request<Req>,
    reason: Bypass,
) -> Result<Response<ResponseBody<Res>>, S::Error>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Res: InnerBody,
{
    state.count(Event::Bypass(reason));
    tracing::debug!(reason = reason.as_str(), "bypass");
    let response = call(inner, request).await?;
    let mut response = response.map(ResponseBody::streaming);
    Responder::new(&state).mark_bypassed(response.headers_mut(), reason);
    Ok(response)
}
