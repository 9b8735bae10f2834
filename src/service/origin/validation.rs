//! Validation of a stored response (RFC 9111 §4.3).
//!
//! A 304 is a fill like any other: the stored response is never changed, but stored anew with
//! updated fields, under the fence of the lookup that found it.
//!
//! Only the cache's own validators are interpreted here. A 304 to a client's own conditions passes
//! through as any other response, see `interpret`.

use std::sync::Arc;

use http::{Request, Response, StatusCode};

use crate::backend::{Backend, StoredResponse};
use crate::body::origin::OriginBody;
use crate::body::watched::WatchedBody;
use crate::semantics::reason::StaleUse;
use crate::semantics::stored::updated_headers;
use crate::semantics::validation::{ValidationOutcome, validation_outcome};
use crate::service::fill_data::{FetchInfo, Fill, Hit};
use crate::service::lookup::selects;
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::respond::Responder;
use crate::service::served::Served;
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

/// The response to a request with the validators of a stored response.
pub(crate) enum Validated<Res> {
    /// The stored response with updated fields, confirmed by a 304, or another response than 304.
    Response(Response<OriginBody<Res>>),
    /// A 304 about another representation.
    Other(Response<WatchedBody<Res>>),
}

/// Interprets the response to a request with the validators of `stored`: a 304 becomes the stored
/// response with updated fields (RFC 9111 §4.3.4).
pub(crate) fn confirm_stored<B: Backend, Res>(
    state: &LayerState<B>,
    response: Response<WatchedBody<Res>>,
    stored: Arc<StoredResponse>,
    outgoing: &mut OutgoingRequest,
) -> Validated<Res> {
    if response.status() != StatusCode::NOT_MODIFIED {
        return Validated::Response(response.map(OriginBody::streaming));
    }
    // Whatever made the call: the response of one variant is never that of another.
    if !selects(&stored, &outgoing.headers) {
        return Validated::Other(response);
    }
    match validation_outcome(&stored.headers(), response.headers()) {
        ValidationOutcome::Confirmed => {}
        ValidationOutcome::OtherResponse => return Validated::Other(response),
    }
    state.count(Event::Validation);
    tracing::debug!("validated");
    let (mut head, _) = response.into_parts();
    head.status = stored.status();
    head.headers = updated_headers(&stored, &head.headers);
    let body = OriginBody::stored(stored.content(), stored.trailers().cloned());
    outgoing.validated = Some(stored);
    Validated::Response(Response::from_parts(head, body))
}

/// The stored response after a 304 that does not fit it, where the request cannot be repeated. It
/// is not updated (RFC 9111 §4.3.4).
pub(crate) fn unconfirmed<B: Backend, Res>(
    state: &LayerState<B>,
    stored: &Arc<StoredResponse>,
    outgoing: &OutgoingRequest,
    info: FetchInfo,
) -> Served<Res> {
    let age = stored.freshness().age(state.now());
    let hit = Hit::fresh(stored.clone(), age, None);
    Responder::new(state).unconfirmed(&hit, outgoing.preconditions(), info)
}

/// The response where the inner service insists on one that is of no use: the stale one if it may
/// be used, or 502.
pub(crate) fn contradicted<B: Backend, Res>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
    info: FetchInfo,
) -> Served<Res> {
    let (reason, status) = (info.reason, Some(info.status));
    let responder = Responder::new(state);
    match stale_hit(fill, StaleUse::IfError, state.now()) {
        Some(hit) => responder.stale_response(&hit, outgoing.preconditions(), reason, status),
        None => responder.bad_gateway(info),
    }
}
