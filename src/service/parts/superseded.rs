//! Parts that are removed when the whole response is stored, so that they do not come back when it
//! is evicted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::backend::{Backend, CacheKey, Put, StoredResponse};
use crate::flight::Audience;
use crate::semantics::freshness::Freshness;
use crate::semantics::freshness::Staleness;
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::StoragePolicy;
use crate::state::LayerState;
use crate::state::failure_log::Operation;

/// Stored parts of a response that is about to be stored whole.
pub(crate) struct SupersededParts<F> {
    whole: CacheKey,
    fence: F,
    identity: Arc<[u8]>,
}

impl<F: Clone> SupersededParts<F> {
    pub(crate) fn new(whole: CacheKey, response: &StoredResponse, fence: &F) -> Self {
        Self {
            whole,
            fence: fence.clone(),
            identity: response.identity().into(),
        }
    }

    /// Removes the parts. If that fails they stay, and are fresh, until they expire.
    pub(crate) async fn remove<B: Backend<Fence = F>>(self, state: &LayerState<B>) {
        forget_parts(self, state).await;
    }
}

async fn forget_parts<B: Backend>(parts: SupersededParts<B::Fence>, state: &LayerState<B>) {
    let now = state.now();
    let grant = StoragePolicy {
        freshness: Freshness {
            received: now,
            initial_age: Duration::ZERO,
            lifetime: Some(Duration::from_secs(1)),
            stale: Staleness::default(),
            immutable: false,
        },
        selected: None,
        groups: Box::default(),
        withheld: Box::default(),
    };
    let nothing = StoredHead::from_owned(parts.identity, StatusCode::OK, HeaderMap::new(), grant);
    let nothing = nothing.with_body(Bytes::new(), None, Duration::ZERO);
    let store = &state.shared.store;
    let key = parts.whole.for_partial_content(&store.seed);
    let put = store.backend.put(&key, parts.fence, Arc::new(nothing), now);
    match put.await {
        Ok(Put::Stored) => {
            let keys = &state.shared.partial_keys;
            keys.forget(&parts.whole, Audience::Everyone);
        }
        Ok(Put::Superseded | Put::TooLarge) => {}
        Err(error) => state.backend_failed(Operation::Store, &error),
    }
}
