//! A short memory of keys whose answers are for nobody else ("hit-for-miss").

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::key::CacheKey;
use crate::semantics::moment::Moment;

const PLACES: usize = 4096;

/// Keys that are not worth waiting for, each with a time until which that is believed.
///
/// Fixed memory: a key has one place and pushes out whom it finds there, which costs the other one a queue, no more. A
/// place holds half a digest and seconds, in one word: two keys taken for one another go to the inner service side by side
/// for a while.
#[derive(Debug)]
pub(crate) struct Uncacheable(Box<[AtomicU64]>);

impl Default for Uncacheable {
    fn default() -> Self {
        Self((0..PLACES).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Uncacheable {
    fn place(&self, key: &CacheKey) -> (&AtomicU64, u64) {
        let digest = key.resource().digest() ^ key.selector() ^ key.variant();
        let place = &self.0[(digest >> 96) as usize % PLACES];
        (place, (digest as u64) & !u64::from(u32::MAX))
    }

    /// Remembers a key for a while.
    pub(crate) fn remember(&self, key: &CacheKey, now: Moment, time: Duration) {
        let until = now.monotonic().saturating_add(time).as_secs();
        let until = u32::try_from(until).unwrap_or(u32::MAX);
        let (place, tag) = self.place(key);
        place.store(tag | u64::from(until), Ordering::Relaxed);
    }

    /// Forgets a key: its answer turned out to be storable.
    pub(crate) fn forget(&self, key: &CacheKey) {
        let (place, tag) = self.place(key);
        let held = place.load(Ordering::Relaxed);
        if held & !u64::from(u32::MAX) == tag && held != 0 {
            let _ = place.compare_exchange(held, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether a key is remembered.
    pub(crate) fn is_remembered(&self, key: &CacheKey, now: Moment) -> bool {
        let (place, tag) = self.place(key);
        let held = place.load(Ordering::Relaxed);
        held & !u64::from(u32::MAX) == tag && now.monotonic().as_secs() < held & u64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::key::{DigestSeed, Resource};

    fn key(path: &str) -> CacheKey {
        CacheKey::plain(Resource::new(&DigestSeed::default(), "", "h", path))
    }

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_key_is_remembered_for_its_time_unless_it_is_forgotten() {
        let memory = Uncacheable::default();
        let (a, b) = (key("/a"), key("/b"));
        assert!(!memory.is_remembered(&a, at(0)));
        memory.remember(&a, at(0), Duration::from_secs(10));
        assert!(memory.is_remembered(&a, at(9)) && !memory.is_remembered(&a, at(10)));
        assert!(!memory.is_remembered(&b, at(0)));
        memory.forget(&b);
        assert!(memory.is_remembered(&a, at(0)));
        memory.forget(&a);
        assert!(!memory.is_remembered(&a, at(0)));
    }
}
