//! What the followers of a flight do when its response is refused: they go on without it at once,
//! or one of them takes over.
//!
//! | outcome | the response | remembered for the kind of the request |
//! |---|---|---|
//! | `Refused` | the second one in a row that is refused | at once |
//! | `RefusedVariant` | the same, of one variant | by its followers of that variant |
//! | `Declined` | the first one, or one that can be shared is stored | see below |
//! | `Declined` | `store_if` refuses it, or the client forced the call | see below |
//! | `Unusable` | it rejects its request (most 4xx) | never |
//! | `Unusable` | it cannot be shared this time (a broken fence, a hook that panics) | not |
//! | `Vacant` | it is a failure (5xx, 429) | not |
//! | `Exempt` | an inner layer exempts its request | not |
//!
//! After `Refused` the followers of the leader's kind call at once, each for itself. In all other
//! cases, and for all other kinds, one of the followers takes over. Only `Vacant` paces the calls
//! of the key; the others but `Exempt` say that the service is well, and end that. A kind whose
//! requests followed three declined flights in a row is remembered, too.

use std::sync::Arc;

use http::{StatusCode, response};

use crate::backend::Backend;
use crate::flight::{FlightOutcome, Leader};
use crate::semantics::reason::Refusal;
use crate::semantics::vary::{Vary, VarySelection};
use crate::service::fill_data::Significance;
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::store_fill::note_refusal;
use crate::state::LayerState;
use crate::state::shared_head::SharedHead;

/// Sends the followers that a refusal concerns on their own ways at once, and lets later requests
/// of their kind not wait. One of the others takes over.
pub(crate) fn release_followers<B: Backend>(
    state: &LayerState<B>,
    leader: &Leader<B::Fence, SharedHead>,
    refusal: Refusal,
    (outgoing, answered): (&OutgoingRequest, &response::Parts),
    significance: Significance,
) {
    let status = answered.status;
    if refusal == Refusal::Exempt {
        return leader.exempt();
    }
    if is_transient(status) {
        return leader.close_with(FlightOutcome::Vacant);
    }
    let kind = significance.kind;
    // A hook may have meant this request alone, or all.
    let is_by_hook = refusal == Refusal::StoreIf;
    if is_fault_of_request(status) || !(refusal.concerns_kind() || is_by_hook) {
        return leader.close_with(FlightOutcome::Unusable(kind));
    }
    if is_by_hook {
        return leader.close_with(FlightOutcome::Declined(kind));
    }
    // Where the key is not the variant's own, the refusal is one of that variant.
    let selection = match leader.key() == leader.key().primary() {
        true => selection_of(outgoing, answered),
        false => None,
    };
    let seed = &state.shared.store.seed;
    let key = match &selection {
        Some(selection) => {
            let rule = selection.rule();
            leader.key().variant_for(seed, rule, &outgoing.headers)
        }
        None => leader.key(),
    };
    let is_second = note_refusal(state, &key, refusal, significance);
    leader.close_with(match selection {
        _ if !is_second || !significance.is_typical() => FlightOutcome::Declined(kind),
        Some(selection) => FlightOutcome::RefusedVariant(kind, selection),
        None => FlightOutcome::Refused(kind),
    });
}

/// The values of a request that selected its response (RFC 9111 §4.1), if there are any.
fn selection_of(
    outgoing: &OutgoingRequest,
    answered: &response::Parts,
) -> Option<Arc<VarySelection>> {
    match Vary::from_headers(&answered.headers) {
        Vary::Fields(rule) => VarySelection::from_request(rule, &outgoing.headers).map(Arc::new),
        Vary::Absent | Vary::NeverMatches => None,
    }
}

/// Whether a status says nothing about the responses that come after it.
pub(super) fn is_transient(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// Whether a status rejects the request: all client errors except those about the resource.
fn is_fault_of_request(status: StatusCode) -> bool {
    status.is_client_error() && !matches!(status.as_u16(), 404 | 405 | 410 | 451)
}
