//! The sizes of the replies that lookups are going to have, as far as they are known.
//!
//! A batch is bounded by the bytes that are still to come. What a key had last time is known for
//! most; for the others, a guess follows recent surprises. Knows no batches. Start with
//! [`ReplySizes::expected`].

use std::iter::Sum;
use std::ops::Add;

use crate::key::CacheKey;

/// The number of keys that can be told apart. Others share a size, which is then one of either.
const SLOTS: usize = 8192;
/// The resolution, in bytes. The largest entry, of more than 32 KiB, fits in a byte of them.
const UNIT: usize = 256;
const FIRST_GUESS: usize = 16 * 1024;
/// A lower guess would make no larger batches.
const MIN_GUESS: usize = 4 * 1024;
const MAX_GUESS: usize = 64 * 1024;

/// The mean size of entries that are not known, before any was seen.
const FIRST_MEAN: usize = 4 * 1024;

/// The bytes that are expected in a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReplySize {
    /// With a cautious guess where a size is not known: one reply has no more.
    pub(super) most: usize,
    /// With the mean where a size is not known: many replies together have as much.
    pub(super) mean: usize,
}

impl Add for ReplySize {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            most: self.most + other.most,
            mean: self.mean + other.mean,
        }
    }
}

impl Sum for ReplySize {
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self { most: 0, mean: 0 }, Self::add)
    }
}

/// The size of the entry that each key had last.
#[derive(Debug)]
pub(super) struct ReplySizes {
    /// In units; 0 if it is not known.
    sizes: Box<[u8]>,
    /// The size of an entry that is not known. It grows at once and shrinks slowly.
    guess: usize,
    /// The mean size of recent entries that were not known.
    mean: usize,
}

impl ReplySizes {
    pub(super) fn new() -> Self {
        Self {
            sizes: vec![0; SLOTS].into(),
            guess: FIRST_GUESS,
            mean: FIRST_MEAN,
        }
    }

    /// Returns how many bytes the entry of a key is expected to have.
    pub(super) fn expected(&self, key: &CacheKey) -> ReplySize {
        let (most, mean) = match self.sizes[slot(key)] {
            0 => (self.guess, self.mean),
            units => (usize::from(units) * UNIT, usize::from(units) * UNIT),
        };
        ReplySize { most, mean }
    }

    /// Records the size of an entry, 0 if it is absent: another instance may store one of any size.
    pub(super) fn record(&mut self, key: &CacheKey, bytes: usize) {
        let size = &mut self.sizes[slot(key)];
        if *size == 0 {
            let less = self.guess - self.guess / 8;
            self.guess = bytes.max(less).clamp(MIN_GUESS, MAX_GUESS);
            // Also an absent entry has a place in the reply, and names in the command.
            self.mean = (self.mean * 7 + bytes.clamp(UNIT, MAX_GUESS)) / 8;
        }
        *size = u8::try_from(bytes.div_ceil(UNIT)).unwrap_or(u8::MAX);
    }
}

fn slot(key: &CacheKey) -> usize {
    (key.short_digest() % SLOTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> CacheKey {
        CacheKey::for_path(&format!("/{number}"))
    }

    #[test]
    fn an_entry_is_expected_to_have_the_size_that_it_had() {
        let mut sizes = ReplySizes::new();
        for (bytes, expected) in [(1, 256), (30_000, 30_208), (10_000_000, 65_280)] {
            sizes.record(&key(1), bytes);
            assert_eq!(sizes.expected(&key(1)).most, expected, "{bytes}");
        }
        sizes.record(&key(1), 0);
        assert_eq!(sizes.expected(&key(1)).most, sizes.guess, "it was absent");
    }

    /// Promise: many small entries do not make a burst of large ones look small for long.
    #[test]
    fn the_guess_grows_at_once_and_shrinks_slowly() {
        let mut sizes = ReplySizes::new();
        for number in 0..100 {
            sizes.record(&key(number), 500);
        }
        assert_eq!(sizes.expected(&key(1000)).most, MIN_GUESS);
        sizes.record(&key(1000), 30_000);
        assert_eq!(sizes.expected(&key(1001)).most, 30_000);
        // One that is known tells nothing of those that are not.
        sizes.record(&key(1000), 500);
        assert_eq!(sizes.expected(&key(1001)).most, 30_000);
        sizes.record(&key(1002), 500);
        assert_eq!(sizes.expected(&key(1001)).most, 26_250);
    }

    /// Promise: what is charged for many unknown keys is what they have together.
    #[test]
    fn the_mean_follows_recent_sizes() {
        let mut sizes = ReplySizes::new();
        let mut mean = |bytes: usize, keys: std::ops::Range<usize>| {
            for number in keys {
                sizes.record(&key(number), bytes);
            }
            sizes.expected(&key(5000)).mean
        };
        assert!(mean(0, 0..50) < 300, "absent ones");
        assert!(mean(30_000, 50..51) < 4_100, "one that is large");
        assert!(mean(30_000, 51..100) > 29_000, "many");
        assert!(mean(0, 100..150) < 300);
    }
}
