//! What a 200 to HEAD says of the response stored for GET (RFC 9111 §4.3.5): it is updated if it is
//! described, and invalidated if another one is.

use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::{Method, Response, StatusCode, response};

use crate::backend::{Backend, InvalidationTarget, StoredResponse};
use crate::semantics::stored::StoredHead;
use crate::semantics::stored::updated_headers;
use crate::semantics::storing::{RequestHead, StoringRules};
use crate::semantics::validation::{HeadComparison, compare_with_head};
use crate::service::fill_data::Fill;
use crate::service::parts::find::find_parts;
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::storing_permission::{
    check_group_grace, storage_decision, storage_fence, storing_rules, variant_key,
};
use crate::state::LayerState;

/// Updates or invalidates the stored response, by the response to a HEAD.
pub(crate) async fn update_from_head<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
    head: &response::Parts,
) {
    if head.status != StatusCode::OK || outgoing.is_partial() {
        return;
    }
    if fill.miss.stored_response().is_none() {
        return check_parts(state, fill, outgoing, head).await;
    }
    // One that was invalidated before the call is not stored again.
    let Some(stored) = fill.miss.confirmable() else {
        return;
    };
    let described = match stored.status() {
        StatusCode::OK => compare_with_head(&head.headers, stored.headers()),
        _ => HeadComparison::Differs,
    };
    match described {
        HeadComparison::Matches => update(state, fill, outgoing, head, stored).await,
        HeadComparison::Differs => invalidate_stored(state, fill).await,
        HeadComparison::Unknown => {}
    }
}

/// Invalidates stored parts, if the response to a HEAD describes another representation.
async fn check_parts<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
    head: &response::Parts,
) {
    if !state.is_partly_stored(&fill.key.key) {
        return;
    }
    let Some(parts) = find_parts(state, fill, &outgoing.headers).await else {
        return;
    };
    let mut fields = parts.response.headers().clone();
    // The length of the stored parts is not that of the whole.
    fields.remove(CONTENT_LENGTH);
    if let HeadComparison::Differs = compare_with_head(&head.headers, &fields) {
        invalidate_stored(state, fill).await;
    }
}

/// Invalidates the resource. A failure is counted and logged there.
async fn invalidate_stored<B: Backend>(state: &LayerState<B>, fill: &Fill<B::Fence>) {
    let target = InvalidationTarget::Resource(*fill.key.key.resource());
    let _ = state.invalidate(target).await;
}

/// Stores the stored response anew, with updated fields.
async fn update<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
    head: &response::Parts,
    stored: &StoredResponse,
) {
    let Ok(fence) = storage_fence(state, fill, outgoing.at) else {
        return;
    };
    let (mut updated, ()) = Response::new(()).into_parts();
    updated.headers = updated_headers(stored, &head.headers);
    let asked = RequestHead {
        method: &Method::GET,
        ..outgoing.asked()
    };
    let rules = StoringRules {
        existing: Some(stored.status()),
        ..storing_rules(&state.config, &updated)
    };
    let body = http_body_util::Full::new(stored.body().clone());
    let identity = fill.key.identity.clone();
    let judged = (&updated, &body);
    let Ok(grant) = storage_decision(state, asked, &identity, judged, rules) else {
        return;
    };
    if check_group_grace(state, &grant.groups, outgoing.at).is_err() {
        return;
    }
    let key = variant_key(state, fill.key.key, &grant, &outgoing.headers);
    let response = StoredHead::from_owned(identity, stored.status(), updated.headers, grant)
        .with_body(
            stored.body().clone(),
            stored.trailers().cloned(),
            stored.cost(),
        );
    let backend = &state.shared.store.backend;
    let put = backend
        .put(&key, fence, Arc::new(response), state.now())
        .await;
    state.record_put(&put);
}
