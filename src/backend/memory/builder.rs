//! The options of a memory backend.

use std::sync::Arc;

use super::MemoryBackend;
use super::store::{MemoryOptions, MemoryStore};
use crate::backend::DEFAULT_MAX_VARIANTS;
use crate::key::DigestSeed;

const DEFAULT_CAPACITY: u64 = 64 * 1024 * 1024;
const DEFAULT_MAX_RESPONSE_SIZE: u64 = 2 * 1024 * 1024;

/// Builds a [`MemoryBackend`].
///
/// ```
/// use tower_response_cache::backend::MemoryBackend;
///
/// const MIB: u64 = 1024 * 1024;
/// let backend = MemoryBackend::builder()
///     .capacity(256 * MIB)
///     .max_response_size(5 * MIB)
///     .max_variants(16)
///     .build();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct MemoryBackendBuilder {
    capacity: u64,
    max_response_size: Option<u64>,
    max_variants: usize,
    seed: Option<DigestSeed>,
}

impl Default for MemoryBackendBuilder {
    fn default() -> Self {
        Self {
            capacity: DEFAULT_CAPACITY,
            max_response_size: None,
            max_variants: DEFAULT_MAX_VARIANTS,
            seed: None,
        }
    }
}

impl MemoryBackendBuilder {
    /// Sets how many bytes all entries together may take.
    ///
    /// Default: 64 MiB. With 0 nothing is stored.
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// Sets the largest response that is stored, in bytes of its
    /// [weight](crate::backend::StoredResponse::weight).
    ///
    /// Default: 2 MiB, or an eighth of the capacity if that is less. Values of more than half of
    /// the capacity count as half of it. With 0 nothing is stored.
    pub fn max_response_size(mut self, bytes: u64) -> Self {
        self.max_response_size = Some(bytes);
        self
    }

    /// Sets how many variants of one key are stored. Beyond it the oldest one that is not in use is
    /// removed.
    ///
    /// Default: 32.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn max_variants(mut self, count: usize) -> Self {
        assert!(count > 0, "max_variants must be at least 1");
        self.max_variants = count;
        self
    }

    /// Sets the seed of all digests, so that a run can be repeated exactly.
    ///
    /// Default: a random seed. A client that knows the seed could search for two requests with the
    /// same digest: set one in tests only.
    pub fn seed(mut self, seed: DigestSeed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Builds the backend.
    #[must_use]
    pub fn build(self) -> MemoryBackend {
        let default = DEFAULT_MAX_RESPONSE_SIZE.min(self.capacity / 8);
        let max_response_size = self.max_response_size.unwrap_or(default);
        let max_response_size = max_response_size.min(self.capacity / 2);
        let options = MemoryOptions {
            max_response_size,
            max_variants: self.max_variants,
            seed: self.seed.unwrap_or_else(DigestSeed::random),
        };
        MemoryBackend(Arc::new(MemoryStore::new(self.capacity, options)))
    }
}
