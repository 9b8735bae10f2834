//! Looks stored parts up, and answers from them where they hold all that a request wants.

use std::ops::Range;
use std::sync::Arc;

use http::header::{IF_MATCH, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, Method};

use crate::backend::{Backend, StoredResponse};
use crate::semantics::reason::FetchReason;
use crate::semantics::reuse::Selection;
use crate::semantics::reuse::{Candidate, ReuseDecision, decide_reuse};
use crate::semantics::validation::strong_validator;
use crate::service::fill_data::{Completion, Fill, Hit};
use crate::service::lookup::lookups::Lookups;
use crate::service::select::stored::selection_of;
use crate::state::LayerState;

/// Whether stored parts may answer or complete a request.
pub(crate) fn may_have_parts<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    method: &Method,
    headers: &HeaderMap,
) -> bool {
    let has = |name| headers.contains_key(name);
    method == Method::GET
        && state.config.store_parts
        && fill.miss.fence.is_some()
        && fill.miss.stored_response().is_none()
        && (state.is_partly_stored(&fill.key.key) || has(RANGE))
        && !has(IF_MATCH)
        && !has(IF_UNMODIFIED_SINCE)
}

/// Answers a GET from stored parts, where they hold all it wants and are fresh. If they hold some
/// of it, the fill notes how they complete the request, unless the request cannot be repeated.
pub(crate) async fn answer_from_parts<B: Backend>(
    state: &LayerState<B>,
    lookups: &mut impl Lookups<B>,
    fill: &mut Fill<B::Fence>,
    headers: &HeaderMap,
) -> Option<Hit> {
    let mut held = lookups.find_parts(state, &fill.key, headers).await?;
    let stored = &held.response;
    let found = Candidate::Response(&**stored);
    let why_useless = match decide_reuse(&fill.key.directives, found, state.now()) {
        ReuseDecision::Fresh { age, left } if are_enough(stored, headers) => {
            return Some(Hit::fresh(stored.clone(), age, left));
        }
        ReuseDecision::Fresh { .. } => FetchReason::Partial,
        // Parts are not used stale.
        ReuseDecision::StaleWhileRevalidate | ReuseDecision::MaxStale => FetchReason::Stale,
        ReuseDecision::Fetch(reason) | ReuseDecision::GatewayTimeout(reason) => reason,
    };
    lookups.note_useless_parts(why_useless);
    if lookups.can_repeat(state) && !state.is_contradicted(&held.lookup_key) {
        held.completion = completion(stored, headers);
    }
    if held.completion.is_some() {
        fill.miss.reason = FetchReason::Partial;
    }
    fill.miss.parts = Some(Box::new(held));
    None
}

/// Whether stored parts hold what a GET with these fields wants, which is not the whole.
fn are_enough(stored: &StoredResponse, headers: &HeaderMap) -> bool {
    let Some(parts) = stored.parts() else {
        return false;
    };
    let is_held = |part: &Range<u64>| parts.find(part).is_some();
    match selection_of(stored, &Method::GET, headers) {
        Selection::Whole => false,
        Selection::NotModified | Selection::Unsatisfiable => true,
        Selection::Part(part) => is_held(&part),
        Selection::Parts(parts) => parts.iter().all(is_held),
    }
}

/// How stored parts complete a request: if it wants one range or all, some of that is stored, and
/// a strong validator can tell the representation from any other (RFC 9111 §3.4).
fn completion(stored: &Arc<StoredResponse>, headers: &HeaderMap) -> Option<Completion> {
    let received = stored.freshness().received;
    let validator = strong_validator(&stored.headers(), received)?.clone();
    let parts = stored.parts()?;
    let wanted = if headers.contains_key(RANGE) {
        match selection_of(stored, &Method::GET, headers) {
            Selection::Part(part) => Some(part),
            _ => return None,
        }
    } else {
        None
    };
    let all = wanted.clone().unwrap_or(0..parts.complete_length());
    let missing = parts.gap(&all);
    (!missing.is_empty() && missing != all).then(|| Completion {
        stored: stored.clone(),
        validator,
        wanted,
        missing,
    })
}
