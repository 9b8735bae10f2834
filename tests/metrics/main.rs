//! What the cache counts: each request once, by its result; and the metrics that are made of that.

#[path = "../support/mod.rs"]
mod support;

mod broken_bodies;
mod bytes;
mod durations;
#[cfg(feature = "metrics")]
mod facade;
mod invalidations;
#[cfg(feature = "serde")]
mod json;
mod origin;
mod requests;
mod silence;
mod spans;
mod text;

use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::stats::{RequestResult, Stats};

use crate::support::time::in_virtual_time;

fn layer() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default())
}

/// The requests that were counted since, by result: those without any are left out.
fn counted_since<B: Backend>(before: &Stats, layer: &CacheLayer<B>) -> Vec<(RequestResult, u64)> {
    let now = layer.handle().stats();
    let counts = now.requests.iter();
    counts
        .map(|(result, count)| (result, count - before.requests.get(result)))
        .filter(|(_, count)| *count > 0)
        .collect()
}
