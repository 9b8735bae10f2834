//! A short memory of keys: those whose answers are for nobody else ("hit-for-miss"), those whose origin fails.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::key::CacheKey;
use crate::semantics::moment::Moment;

const SETS: usize = 1024;
const WAYS: usize = 4;
/// In one word: half a digest, and until when, in tenths of seconds.
const UNTIL: u64 = u32::MAX as u64;
const TICKS_PER_SECOND: u128 = 10;

/// Of whose requests for a key something is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    Everybodys,
    WithAuthorization,
    WithCookie,
}

/// Keys, each with a time until which it is remembered.
///
/// Fixed memory: a key has four places, and pushes out who would be forgotten first when all are taken. Whoever asks must
/// get along with a key that is not remembered any more, and with one taken for another: both cost a call, no more.
#[derive(Debug)]
pub(crate) struct ShortMemory(Box<[[AtomicU64; WAYS]]>);

impl Default for ShortMemory {
    fn default() -> Self {
        let set = || [const { AtomicU64::new(0) }; WAYS];
        Self((0..SETS).map(|_| set()).collect())
    }
}

fn ticks(time: Duration) -> u64 {
    let ticks = time.as_millis().div_ceil(1000 / TICKS_PER_SECOND);
    u64::try_from(ticks).unwrap_or(UNTIL).min(UNTIL)
}

impl ShortMemory {
    fn set(&self, key: &CacheKey, whose: Whose) -> (&[AtomicU64; WAYS], u64) {
        let digest = key.resource().digest() ^ key.selector() ^ key.variant();
        let digest = digest.rotate_left(whose as u32 * 32);
        let set = &self.0[(digest >> 96) as usize % SETS];
        (set, (digest as u64) & !UNTIL)
    }

    fn place(&self, key: &CacheKey, whose: Whose) -> Option<(&AtomicU64, u64)> {
        let (set, tag) = self.set(key, whose);
        set.iter()
            .map(|place| (place, place.load(Ordering::Relaxed)))
            .find(|(_, held)| held & !UNTIL == tag && *held != 0)
    }

    /// Remembers a key for a while.
    pub(crate) fn remember(&self, key: &CacheKey, whose: Whose, now: Moment, time: Duration) {
        if time.is_zero() {
            return self.forget(key, whose);
        }
        let until = ticks(now.monotonic().saturating_add(time));
        let (set, tag) = self.set(key, whose);
        let own = self.place(key, whose).map(|(place, _)| place);
        let first_to_go = || {
            set.iter()
                .min_by_key(|place| place.load(Ordering::Relaxed) & UNTIL)
        };
        if let Some(place) = own.or_else(first_to_go) {
            place.store(tag | until, Ordering::Relaxed);
        }
    }

    /// Forgets a key.
    pub(crate) fn forget(&self, key: &CacheKey, whose: Whose) {
        if let Some((place, held)) = self.place(key, whose) {
            let _ = place.compare_exchange(held, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether a key is remembered.
    pub(crate) fn is_remembered(&self, key: &CacheKey, whose: Whose, now: Moment) -> bool {
        self.place(key, whose)
            .is_some_and(|(_, held)| ticks(now.monotonic()) < held & UNTIL)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::Whose::{Everybodys, WithCookie};
    use super::*;
    use crate::key::{DigestSeed, Resource};

    fn key(path: &str) -> CacheKey {
        CacheKey::plain(Resource::new(&DigestSeed::default(), "", "h", path))
    }

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH)
    }

    const TEN: Duration = Duration::from_secs(10);

    #[test]
    fn a_key_is_remembered_for_its_time_unless_it_is_forgotten() {
        let memory = ShortMemory::default();
        let (a, b) = (key("/a"), key("/b"));
        assert!(!memory.is_remembered(&a, Everybodys, at(0)));
        memory.remember(&a, Everybodys, at(0), TEN);
        assert!(
            memory.is_remembered(&a, Everybodys, at(9))
                && !memory.is_remembered(&a, Everybodys, at(10))
        );
        assert!(!memory.is_remembered(&b, Everybodys, at(0)));
        assert!(!memory.is_remembered(&a, WithCookie, at(0)));
        memory.forget(&b, Everybodys);
        assert!(memory.is_remembered(&a, Everybodys, at(0)));
        memory.forget(&a, Everybodys);
        assert!(!memory.is_remembered(&a, Everybodys, at(0)));
        memory.remember(&a, Everybodys, at(0), Duration::ZERO);
        assert!(!memory.is_remembered(&a, Everybodys, at(0)));
    }

    /// M06
    #[test]
    fn many_keys_are_remembered_in_fixed_memory_and_the_latest_first() {
        let memory = ShortMemory::default();
        let keys: Vec<_> = (0..1024).map(|n| key(&format!("/{n}"))).collect();
        keys.iter()
            .for_each(|key| memory.remember(key, Everybodys, at(0), TEN));
        let kept = keys
            .iter()
            .filter(|key| memory.is_remembered(key, Everybodys, at(1)));
        assert!(kept.count() > 1000, "a quarter of the places is taken");
        let flood: Vec<_> = (0..100_000).map(|n| key(&format!("/flood/{n}"))).collect();
        for key in &flood {
            memory.remember(key, Everybodys, at(1), TEN);
        }
        assert!(memory.is_remembered(&flood[99_999], Everybodys, at(1)));
        assert_eq!(memory.0.len() * WAYS, 4096);
    }
}
