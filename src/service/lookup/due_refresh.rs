//! Whether a hit is refreshed in the background.
//!
//! Knows the notes on earlier refreshes and refusals. The lookup has found before that the response
//! may be used. Start reading with [`due_refresh`].

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, StoredResponse};
use crate::random::uniform;
use crate::semantics::freshness::{StoredTimes, early_refresh};
use crate::semantics::moment::Moment;
use crate::semantics::reason::{Refresh, StaleUse};
use crate::semantics::request_kind::RequestKind;
use crate::service::fill_data::Miss;
use crate::shares::ClientId;
use crate::state::LayerState;
use crate::state::noted_requests::{NotedKey, RequestDigest};
use crate::state::origin_failures::Backoff;
use crate::state::uncacheable::ExpectedRefusal;

/// A refresh that a hit is due for.
pub(crate) struct DueRefresh<F> {
    pub(crate) reason: Refresh,
    /// The kind of the request that was answered, which makes the call.
    pub(crate) kind: RequestKind,
    /// Its digest.
    pub(crate) request: RequestDigest,
    /// The failures of other refreshes.
    pub(crate) backoff: Backoff,
    /// Whether a request with the same fields has brought a response.
    pub(crate) is_working: bool,
    pub(crate) miss: Miss<F>,
}

impl<F> DueRefresh<F> {
    /// Notes the client of the request, which the lookup does not see. Its own failures count.
    pub(crate) fn note_client<B: Backend>(&mut self, state: &LayerState<B>, client: ClientId) {
        self.request = self.request.with_client(Some(client));
        let noted = NotedKey::new(&self.miss.lookup_key, self.kind);
        let (origin, now) = (&state.shared.origin, state.now());
        self.backoff = origin.failures.backoff(noted, now, || self.request);
        self.is_working = origin.is_working((noted, self.request), self.backoff, now);
    }
}

/// The request that would make the call.
pub(super) struct RefreshingRequest {
    pub(super) kind: RequestKind,
    pub(super) digest: RequestDigest,
    /// Whether its response may be stored, as far as it says itself.
    pub(super) is_for_store: bool,
    pub(super) now: Moment,
}

/// What becomes of a response that is due for a refresh.
pub(super) enum RefreshDecision<F> {
    /// It is used without one.
    None,
    /// It is used, and refreshed.
    Refresh(Box<DueRefresh<F>>),
    /// It is not used, or only once a call has brought nothing: the request itself calls.
    Fetch(Miss<F>),
}

/// Whether a response that is still fresh is refreshed now (XFetch).
pub(super) fn is_early_refresh_due<B: Backend>(
    state: &LayerState<B>,
    response: &StoredResponse,
    left: Option<Duration>,
) -> bool {
    let (Some(beta), Some(left)) = (state.config.early_refresh, left) else {
        return false;
    };
    // RFC 8246 §2: an immutable response is not refreshed while it is fresh.
    if response.is_immutable() {
        return false;
    }
    let cost = response.cost();
    early_refresh::is_near(left, cost, beta)
        && early_refresh::is_due(left, cost, beta, uniform(&*state.config.random))
}

/// The time for which a response has been stale.
fn stale_for(response: &StoredResponse, now: Moment) -> Duration {
    let lifetime = response.lifetime().unwrap_or(Duration::MAX);
    response.age(now).saturating_sub(lifetime)
}

/// Decides whether a response that may be used, and is due for a refresh, gets one.
pub(super) fn due_refresh<B: Backend>(
    state: &LayerState<B>,
    response: &Arc<StoredResponse>,
    reason: Refresh,
    mut miss: Miss<B::Fence>,
    request: RefreshingRequest,
) -> RefreshDecision<B::Fence> {
    let RefreshingRequest {
        kind, digest, now, ..
    } = request;
    let (shared, key) = (&state.shared, &miss.lookup_key);
    let (uncacheable, noted) = (&shared.coalescing.uncacheable, NotedKey::new(key, kind));
    // Nothing could run the refresh, or its response could not be stored.
    let is_useless = !request.is_for_store
        || uncacheable.was_refused((noted, digest), now)
        || shared.background.runtime_for_new_work().is_none();
    match reason {
        Refresh::Early if is_useless => return RefreshDecision::None,
        Refresh::Early => {}
        Refresh::Stale if is_useless => return RefreshDecision::Fetch(miss),
        Refresh::Stale => {
            let stale_for = stale_for(response, now);
            match uncacheable.expected_of_refresh((noted, digest), now, stale_for) {
                ExpectedRefusal::No => {}
                ExpectedRefusal::Alike => return RefreshDecision::Fetch(miss),
                ExpectedRefusal::OfMany => {
                    miss.fallback = Some(StaleUse::WhileRevalidate);
                    return RefreshDecision::Fetch(miss);
                }
            }
        }
    }
    let failures = &shared.origin.failures;
    let backoff = failures.backoff(noted, now, || digest);
    let is_working = shared.origin.is_working((noted, digest), backoff, now);
    let may_be_short = || {
        let short = state.short_refreshes((key, kind), digest, (response.cost(), now));
        short.is_some()
    };
    if backoff >= Backoff::OfMany && !is_working && !may_be_short() {
        return RefreshDecision::None;
    }
    miss.note_answered_with(response.clone());
    RefreshDecision::Refresh(Box::new(DueRefresh {
        reason,
        kind,
        request: digest,
        backoff,
        is_working,
        miss,
    }))
}
