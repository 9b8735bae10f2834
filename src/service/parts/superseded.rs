//! Parts that are removed when the whole response is stored, so that they do not come back when it
//! is evicted.

use crate::backend::Backend;
use crate::key::CacheKey;
use crate::state::LayerState;
use crate::state::throttled_log::Operation;

/// Stored parts of a response that is about to be stored whole.
pub(crate) struct SupersededParts<F> {
    whole: CacheKey,
    fence: F,
}

impl<F: Clone> SupersededParts<F> {
    /// The parts of the response at this key, under the fence of its store.
    pub(crate) fn new(whole: CacheKey, fence: &F) -> Self {
        Self {
            whole,
            fence: fence.clone(),
        }
    }

    /// Removes the parts. If that fails they stay, and are fresh, until they expire.
    pub(crate) async fn remove<B: Backend<Fence = F>>(self, state: &LayerState<B>) {
        let store = &state.shared.store;
        let key = self.whole.for_partial_content(&store.seed);
        match store.backend.remove(&key, self.fence).await {
            Ok(true) => {
                let keys = &state.shared.partial_keys;
                keys.forget(&self.whole);
            }
            Ok(false) => {}
            Err(error) => state.backend_failed(Operation::Store, &error),
        }
    }
}
