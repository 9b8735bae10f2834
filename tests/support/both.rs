//! A backend that answers at once, and one that waits: results must not depend on the timing.

use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Either, MemoryBackend};

use super::yielding::{Yielding, yielding};

pub type AnyBackend = Either<MemoryBackend, Yielding<MemoryBackend>>;

pub fn both_backends() -> [AnyBackend; 2] {
    [
        Either::Left(MemoryBackend::default()),
        Either::Right(yielding(MemoryBackend::default())),
    ]
}

/// Plays a scenario with a cache on each.
pub async fn on_both_backends(scenario: impl AsyncFn(CacheLayer<AnyBackend>)) {
    for backend in both_backends() {
        scenario(CacheLayer::new(backend)).await;
    }
}
