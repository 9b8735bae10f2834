//! The contract, held by what wraps a backend.

use tower_response_cache::backend::conformance::check;
use tower_response_cache::backend::{Guarded, MemoryBackend};

use crate::support::yielding::Yielding;

fn memory() -> MemoryBackend {
    MemoryBackend::new(1 << 20)
}

#[tokio::test(start_paused = true)]
async fn a_guarded_backend_keeps_the_contract() {
    check(|| Guarded::new(memory())).await;
}

#[tokio::test(start_paused = true)]
async fn a_guarded_backend_that_waits_keeps_the_contract() {
    check(|| Guarded::new(Yielding(memory()))).await;
    check(|| Yielding(Guarded::new(memory()))).await;
}
