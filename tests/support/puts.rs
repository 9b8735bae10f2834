//! A backend in memory whose stores wait or fail, as those over a network do.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tower_response_cache::backend::{
    Backend, BackendError, ForwardBackend, MemoryBackend, PutOutcome, StoredResponse,
};
use tower_response_cache::clock::Moment;
use tower_response_cache::key::CacheKey;

type Fence = <MemoryBackend as Backend>::Fence;

#[derive(Clone, Debug)]
pub struct ScriptedPuts {
    backend: MemoryBackend,
    /// A store takes one; `None` lets all fail.
    permits: Option<Arc<Semaphore>>,
}

impl ScriptedPuts {
    /// Stores that wait for a permit.
    pub fn held() -> (Self, Arc<Semaphore>) {
        let permits = Arc::new(Semaphore::new(0));
        let backend = MemoryBackend::default();
        let held = Some(permits.clone());
        (
            Self {
                backend,
                permits: held,
            },
            permits,
        )
    }

    /// Stores that fail at once.
    pub fn failing() -> Self {
        Self {
            backend: MemoryBackend::default(),
            permits: None,
        }
    }
}

impl ForwardBackend for ScriptedPuts {
    type Inner = MemoryBackend;

    fn inner(&self) -> &MemoryBackend {
        &self.backend
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        let Some(permits) = &self.permits else {
            return Err(BackendError::new("no room"));
        };
        permits.acquire().await.expect("a permit").forget();
        self.backend.put(key, fence, response, now).await
    }
}
