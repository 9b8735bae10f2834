//! The one source of chance.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Draws. Every closure `Fn() -> u64` is one.
pub trait Random: Send + Sync + 'static {
    /// 64 independent, evenly distributed bits.
    fn bits(&self) -> u64;
}

impl<F: Fn() -> u64 + Send + Sync + 'static> Random for F {
    fn bits(&self) -> u64 {
        self()
    }
}

/// SplitMix64: the same seed draws the same numbers. Not for secrets.
#[derive(Debug)]
pub struct SeededRandom(AtomicU64);

impl SeededRandom {
    /// A source with a seed of one's own, for runs that are to be repeated.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Default for SeededRandom {
    /// A seed that differs from process to process.
    fn default() -> Self {
        Self::new(RandomState::new().hash_one("tower-response-cache"))
    }
}

impl Random for SeededRandom {
    fn bits(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

/// A number above 0, up to 1.
pub(crate) fn uniform(random: &dyn Random) -> f64 {
    const STEPS: f64 = (1_u64 << 53) as f64;
    ((random.bits() >> 11) + 1) as f64 / STEPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself_and_draws_evenly() {
        let (one, same, other) = (
            SeededRandom::new(7),
            SeededRandom::new(7),
            SeededRandom::new(8),
        );
        assert!((0..100).all(|_| one.bits() == same.bits()));
        assert_ne!(one.bits(), other.bits());
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
