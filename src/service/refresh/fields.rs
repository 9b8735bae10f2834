//! The fields with which a refresh is made.
//!
//! Start at [`make_whole`] and [`has_replaced_fields`].

use std::sync::Arc;

use http::{HeaderName, Method, Request};

use crate::backend::{Backend, StoredResponse};
use crate::semantics::reuse::is_condition_or_range;
use crate::service::lookup::selects;
use crate::service::request::outgoing::copy_of_head;
use crate::service::request::route::{RequestKey, Route, classify};
use crate::state::LayerState;
use crate::state::proven_requests::FoundRequest;

/// Makes a request one for the whole response, whatever part of it its client was content with.
pub(super) fn make_whole<Req>(request: &mut Request<Req>) {
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    let conditions = headers.keys().filter(|name| is_condition_or_range(name));
    for name in conditions.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// Gives a request the fields of a proven one, unless a key hook makes another key of it then, or
/// they select another variant: the call has the validators of this one. Its response is still
/// judged by its own kind: its extensions, which may tell the client, stay.
pub(super) fn has_replaced_fields<B: Backend, Req>(
    state: &LayerState<B>,
    proven: &FoundRequest,
    request: &mut Request<Req>,
    (key, stored): (&RequestKey, Option<&Arc<StoredResponse>>),
) -> bool {
    let own = request.headers().clone();
    let selection = stored.and_then(|stored| stored.vary_selection());
    let is_selecting = |name: &HeaderName| {
        selection.is_some_and(|selection| selection.rule().names().contains(name))
    };
    let credentials = &state.config.credential_fields;
    proven.replace_fields(request.headers_mut(), credentials, is_selecting);
    let is_selected = stored.is_none_or(|stored| selects(stored, request.headers()));
    if is_selected && has_key(state, request, key) {
        return true;
    }
    *request.headers_mut() = own;
    false
}

/// Whether a request has a key. Without a hook its key depends on its target and host alone.
fn has_key<B: Backend, Req>(
    state: &LayerState<B>,
    request: &Request<Req>,
    key: &RequestKey,
) -> bool {
    if !state.config.has_key_hook() {
        return true;
    }
    let head = copy_of_head(request);
    let route = classify(&state.config, &state.shared.store.seed, &head);
    matches!(route, Route::Read(read) if read.key == key.key)
}
