//! Options for the clock and the source of random numbers.

use std::sync::Arc;

use super::CacheLayer;
use crate::backend::Backend;
use crate::clock::Clock;
use crate::random::Random;

/// # Time and randomness
///
/// A test can replace both, to decide when a response expires and which requests refresh it early.
///
/// ```
/// use tower_response_cache::random::SeededRandom;
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// let layer = CacheLayer::new(MemoryBackend::default())
///     .early_refresh(1.0)
///     .random(SeededRandom::new(7));
/// ```
impl<B: Backend> CacheLayer<B> {
    /// Sets the clock that ages and lifetimes are computed from.
    ///
    /// Default: [`SystemClock`](crate::clock::SystemClock). Timeouts use tokio's timers, which this
    /// clock does not move.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        self.with(|config| config.clock = Arc::new(clock))
    }

    /// Sets the source of random numbers for [`early_refresh`](Self::early_refresh) and
    /// [`ttl_jitter`](Self::ttl_jitter).
    ///
    /// Default: [`SeededRandom`](crate::random::SeededRandom) with a random seed.
    #[must_use]
    pub fn random(self, random: impl Random) -> Self {
        self.with(|config| config.random = Arc::new(random))
    }
}
