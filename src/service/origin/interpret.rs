//! What a response means for the request as it was sent, with what the cache added to it.
//!
//! Only a condition or range of the client's own may be answered with 304, 412 or 416. Where the
//! cache added nothing, a 412 or 416 is the service's own response all the same: applications use
//! these statuses for reasons that no field of the request shows.

use http::{Response, StatusCode};

use crate::backend::Backend;
use crate::body::origin::OriginBody;
use crate::body::watched::WatchedBody;
use crate::semantics::reason::Contradiction;
use crate::service::fill_data::{FetchInfo, Fill};
use crate::service::parts::fetch_missing_range::{Completed, complete};
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::served::Served;
use crate::state::LayerState;

use super::validation::{Validated, confirm_stored, contradicted, unconfirmed};

/// The result of asking the inner service.
pub(crate) enum FetchOutcome<Res, E> {
    /// Its response, with the stored body where a 304 confirmed that.
    Response(Response<OriginBody<Res>>, FetchInfo),
    /// A response of the cache in place of a failure: a stale one, 502 or 503.
    Replacement(Served<Res>),
    /// Its error.
    Error(E),
}

/// What the cache added to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    Nothing,
    /// The validators of the stored response.
    Validators,
    /// The range that is missing between stored parts.
    Range,
}

/// The meaning of a response.
pub(crate) enum Interpreted<Res> {
    /// It answers the client's request, or brings what the cache asked for.
    Response(Response<OriginBody<Res>>, FetchInfo),
    /// It does neither.
    Useless(Contradiction, Response<WatchedBody<Res>>),
}

/// Interprets a response to a request to which the cache has added something, or nothing.
pub(crate) fn interpret<B: Backend, Res>(
    state: &LayerState<B>,
    response: Response<WatchedBody<Res>>,
    added: Added,
    fill: &Fill<B::Fence>,
    outgoing: &mut OutgoingRequest,
) -> Interpreted<Res> {
    let info = fetch_info(response.status(), fill, outgoing);
    let validated = outgoing.validated.take();
    if is_unrequested(response.status(), added, outgoing) {
        return Interpreted::Useless(Contradiction::Unrequested, response);
    }
    if let Some(stored) = validated {
        return match confirm_stored(state, response, stored, outgoing) {
            Validated::Response(response) => Interpreted::Response(response, info),
            Validated::Other(response) => {
                Interpreted::Useless(Contradiction::NotModifiedIsAnother, response)
            }
        };
    }
    match &fill.miss.parts {
        Some(held) if added == Added::Range => match complete(state, response, held, outgoing) {
            Completed::Response(response) => Interpreted::Response(response, info),
            Completed::Other(response) => {
                Interpreted::Useless(Contradiction::PartIsAnother, response)
            }
        },
        _ => Interpreted::Response(response.map(OriginBody::streaming), info),
    }
}

/// Whether a status answers a condition that the client did not send.
///
/// A 304 to the validators of the cache, and a 416 to its range, are not meant: what these say is
/// compared with the stored response.
fn is_unrequested(status: StatusCode, added: Added, outgoing: &OutgoingRequest) -> bool {
    match status {
        StatusCode::NOT_MODIFIED => added != Added::Validators && !outgoing.may_be_answered(status),
        StatusCode::PRECONDITION_FAILED => {
            added != Added::Nothing && !outgoing.may_be_answered(status)
        }
        StatusCode::RANGE_NOT_SATISFIABLE => added == Added::Validators,
        _ => false,
    }
}

/// Lets the next requests go to the inner service without the fields that were of no use this time.
pub(crate) fn remember_useless<B: Backend>(
    state: &LayerState<B>,
    added: Added,
    fill: &Fill<B::Fence>,
) {
    match (added, &fill.miss.parts) {
        (Added::Validators, _) => state.remember_contradicted(&fill.miss.lookup_key),
        (Added::Range, Some(held)) => state.remember_contradicted(&held.lookup_key),
        _ => {}
    }
}

/// The outcome of a useless response to a request that cannot be repeated, because no empty body of
/// its type is known.
///
/// A 304 to the validators of the cache is taken as one about the stored response, which is used
/// without an update. Other responses are the client's.
pub(crate) fn without_repetition<B: Backend, Res, E>(
    state: &LayerState<B>,
    response: Response<WatchedBody<Res>>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
) -> FetchOutcome<Res, E> {
    let info = fetch_info(response.status(), fill, outgoing);
    if response.status() != StatusCode::NOT_MODIFIED {
        return FetchOutcome::Response(response.map(OriginBody::streaming), info);
    }
    FetchOutcome::Replacement(match fill.miss.stored_response() {
        Some(stored) => unconfirmed(state, stored, outgoing, info),
        None => contradicted(state, fill, outgoing, info),
    })
}

/// The information about a response with this status.
pub(crate) fn fetch_info<F>(
    status: StatusCode,
    fill: &Fill<F>,
    outgoing: &OutgoingRequest,
) -> FetchInfo {
    FetchInfo {
        reason: fill.miss.reason,
        status,
        contradiction: outgoing.contradiction,
    }
}
