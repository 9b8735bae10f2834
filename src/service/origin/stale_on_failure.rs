//! Stale responses in place of the inner service's failures (RFC 9111 §4.2.4, RFC 5861 §4).

use http::StatusCode;

use crate::backend::Backend;
use crate::semantics::moment::Moment;
use crate::semantics::reason::StaleUse;
use crate::semantics::reuse;
use crate::service::coalesce::release_followers::is_transient;
use crate::service::fill_data::{Fill, Hit, StoredState};
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::respond::Responder;
use crate::service::served::Served;
use crate::state::LayerState;
use crate::state::noted_requests::NotedKey;

/// The stale response that is served in place of a failure, if there is one that may be.
///
/// If anything is stored for the request, the inner service is not asked for it again for
/// `failure_backoff`, by requests with the same fields. What a client asks for itself alone, or
/// forces, does not count.
pub(crate) fn stale_in_place_of_failure<B: Backend, Res>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
    use_: StaleUse,
    status: Option<StatusCode>,
) -> Option<Served<Res>> {
    let now = state.now();
    if is_like_refresh(fill, outgoing) && status.is_none_or(is_failure) {
        let key = NotedKey::new(&fill.miss.lookup_key, outgoing.kind);
        let noted = (key, outgoing.digest(state));
        let failures = &state.shared.origin.failures;
        let backoff = state.config.failure_backoff;
        failures.note(noted, use_, now, backoff);
        let took = now.since(outgoing.at);
        failures.note_failing(&fill.miss.lookup_key, use_, now, (backoff, took));
    }
    let hit = stale_hit(fill, use_, now)?;
    let responder = Responder::new(state);
    let served = responder.stale_response(&hit, outgoing.preconditions(), fill.miss.reason, status);
    Some(served.made_of(state, fill.key.public_key(), &hit.response))
}

/// Whether a background refresh would make the same call: nothing in it is the client's own.
fn is_like_refresh<F>(fill: &Fill<F>, outgoing: &OutgoingRequest) -> bool {
    outgoing.is_for_whole()
        && !fill.is_forced()
        && matches!(
            fill.miss.stored,
            StoredState::Stale(_) | StoredState::InUse(_)
        )
}

/// The statuses that `stale-if-error` covers (RFC 5861 §4).
pub(crate) fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Whether a status is answered with a stale response where one may be used. A request that could
/// have used it without a call does so whenever the call says nothing of the response.
pub(crate) fn is_failure_for<F>(status: StatusCode, fill: &Fill<F>) -> bool {
    is_failure(status) || fill.miss.awaits_refresh() && is_transient(status)
}

/// The stale response, if it may be used for this reason, or without validation.
pub(crate) fn stale_hit<F>(fill: &Fill<F>, use_: StaleUse, now: Moment) -> Option<Hit> {
    let StoredState::Stale(stored) = &fill.miss.stored else {
        return None;
    };
    let freshness = stored.freshness();
    let may_use = |use_| reuse::may_use_stale(&fill.key.directives, &freshness, now, use_);
    let without_validation = StaleUse::WhileRevalidate;
    let use_ = if may_use(use_) {
        use_
    } else if fill.miss.awaits_refresh() && may_use(without_validation) {
        without_validation
    } else {
        return None;
    };
    Some(Hit::stale(stored.clone(), now, use_))
}

/// The stale response that is used without asking the inner service, which failed a moment ago for
/// a request with the same fields. With `has_seen_failures` the request has waited for calls of
/// others that failed: it need not find out for itself.
pub(crate) fn stale_hit_in_backoff<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
    has_seen_failures: bool,
) -> Option<Hit> {
    if !fill.miss.has_stale() {
        return None;
    }
    let now = state.now();
    let key = NotedKey::new(&fill.miss.lookup_key, outgoing.kind);
    let request = || outgoing.digest(state);
    let failures = &state.shared.origin.failures;
    let mut uses = failures.recent(key, now, request, has_seen_failures);
    uses.find_map(|use_| stale_hit(fill, use_, now))
}

/// The use of the stale response for a request whose call is not waited for beyond the usual time,
/// because calls for the key have failed, of whatever request.
pub(crate) fn fallback_while_failing<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
) -> Option<StaleUse> {
    if !fill.miss.has_stale() {
        return None;
    }
    let now = state.now();
    let failures = &state.shared.origin.failures;
    let mut uses = failures.failing(&fill.miss.lookup_key, now);
    uses.find(|use_| stale_hit(fill, *use_, now).is_some())
}
