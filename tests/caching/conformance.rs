//! Backends and their wrappers keep the contract.

use tower_response_cache::backend::conformance::check;
use tower_response_cache::backend::{Either, Guarded, MemoryBackend};

use crate::support::yielding::yielding;

fn memory() -> MemoryBackend {
    MemoryBackend::new(1 << 20)
}

#[tokio::test(start_paused = true)]
async fn a_guarded_backend_keeps_the_contract() {
    check(|| Guarded::new(memory())).await;
}

#[tokio::test(start_paused = true)]
async fn a_guarded_backend_that_waits_keeps_the_contract() {
    check(|| Guarded::new(yielding(memory()))).await;
    check(|| yielding(Guarded::new(memory()))).await;
}

#[tokio::test]
async fn every_backend_keeps_the_contract() {
    check(MemoryBackend::default).await;
    check(|| yielding(MemoryBackend::default())).await;
    check(|| Some(MemoryBackend::default())).await;
    check(|| Either::<_, MemoryBackend>::Left(MemoryBackend::default())).await;
    check(|| Either::<MemoryBackend, _>::Right(yielding(MemoryBackend::default()))).await;
}
