//! The source of random numbers, for early refreshes, jitter and backoff.
//!
//! Knows nothing of caching. Start at [`Random`]; a test passes a [`SeededRandom`] to
//! [`CacheLayer::random`](crate::CacheLayer::random), so that its run can be repeated.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random numbers. Every closure `Fn() -> u64` implements it.
///
/// The numbers need not be suitable for secrets: the cache uses them to spread work over time.
pub trait Random: Send + Sync + 'static {
    /// Returns 64 independent, evenly distributed bits.
    fn next_u64(&self) -> u64;
}

impl<F: Fn() -> u64 + Send + Sync + 'static> Random for F {
    fn next_u64(&self) -> u64 {
        self()
    }
}

/// A SplitMix64 generator: the same seed yields the same numbers. Not suitable for secrets.
///
/// The default has a seed that differs between processes.
#[derive(Debug)]
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    /// Creates a generator with a given seed, for runs that can be repeated.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Default for SeededRandom {
    fn default() -> Self {
        // std seeds its hash maps from the operating system's source.
        Self::new(RandomState::new().hash_one("tower-response-cache"))
    }
}

impl Random for SeededRandom {
    fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

/// Returns 128 bits that no client can predict: for a key of digests, or a name that must not occur
/// in foreign data.
pub(crate) fn unpredictable_u128() -> u128 {
    // std keys its hashers from the operating system's source. Each thread has keys of its own,
    // and each state another one.
    let half = || u128::from(RandomState::new().hash_one("tower-response-cache"));
    half() << 64 | half()
}

/// Returns an evenly distributed number greater than 0 and at most 1.
///
/// Zero is excluded because callers take its logarithm.
pub(crate) fn uniform(random: &dyn Random) -> f64 {
    const STEPS: f64 = (1_u64 << 53) as f64;
    ((random.next_u64() >> 11) + 1) as f64 / STEPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_yields_the_same_evenly_distributed_numbers_again() {
        let (one, same, other) = (
            SeededRandom::new(7),
            SeededRandom::new(7),
            SeededRandom::new(8),
        );
        assert!((0..100).all(|_| one.next_u64() == same.next_u64()));
        assert_ne!(one.next_u64(), other.next_u64());
        let mut tenths = [0_u32; 10];
        for _ in 0..10_000 {
            let drawn = uniform(&one);
            assert!(drawn > 0.0 && drawn <= 1.0);
            tenths[(drawn * 10.0).min(9.0) as usize] += 1;
        }
        assert!(
            tenths.iter().all(|count| (900..1100).contains(count)),
            "{tenths:?}"
        );
    }
}
