//! A lookup whose outcome is looked at and not acted on.

use std::sync::Arc;

use http::HeaderMap;

use super::judge_waited;
use super::outcome::{LookupOutcome, LookupResult};
use crate::backend::{Backend, BackendError, Lookup, StoredResponse, VaryRule};
use crate::service::request::route::RequestKey;
use crate::state::LayerState;

/// What a lookup has found, and what it makes of it.
pub(crate) struct Examined<F> {
    pub(crate) outcome: LookupOutcome<F>,
    /// The response that was found, if any: it may belong to another key, or to other requests.
    pub(crate) found: Option<Arc<StoredResponse>>,
    /// The rule that selects between the responses of the key, if there are several.
    pub(crate) rule: Option<Arc<VaryRule>>,
}

/// Looks a request up by [`peek`](Backend::peek), and decides on it by the rules of a read that has
/// to wait for its backend. No body is read, and nothing is counted or remembered.
///
/// # Errors
/// If the backend fails.
pub(crate) async fn examine<B: Backend>(
    state: &LayerState<B>,
    key: &RequestKey,
    headers: &HeaderMap,
) -> Result<Examined<B::Fence>, BackendError> {
    let completed_fills = state.shared.coalescing.flights.completed_fills(&key.key);
    let store = &state.shared.store;
    let (lookup, lookup_key, rule) = store.peek(&key.key, headers, state.now()).await?;
    let found = match &lookup {
        Lookup::Found(response, _) => Some(response.clone()),
        _ => None,
    };
    let own_rule = found.as_ref().and_then(|found| found.vary_rule());
    let rule = own_rule.cloned().or(rule);
    let result = LookupResult {
        lookup,
        lookup_key,
        completed_fills,
    };
    let outcome = judge_waited(state, key, headers, result);
    Ok(Examined {
        outcome,
        found,
        rule,
    })
}
