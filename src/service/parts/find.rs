//! Looks stored parts up, and answers from them where they hold all that a request wants.

use http::header::{IF_MATCH, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, Method};

use crate::backend::{Backend, Lookup};
use crate::semantics::reason::FetchReason;
use crate::semantics::reuse::Selection;
use crate::semantics::reuse::{Candidate, ReuseDecision, decide_reuse};
use crate::semantics::validation::strong_validator;
use crate::service::fill_data::{Completion, Fill, HeldParts, Hit};
use crate::service::lookup::detached_body::read_whole;
use crate::service::lookup::selects;
use crate::service::respond::Responder;
use crate::service::select::cut_ranges::Source;
use crate::service::select::stored::selection_of;
use crate::service::served::Served;
use crate::state::LayerState;
use crate::state::throttled_log::Operation;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::backend::StoredResponse;

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
pub(crate) async fn answer_from_parts<B: Backend, Res>(
    state: &LayerState<B>,
    fill: &mut Fill<B::Fence>,
    headers: &HeaderMap,
    can_repeat: bool,
) -> Option<Served<Res>> {
    let mut held = find_parts(state, fill, headers).await?;
    let now = state.now();
    let found = Candidate::Response(&*held.response);
    if let ReuseDecision::Fresh { age, left } = decide_reuse(&fill.key.directives, found, now) {
        let hit = Hit::fresh(held.response.clone(), age, left);
        if let Some(served) = Responder::new(state).hit_with_part(&hit, headers) {
            return Some(served);
        }
    }
    if can_repeat && !state.is_contradicted(&held.lookup_key) {
        held.completion = completion(&held.response, headers);
    }
    if held.completion.is_some() {
        fill.miss.reason = FetchReason::Partial;
    }
    fill.miss.parts = Some(Box::new(held));
    None
}

/// The stored parts for a request. A backend that fails is logged, and has none.
pub(crate) async fn find_parts<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    headers: &HeaderMap,
) -> Option<HeldParts<B::Fence>> {
    let store = &state.shared.store;
    let key = fill.key.key.for_partial_content(&store.seed);
    let (mut lookup, lookup_key) = store
        .lookup_with_vary(&key, headers, state.now())
        .await
        .inspect_err(|error| state.backend_failed(Operation::Lookup, error))
        .ok()?;
    state.count_copy(&mut lookup);
    let Lookup::Found(response, fence) = lookup else {
        return None;
    };
    let response = read_whole(state, response)
        .await
        .inspect_err(|error| state.backend_failed(Operation::Lookup, error))
        .ok()??;
    let is_usable = response.identity() == &*fill.key.identity
        && response.parts().is_some()
        && selects(&response, headers);
    is_usable.then_some(HeldParts {
        response,
        lookup_key,
        fence,
        completion: None,
    })
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
    if missing.is_empty() || missing == all {
        return None;
    }
    let source = Source::from_stored(stored);
    let slice = |part: Range<u64>| match part.is_empty() {
        true => Some(Bytes::new()),
        false => source.slice(&part),
    };
    let around = [
        slice(all.start..missing.start)?,
        slice(missing.end..all.end)?,
    ];
    Some(Completion {
        stored: stored.clone(),
        validator,
        wanted,
        missing,
        around,
    })
}
