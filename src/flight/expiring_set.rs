//! A set of cache keys whose members expire, in fixed memory.
//!
//! Knows keys and moments only. The service keeps one per purpose: keys of which parts are
//! stored, and keys whose validations are of no use. Start at [`ExpiringSet`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::key::CacheKey;
use crate::semantics::moment::Moment;

const SETS: usize = 1024;
const WAYS: usize = 4;
/// The half of a slot that holds the time of expiry in ticks; the other half is a digest of the
/// key.
const EXPIRY_MASK: u64 = u32::MAX as u64;
const TICKS_PER_SECOND: u128 = 10;

/// A set of keys, each with a time of expiry. A cache of four-way associativity: a fifth key of
/// the same slots replaces the one that expires first.
///
/// Users must cope with a key that is missing too early, and with one that is taken for another
/// (half of a short digest is compared): both may cost a call to the inner service, no more.
#[derive(Debug, Default)]
pub(crate) struct ExpiringSet(
    /// Made when the first key is added: most sets stay empty for long.
    OnceLock<Box<[[AtomicU64; WAYS]]>>,
);

/// A time in tenths of a second, rounded up, for tables of times of expiry.
pub(crate) fn ticks(time: Duration) -> u32 {
    let ticks = time.as_millis().div_ceil(1000 / TICKS_PER_SECOND);
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

impl ExpiringSet {
    /// The slots that may hold a key, and its tag: the upper half of the slot that does.
    fn slots_of<'s>(sets: &'s [[AtomicU64; WAYS]], key: &CacheKey) -> (&'s [AtomicU64; WAYS], u64) {
        let digest = key.short_digest();
        (&sets[digest as usize % SETS], digest & !EXPIRY_MASK)
    }

    fn find(&self, key: &CacheKey) -> Option<(&AtomicU64, u64)> {
        let (slots, tag) = Self::slots_of(self.0.get()?, key);
        slots
            .iter()
            .map(|slot| (slot, slot.load(Ordering::Relaxed)))
            .find(|(_, value)| value & !EXPIRY_MASK == tag && *value != 0)
    }

    /// Adds a key for the time `ttl`, or renews it. A `ttl` of zero removes the key.
    pub(crate) fn remember(&self, key: &CacheKey, now: Moment, ttl: Duration) {
        if ttl.is_zero() {
            return self.forget(key);
        }
        let expiry = u64::from(ticks(now.monotonic().saturating_add(ttl)));
        let empty = || [const { AtomicU64::new(0) }; WAYS];
        let sets = self.0.get_or_init(|| (0..SETS).map(|_| empty()).collect());
        let (slots, tag) = Self::slots_of(sets, key);
        let own = self.find(key).map(|(slot, _)| slot);
        let first_to_expire = || {
            slots
                .iter()
                .min_by_key(|slot| slot.load(Ordering::Relaxed) & EXPIRY_MASK)
        };
        if let Some(slot) = own.or_else(first_to_expire) {
            slot.store(tag | expiry, Ordering::Relaxed);
        }
    }

    /// Removes a key.
    pub(crate) fn forget(&self, key: &CacheKey) {
        if let Some((slot, value)) = self.find(key) {
            let _ = slot.compare_exchange(value, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether a key was added and has not expired, been removed or been replaced since. Asks for
    /// the time only if the key was added.
    pub(crate) fn is_remembered(&self, key: &CacheKey, now: impl FnOnce() -> Moment) -> bool {
        self.find(key)
            .is_some_and(|(_, value)| u64::from(ticks(now().monotonic())) < value & EXPIRY_MASK)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn key(path: &str) -> CacheKey {
        CacheKey::for_path(path)
    }

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH)
    }

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn a_key_is_remembered_for_its_time_unless_it_is_forgotten() {
        let set = ExpiringSet::default();
        let (a, b) = (key("/a"), key("/b"));
        assert!(!set.is_remembered(&a, || at(0)));
        set.remember(&a, at(0), TEN);
        assert!(set.is_remembered(&a, || at(9)) && !set.is_remembered(&a, || at(10)));
        assert!(!set.is_remembered(&b, || at(0)));
        set.forget(&b);
        assert!(set.is_remembered(&a, || at(0)));
        set.forget(&a);
        assert!(!set.is_remembered(&a, || at(0)));
        set.remember(&a, at(0), Duration::ZERO);
        assert!(!set.is_remembered(&a, || at(0)));
    }

    /// Promise: every table is bounded, whatever keys clients send.
    #[test]
    fn many_keys_are_remembered_in_fixed_memory_and_the_latest_first() {
        let set = ExpiringSet::default();
        let keys: Vec<_> = (0..1024).map(|n| key(&format!("/{n}"))).collect();
        keys.iter().for_each(|key| set.remember(key, at(0), TEN));
        let kept = keys.iter().filter(|key| set.is_remembered(key, || at(1)));
        assert!(kept.count() > 1000, "a quarter of the places is taken");
        // Those of one resource are spread as well.
        let of_one: Vec<_> = (1..=512)
            .map(|n: u128| keys[0].with_variant(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
            .collect();
        of_one.iter().for_each(|key| set.remember(key, at(0), TEN));
        let kept = of_one.iter().filter(|key| set.is_remembered(key, || at(1)));
        assert!(kept.count() > 480);
        let flood: Vec<_> = (0..100_000).map(|n| key(&format!("/flood/{n}"))).collect();
        for key in &flood {
            set.remember(key, at(1), TEN);
        }
        assert!(set.is_remembered(&flood[99_999], || at(1)));
        assert_eq!(set.0.get().map_or(0, |sets| sets.len() * WAYS), 4096);
    }
}
