//! A lookup whose outcome is looked at and not acted on.

use std::sync::Arc;

use http::HeaderMap;

use super::outcome::LookupOutcome;
use super::{judge_waited, look_up_once};
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

/// Looks a request up as a read does that has to wait for its backend, and decides on it by the
/// same rules. The backend is asked once more if the responses of the key vary. No body is read.
///
/// # Errors
/// If the backend fails.
pub(crate) async fn examine<B: Backend>(
    state: &LayerState<B>,
    key: &RequestKey,
    headers: &HeaderMap,
) -> Result<Examined<B::Fence>, BackendError> {
    let result = look_up_once(state, key, headers).await?;
    let found = match &result.lookup {
        Lookup::Found(response, _) => Some(response.clone()),
        _ => None,
    };
    let rule = match found.as_ref().and_then(|found| found.vary_rule()) {
        Some(rule) => Some(rule.clone()),
        None if result.lookup_key == key.key => None,
        None => match state
            .shared
            .store
            .backend
            .get(&key.key, state.now())
            .await?
        {
            Lookup::Varies(rule, _) => Some(rule),
            _ => None,
        },
    };
    let outcome = judge_waited(state, key, headers, result);
    Ok(Examined {
        outcome,
        found,
        rule,
    })
}
