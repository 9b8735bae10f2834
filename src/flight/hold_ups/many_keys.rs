//! The clients that have let others wait in vain at several keys.
//!
//! A note on one key protects the next requests for that. Who holds up one page after the other would
//! delay each of a site once: so what has happened at a few of them counts for all.
//!
//! One table for all stripes. Start at [`ManyKeys::note_in_vain`].

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::hold_up::{HoldUp, MAX, TTL, is_current};
use super::others_wait::Waited;
use crate::key::CacheKey;
use crate::shares::ClientId;
use crate::sync::{AtomicU64, Mutex, MutexGuard};

/// The number of keys that speak for all.
const KEYS: usize = 3;

/// The clients that others have waited for in vain, each with the latest keys.
#[derive(Default)]
pub(in crate::flight) struct ManyKeys {
    /// When the last note ends, in milliseconds by the monotonic clock: most caches have none, which
    /// is seen without the lock.
    ends: AtomicU64,
    clients: Mutex<Vec<NotedClient>>,
}

struct NotedClient {
    client: ClientId,
    /// The latest one is the last.
    keys: Vec<NotedKey>,
    /// How long others have waited at all keys: who goes from key to key lets them wait for longer than
    /// one whose calls have failed at a few.
    in_vain: Duration,
    longest: Duration,
    /// The time of the first wait of these, by the monotonic clock.
    began: Duration,
}

#[derive(Clone, Copy)]
struct NotedKey {
    key: CacheKey,
    in_vain: Duration,
    /// By the monotonic clock.
    noted: Duration,
}

impl NotedKey {
    fn is_current(&self, now: Duration) -> bool {
        is_current(self.noted, now)
    }
}

impl ManyKeys {
    /// Notes that others have waited for a flight of a client in vain, for long.
    pub(super) fn note_in_vain(&self, key: &CacheKey, waited: Waited) {
        let (key, now) = (key.primary(), waited.until);
        let mut clients = self.lock();
        let is_same = |noted: &NotedClient| noted.client == waited.client;
        let mut noted = match clients.iter().position(is_same) {
            Some(at) => clients.remove(at),
            None => NotedClient::new(waited.client, now),
        };
        noted.add(key, waited);
        clients.retain(|noted| noted.keys.iter().any(|key| key.is_current(now)));
        if clients.len() >= MAX {
            clients.remove(0);
        }
        clients.push(noted);
        // Rounded up. Under the lock, nobody else changes it.
        let ends = now.saturating_add(TTL).as_millis() + 1;
        let ends = u64::try_from(ends).unwrap_or(u64::MAX);
        let ends = ends.max(self.ends.load(Ordering::Relaxed));
        self.ends.store(ends, Ordering::Relaxed);
    }

    /// For how long a client has held up others at several keys; `None` if it has not.
    pub(super) fn hold_up(&self, client: ClientId, now: Duration) -> Option<HoldUp> {
        if !self.has_notes(now) {
            return None;
        }
        let clients = self.lock();
        let noted = clients.iter().find(|noted| noted.client == client)?;
        let current = noted.keys.iter().filter(|key| key.is_current(now));
        (current.count() == KEYS).then(|| HoldUp {
            in_vain: noted.in_vain,
            longest_in_vain: noted.longest,
            ..HoldUp::default()
        })
    }

    /// Takes back what was noted of a call that has brought its answer.
    pub(super) fn take_back(&self, key: &CacheKey, client: ClientId, time: Duration) {
        if time.is_zero() {
            return;
        }
        let mut clients = self.lock();
        if let Some(noted) = clients.iter_mut().find(|noted| noted.client == client) {
            noted.take_back(key.primary(), time);
        }
    }

