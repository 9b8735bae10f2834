//! What the followers of a flight do when its response is refused: they go on without it at once,
//! or one of them takes over.

use http::StatusCode;

use crate::backend::Backend;
use crate::flight::{FlightOutcome, Leader};
use crate::semantics::reason::Refusal;
use crate::service::store_fill::remember_uncacheable;
use crate::state::LayerState;
use crate::state::shared_head::SharedHead;
use crate::state::uncacheable::audience_of;

/// Sends the followers that a refusal concerns on their own ways at once, and lets later requests
/// not wait. One of the others takes over.
pub(crate) fn release_followers<B: Backend>(
    state: &LayerState<B>,
    leader: &Leader<B::Fence, SharedHead>,
    refusal: Refusal,
    status: StatusCode,
) {
    // An inner layer or a hook may have meant this request alone, or all.
    let is_declined = matches!(refusal, Refusal::Exempt | Refusal::StoreIf);
    if is_transient(status) || (audience_of(refusal).is_none() && !is_declined) {
        return leader.close_with(FlightOutcome::Vacant);
    }
    if is_fault_of_request(status) || is_declined {
        return leader.close_with(FlightOutcome::Declined);
    }
    remember_uncacheable(state, &leader.key(), refusal);
    leader.close_with(FlightOutcome::Refused(refusal));
}

/// Whether a status says nothing about the responses that come after it.
fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// Whether a status rejects the request: all client errors except those about the resource.
fn is_fault_of_request(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 404 | 405 | 410 | 451)
}
