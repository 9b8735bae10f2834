//! The response where too many fills wait for the inner service already.

use http::{Request, Response};

use crate::backend::Backend;
use crate::semantics::reason::{RequestResult, StaleUse};
use crate::service::fill_data::{Fill, StoredState};
use crate::service::request::content::HiddenContent;
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::respond::Responder;
use crate::service::served::Served;
use crate::state::LayerState;
use crate::state::throttled_log::Message;

use super::interpret::FetchOutcome;
use super::stale_on_failure::stale_hit;

/// A stale response where one may be used, or 503. A background refresh gets an empty one, which
/// is dropped.
pub(crate) fn overloaded<B: Backend, Req, Res, E>(
    state: &LayerState<B>,
    request: &Request<Req>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
) -> FetchOutcome<Res, E> {
    if let Some(suppressed) = state.admit_log(Message::TooManyWaiting) {
        tracing::warn!(
            method = %HiddenContent::method_of(request),
            path = request.uri().path(),
            max_waiting_fills = state.config.coalesce.max_waiting_fills,
            suppressed,
            "too many fills wait for the inner service"
        );
    }
    let responder = Responder::new(state);
    let stale = stale_hit(fill, StaleUse::IfError, state.now());
    FetchOutcome::Replacement(match (stale, &fill.miss.stored) {
        (Some(hit), _) => responder.hit(&hit, outgoing.preconditions()),
        (None, StoredState::InUse(_)) => Served::new(Response::default(), RequestResult::Overload),
        (None, _) => responder.too_many_waiting(),
    })
}
