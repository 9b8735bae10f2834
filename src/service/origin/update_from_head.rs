//! What a 200 to HEAD says of the response stored for GET (RFC 9111 §4.3.5): it updates the one
//! entry that it describes, or makes it stale.
//!
//! That entry is the one that the HEAD itself would be answered from. It stays under its key, and
//! no other entry is touched.

use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, response};

use crate::backend::{Backend, Lookup, StoredResponse};
use crate::key::CacheKey;
use crate::policy::CachePolicy;
use crate::semantics::stored::StoredHead;
use crate::semantics::stored::updated_headers;
use crate::semantics::storing::{RequestHead, StoragePolicy, StoringRules};
use crate::semantics::validation::{HeadComparison, compare_with_head};
use crate::service::fill_data::Fill;
use crate::service::lookup::lookups::find_parts;
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::storing_permission::{
    Asked, check_group_grace, storage_decision_of, storage_fence, storing_rules, variant_key,
};
use crate::state::LayerState;
use crate::state::throttled_log::Operation;

/// The entry that a HEAD selects.
struct SelectedEntry {
    key: CacheKey,
    response: Arc<StoredResponse>,
}

/// Updates the stored response by the response to a HEAD, or makes it stale.
pub(crate) async fn update_from_head<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
    head: &response::Parts,
) {
    if head.status != StatusCode::OK || outgoing.is_partial() {
        return;
    }
    let Ok(fence) = storage_fence(state, fill, outgoing.at) else {
        return;
    };
    let Some(entry) = selected_entry(state, fill, outgoing).await else {
        return;
    };
    let stored = &entry.response;
    let described = match stored.status() {
        StatusCode::OK => compare_with_head(&head.headers, &headers_of_whole(stored)),
        _ => HeadComparison::Differs,
    };
    let headers = updated_headers(stored, &head.headers);
    // A response that is for one client alone, or not to be stored, says nothing of one for all.
    let as_get = as_get(head, &headers);
    let Some(policy) = policy_as_get(state, fill, outgoing, &as_get, stored) else {
        return;
    };
    let replacement = match described {
        HeadComparison::Matches => updated(state, fill, outgoing, &entry, (headers, policy)),
        HeadComparison::Differs => stored.made_stale(state.now()),
        HeadComparison::Unknown => None,
    };
    if let Some(replacement) = replacement {
        replace(state, fence, &entry, replacement).await;
    }
}

/// The entry that the HEAD itself would be answered from: the stored response, or else stored
/// parts. One that was invalidated before the call is not stored again.
async fn selected_entry<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
) -> Option<SelectedEntry> {
    if fill.miss.stored_response().is_some() {
        return Some(SelectedEntry {
            key: fill.miss.lookup_key,
            response: fill.miss.confirmable()?.clone(),
        });
    }
    if !state.is_partly_stored(&fill.key.key) {
        return None;
    }
    let parts = find_parts(state, &fill.key, &outgoing.headers).await?;
    let backend = &state.shared.store.backend;
    backend
        .is_still_valid(&parts.lookup_key, &parts.response, &parts.fence)
        .then_some(SelectedEntry {
            key: parts.lookup_key,
            response: parts.response,
        })
}

/// The stored fields, with the length of the whole representation where parts of it are stored.
fn headers_of_whole(stored: &StoredResponse) -> HeaderMap {
    let mut headers = stored.headers();
    if let Some(parts) = stored.parts() {
        let length = HeaderValue::from(parts.complete_length());
        headers.insert(CONTENT_LENGTH, length);
    }
    headers
}

/// The head of a 200 to GET with these fields and the policy of a response to HEAD.
fn as_get(head: &response::Parts, headers: &HeaderMap) -> response::Parts {
    let (mut as_get, ()) = Response::new(()).into_parts();
    as_get.headers = headers.clone();
    as_get
        .extensions
        .extend(CachePolicy::kept(&head.extensions));
    as_get
}

/// How a response to GET with this head would be stored in place of the entry.
fn policy_as_get<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
    as_get: &response::Parts,
    stored: &StoredResponse,
) -> Option<StoragePolicy> {
    let for_hooks = outgoing.for_hooks.as_ref().map(|request| {
        let mut get = request.clone();
        get.method = Method::GET;
        get
    });
    let asked = Asked {
        head: RequestHead {
            method: &Method::GET,
            ..outgoing.asked().head
        },
        for_hooks: for_hooks.as_deref(),
        received: outgoing.received,
        continued: Some(stored),
        is_assembled: false,
    };
    let mut rules = StoringRules {
        existing: Some(stored.status()),
        ..storing_rules(&state.config, asked, as_get).ok()?
    };
    let body = http_body_util::Full::new(stored.body());
    let judged = (as_get, &body);
    let policy = storage_decision_of(state, asked, &fill.key, judged, &mut rules).ok()?;
    if !fill.key.target(rules.is_private).is_own {
        return None;
    }
    check_group_grace(state, &policy.groups, outgoing.at).ok()?;
    Some(policy)
}

/// The stored response with updated fields. `None` for parts, which are validated when they are
/// completed, and if the fields select other requests than before.
fn updated<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
    entry: &SelectedEntry,
    (headers, policy): (HeaderMap, StoragePolicy),
) -> Option<StoredResponse> {
    let stored = &entry.response;
    let key = variant_key(state, fill.key.key, &policy, &outgoing.headers);
    if stored.parts().is_some() || key != entry.key {
        return None;
    }
    let identity = fill.key.identity.clone();
    let head = StoredHead::new(identity, stored.status(), &headers, policy);
    let trailers = stored.trailers().cloned();
    Some(head.with_content(&stored.content(), trailers, stored.cost()))
}

/// Stores the changed response in place of the entry, unless that was invalidated or replaced since
/// the HEAD was sent.
async fn replace<B: Backend>(
    state: &LayerState<B>,
    fence: B::Fence,
    entry: &SelectedEntry,
    replacement: StoredResponse,
) {
    let backend = &state.shared.store.backend;
    let current = match backend.get(&entry.key, state.now()).await {
        Ok(Lookup::Found(current, _)) => current,
        Ok(_) => return,
        Err(error) => return state.backend_failed(Operation::Lookup, &error),
    };
    if !current.is_copy_of(&entry.response) {
        return;
    }
    let replacement = Arc::new(replacement);
    let put = backend.put(&entry.key, fence, replacement, state.now());
    if let Err(error) = put.await {
        state.backend_failed(Operation::Store, &error);
    }
}
