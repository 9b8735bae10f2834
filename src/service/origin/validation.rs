//! Validation of a stored response (RFC 9111 §4.3).
//!
//! A 304 is a fill like any other: the stored response is never changed, but stored anew with
//! updated fields, under the fence of the lookup that found it.
//!
//! Only the cache's own validators are interpreted here. A 304 to a client's own conditions passes
//! through as any other response.

use std::sync::Arc;

use http::{Request, Response, StatusCode};

use crate::backend::{Backend, StoredResponse};
use crate::body::origin::OriginBody;
use crate::body::response::ResponseBody;
use crate::semantics::reason::StaleUse;
use crate::semantics::stored::updated_headers;
use crate::semantics::validation::{ValidationOutcome, validation_outcome};
use crate::service::fill_data::{FetchInfo, Fill};
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::respond::Responder;
use crate::state::LayerState;
use crate::stats::Event;

use super::stale_on_failure::stale_hit;

/// Puts the validators of the stored response on a request that has no conditions of its own
/// (RFC 9111 §4.3.1), unless the last answer to them contradicted it.
pub(crate) fn add_validators<B: Backend, Req>(
    state: &LayerState<B>,
    request: &mut Request<Req>,
    fill: &Fill<B::Fence>,
    stored: &Arc<StoredResponse>,
    outgoing: &mut OutgoingRequest,
) {
    if !state.is_contradicted(&fill.miss.lookup_key) {
        outgoing.add_validators(request, stored);
    }
}

/// Interprets the response to a request with the validators of `stored`: a 304 becomes the stored
/// response with updated fields (RFC 9111 §4.3.4). `None` for a 304 about another representation.
pub(crate) fn confirm_stored<B: Backend, Res>(
    state: &LayerState<B>,
    response: Response<OriginBody<Res>>,
    stored: Arc<StoredResponse>,
    outgoing: &mut OutgoingRequest,
) -> Option<Response<OriginBody<Res>>> {
    if response.status() != StatusCode::NOT_MODIFIED {
        return Some(response);
    }
    let (mut head, _) = response.into_parts();
    match validation_outcome(stored.headers(), &head.headers) {
        ValidationOutcome::Confirmed => {}
        ValidationOutcome::OtherResponse => return None,
    }
    state.count(Event::Validation);
    tracing::debug!("validated");
    head.status = stored.status();
    head.headers = updated_headers(&stored, &head.headers);
    let body = OriginBody::stored(stored.body().clone(), stored.trailers().cloned());
    outgoing.validated = Some(stored);
    Some(Response::from_parts(head, body))
}

/// The response where a 304 was about another representation: the stale one if it may be used, or
/// 502. The next request is fetched without validators.
pub(crate) fn contradicted<B: Backend, Res>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
) -> Response<ResponseBody<Res>> {
    tracing::warn!("a 304 is about another representation than the validators that were sent");
    let now = state.now();
    state.remember_contradicted(&fill.miss.lookup_key);
    let (reason, status) = (fill.miss.reason, StatusCode::NOT_MODIFIED);
    let responder = Responder::new(state);
    match stale_hit(fill, StaleUse::IfError, now) {
        Some(hit) => responder.stale_response(&hit, outgoing.preconditions(), reason, Some(status)),
        None => responder.bad_gateway(FetchInfo { reason, status }, "not-modified-is-another"),
    }
}