    /// Whether there may be some that have not ended.
    pub(super) fn has_notes(&self, now: Duration) -> bool {
        now.as_millis() < u128::from(self.ends.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<NotedClient>> {
        // No critical section panics between two steps that belong together.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NotedClient {
    fn new(client: ClientId, now: Duration) -> Self {
        Self {
            client,
            keys: Vec::with_capacity(KEYS),
            in_vain: Duration::ZERO,
            longest: Duration::ZERO,
            began: now,
        }
    }

    fn add(&mut self, key: CacheKey, waited: Waited) {
        let now = waited.until;
        if now.saturating_sub(self.began) >= TTL {
            // The sum is that of ten minutes, too.
            (self.in_vain, self.longest, self.began) = (Duration::ZERO, Duration::ZERO, now);
        }
        self.in_vain = self.in_vain.saturating_add(waited.time);
        self.longest = self.longest.max(waited.in_all);
        let earlier = self.take(key).filter(|earlier| earlier.is_current(now));
        let in_vain = earlier.map_or(Duration::ZERO, |earlier| earlier.in_vain);
        if self.keys.len() >= KEYS {
            self.keys.remove(0);
        }
        self.keys.push(NotedKey {
            key,
            in_vain: in_vain.saturating_add(waited.time),
            noted: now,
        });
    }

    fn take_back(&mut self, key: CacheKey, time: Duration) {
        let Some(mut noted) = self.take(key) else {
            return;
        };
        let taken = time.min(noted.in_vain);
        noted.in_vain -= taken;
        self.in_vain = self.in_vain.saturating_sub(taken);
        self.longest = self.longest.min(self.in_vain);
        if !noted.in_vain.is_zero() {
            self.keys.push(noted);
        }
    }

    fn take(&mut self, key: CacheKey) -> Option<NotedKey> {
        let at = self.keys.iter().position(|noted| noted.key == key)?;
        Some(self.keys.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flight::hold_ups::HoldUps;
    use crate::flight::hold_ups::tests::{at, client, waited};

    /// Whether a client without notes waits for no calls of the first one, at a key without notes.
    fn is_avoided(many_keys: &Arc<ManyKeys>, seconds: u64) -> bool {
        let other = HoldUps::new(many_keys.clone());
        let key = CacheKey::for_path("/other");
        other.avoids(&key, (Some(client(9)), client(1)), at(seconds))
    }

    /// In whatever stripes they are.
    #[test]
    fn three_keys_speak_for_all() {
        for (waits, expected) in [
            (&[("/1", 2000), ("/2", 2000), ("/3", 2000)][..], true),
            (&[("/1", 2000), ("/2", 2000)], false),
            (&[("/1", 2000), ("/2", 2000), ("/2", 2000)], false),
            (&[("/1", 2000), ("/2", 2000), ("/3", 1000)], false),
            (&[("/1", 1001), ("/2", 1001), ("/3", 1001)], true),
        ] {
            let many_keys = Arc::default();
            for (path, milliseconds) in waits {
                let mut stripe = HoldUps::new(Arc::clone(&many_keys));
                let key = CacheKey::for_path(path);
                stripe.note_in_vain(&key, waited(1, *milliseconds, 0));
            }
            assert_eq!(is_avoided(&many_keys, 1), expected, "{waits:?}");
            assert_eq!(is_avoided(&many_keys, 599), expected, "{waits:?}");
            assert!(!is_avoided(&many_keys, 600), "{waits:?}");
        }
    }

    /// A call that has brought its answer was not in vain, whoever has left before.
    #[test]
    fn what_has_brought_an_answer_is_taken_back() {
        let many_keys = Arc::<ManyKeys>::default();
        let keys = ["/1", "/2", "/3"].map(CacheKey::for_path);
        let note = |key| many_keys.note_in_vain(key, waited(1, 2000, 0));
        let second = Duration::from_secs(1);
        keys.iter().for_each(note);
        many_keys.take_back(&keys[1], client(2), 2 * second);
        many_keys.take_back(&keys[1], client(1), second);
        assert!(is_avoided(&many_keys, 1));
        many_keys.take_back(&keys[1], client(1), second);
        assert!(!is_avoided(&many_keys, 1));
        note(&keys[1]);
        let held_up = many_keys.hold_up(client(1), second);
        assert_eq!(held_up.map(|held_up| held_up.in_vain), Some(6 * second));
    }

    #[test]
    fn the_latest_keys_count_and_the_latest_clients() {
        let many_keys = Arc::<ManyKeys>::default();
        let key = |number: u64| CacheKey::for_path(&format!("/{number}"));
        for number in 0..100 {
            many_keys.note_in_vain(&key(number), waited(1, 2000, number * 100));
        }
        // Three within ten minutes of the last one.
        assert!(is_avoided(&many_keys, 10_299) && !is_avoided(&many_keys, 10_400));
        for number in 2..200 {
            many_keys.note_in_vain(&key(0), waited(number, 2000, 9900));
        }
        assert_eq!(many_keys.lock().len(), MAX);
        assert!(!is_avoided(&many_keys, 9900));
    }
}
