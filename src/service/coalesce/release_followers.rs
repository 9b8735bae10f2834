//! What the followers of a flight do when its response is refused: they go on without it.
//!
//! | outcome | the response | remembered for requests like the leader's |
//! |---|---|---|
//! | `Refused` | is refused, or rejects its request (most 4xx) | yes |
//! | `Refused` | makes a hook panic | if the request has followed others, and calls alone |
//! | `Refused` | cannot be shared this time (a broken fence), or the client forced the call | no |
//! | `Vacant` | is a failure (5xx, 429) | no |
//! | `Exempt` | an inner layer exempts its request | no |
//!
//! A refusal is remembered first, see [`note_refusal`]: then the followers that it concerns call at
//! once, each for itself. One of the others takes over. Only `Vacant` paces the calls of the key;
//! `Refused` says that the service is well, and ends that.

use http::StatusCode;

use crate::backend::Backend;
use crate::flight::{FlightOutcome, Leader};
use crate::key::CacheKey;
use crate::semantics::reason::Refusal;
use crate::semantics::request_kind::RequestKind;
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::store_fill::note_refused;
use crate::state::LayerState;
use crate::state::noted_requests::NotedKey;
use crate::state::shared_head::SharedHead;
use crate::state::uncacheable::RefusalCause;

/// Remembers a refusal for requests with the same fields, if they would get the same.
pub(crate) fn note_refusal<B: Backend>(
    state: &LayerState<B>,
    key: &CacheKey,
    outgoing: &OutgoingRequest,
    (refusal, status): (Refusal, StatusCode),
    is_alone: bool,
) {
    let is_due_to_request = match refusal {
        Refusal::Exempt => false,
        // A hook may have meant this request alone, or all.
        Refusal::StoreIf => true,
        // It panicked for the flights that the request has followed, too.
        Refusal::HookPanicked => is_alone,
        _ => refusal.concerns_others() || is_fault_of_request(status),
    };
    if is_due_to_request && !is_transient(status) && outgoing.is_for_whole() {
        let request = outgoing.digest(state);
        let noted = (NotedKey::new(key, outgoing.kind), request);
        note_refused(state, noted, (cause_of(status), refusal), outgoing.received);
    }
}

/// Ends a flight whose response is refused.
pub(crate) fn release_followers<F>(
    leader: &Leader<F, SharedHead>,
    kind: RequestKind,
    (refusal, status): (Refusal, StatusCode),
) {
    if refusal == Refusal::Exempt {
        return leader.exempt();
    }
    leader.close_with(match is_transient(status) {
        true => FlightOutcome::Vacant,
        false => FlightOutcome::Refused {
            kind,
            is_private: is_private(refusal),
        },
    });
}

/// Whether a response is refused because it is for one client.
fn is_private(refusal: Refusal) -> bool {
    use Refusal::{Cookie, Credentials, Private, SetCookie};
    matches!(refusal, Private | Credentials | Cookie | SetCookie)
}

/// Whether a status says nothing about the responses that come after it.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// Whether a status rejects the request: all client errors except those about the resource, or
/// about this moment or connection.
fn is_fault_of_request(status: StatusCode) -> bool {
    let is_other = matches!(status.as_u16(), 404 | 405 | 408 | 410 | 421 | 425 | 451);
    status.is_client_error() && !is_other
}

/// What a refusal is due to. A client error is the fault of its request, unless it denies access,
/// or says that the resource is gone.
fn cause_of(status: StatusCode) -> RefusalCause {
    match status.as_u16() {
        401 | 402 | 403 | 404 | 410 | 451 => RefusalCause::Response,
        400..=499 => RefusalCause::Request,
        _ => RefusalCause::Response,
    }
}
