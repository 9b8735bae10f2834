//! What the followers of a flight do when its response is refused: they go on without it at once,
//! or one of them takes over.
//!
//! | outcome | the response | remembered for the kind of the request |
//! |---|---|---|
//! | `Refused` | others of its kind would get one like it | at once |
//! | `Declined` | one that can be shared is stored, or the client forced the call | see below |
//! | `Declined` | it rejects its request (most 4xx), or `store_if` refuses it | see below |
//! | `Unusable` | it cannot be shared this time (a broken fence, a hook that panics) | not |
//! | `Vacant` | it is a failure (5xx, 429) | not |
//! | `Exempt` | an inner layer exempts its request | not |
//!
//! After `Refused` the followers of the leader's kind call at once, each for itself. In all other
//! cases, and for all other kinds, one of the followers takes over. Only `Vacant` paces the calls of
//! the key; the others but `Exempt` say that the service is well, and end that. A kind whose requests followed
//! three declined flights in a row is remembered, too.

use http::StatusCode;

use crate::backend::Backend;
use crate::flight::{FlightOutcome, Leader};
use crate::semantics::reason::Refusal;
use crate::service::fill_data::Significance;
use crate::service::store_fill::remember_refusal;
use crate::state::LayerState;
use crate::state::shared_head::SharedHead;

/// Sends the followers that a refusal concerns on their own ways at once, and lets later requests
/// of their kind not wait. One of the others takes over.
pub(crate) fn release_followers<B: Backend>(
    state: &LayerState<B>,
    leader: &Leader<B::Fence, SharedHead>,
    refusal: Refusal,
    status: StatusCode,
    significance: Significance,
) {
    if refusal == Refusal::Exempt {
        return leader.exempt();
    }
    if is_transient(status) {
        return leader.close_with(FlightOutcome::Vacant);
    }
    let kind = significance.kind;
    // A hook may have meant this request alone, or all.
    let is_by_hook = refusal == Refusal::StoreIf;
    if is_fault_of_request(status) || is_by_hook {
        return leader.close_with(FlightOutcome::Declined(kind));
    }
    if !refusal.concerns_kind() {
        return leader.close_with(FlightOutcome::Unusable(kind));
    }
    remember_refusal(state, &leader.key(), refusal, significance);
    leader.close_with(match significance.is_typical() {
        true => FlightOutcome::Refused(kind),
        false => FlightOutcome::Declined(kind),
    });
}

/// Whether a status says nothing about the responses that come after it.
pub(super) fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// Whether a status rejects the request: all client errors except those about the resource.
fn is_fault_of_request(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 404 | 405 | 410 | 451)
}
