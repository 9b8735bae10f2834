//! The clients that have let others wait in vain at several keys.
//!
//! A note on one key protects the next requests for that. Who holds up one page after the other would
//! delay each of a site once: so what has happened at a few of them counts for all.
//!
//! One table for all stripes. Start at [`ManyKeys::note_in_vain`].

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::hold_up::{HoldUp, MAX, TTL};
use super::others_wait::Waited;
use crate::key::CacheKey;
use crate::shares::ClientId;
use crate::sync::{AtomicU64, Mutex, MutexGuard};

/// The number of keys that speak for all.
const KEYS: usize = 3;

/// The clients that others have waited for in vain, each with the latest keys.
#[derive(Default)]
pub(in crate::flight) struct ManyKeys {
    /// The number of clients: most caches have none, which is seen without the lock.
    len: AtomicU64,
    clients: Mutex<Vec<NotedClient>>,
}

struct NotedClient {
    client: ClientId,
    /// The latest one is the last.
    keys: Vec<NotedKey>,
}

#[derive(Clone, Copy)]
struct NotedKey {
    key: CacheKey,
    in_vain: Duration,
    longest: Duration,
    /// By the monotonic clock.
    noted: Duration,
}

impl NotedKey {
    fn is_current(&self, now: Duration) -> bool {
        now.saturating_sub(self.noted) < TTL
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
            None => NotedClient {
                client: waited.client,
                keys: Vec::with_capacity(KEYS),
            },
        };
        noted.add(key, waited);
        clients.retain(|noted| noted.keys.iter().any(|key| key.is_current(now)));
        if clients.len() >= MAX {
            clients.remove(0);
        }
        clients.push(noted);
        self.len.store(clients.len() as u64, Ordering::Relaxed);
    }

    /// For how long a client has held up others at several keys; `None` if it has not.
    pub(super) fn hold_up(&self, client: ClientId, now: Duration) -> Option<HoldUp> {
        if self.is_empty() {
            return None;
        }
        let clients = self.lock();
        let noted = clients.iter().find(|noted| noted.client == client)?;
        let current = noted.keys.iter().filter(|key| key.is_current(now));
        let hold_up = |noted: &NotedKey| HoldUp {
            in_vain: noted.in_vain,
            longest_in_vain: noted.longest,
            ..HoldUp::default()
        };
        let is_enough = current.clone().count() == KEYS;
        let all = current.map(hold_up).reduce(HoldUp::max);
        all.filter(|_| is_enough)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    fn lock(&self) -> MutexGuard<'_, Vec<NotedClient>> {
        // No critical section panics between two steps that belong together.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NotedClient {
    fn add(&mut self, key: CacheKey, waited: Waited) {
        let now = waited.until;
        let is_same = |noted: &NotedKey| noted.key == key;
        let earlier = self.keys.iter().position(is_same);
        let earlier = earlier.map(|at| self.keys.remove(at));
        let earlier = earlier.filter(|earlier| earlier.is_current(now));
        if self.keys.len() >= KEYS {
            self.keys.remove(0);
        }
        let (in_vain, longest) = earlier.map_or_else(Default::default, |earlier| {
            (earlier.in_vain, earlier.longest)
        });
        self.keys.push(NotedKey {
            key,
            in_vain: in_vain.saturating_add(waited.time),
            longest: longest.max(waited.in_all),
            noted: now,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use super::*;
    use crate::flight::hold_ups::HoldUps;
    use crate::semantics::moment::Moment;

    fn client(number: u64) -> ClientId {
        ClientId::from_digest(number << 32)
    }

    fn waited(number: u64, milliseconds: u64, until: u64) -> Waited {
        let time = Duration::from_millis(milliseconds);
        Waited {
            client: client(number),
            time,
            in_all: time,
            until: Duration::from_secs(until),
        }
    }

    /// Whether a client without notes waits for no calls of the first one, at a key without notes.
    fn is_avoided(many_keys: &Arc<ManyKeys>, seconds: u64) -> bool {
        let now = Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH);
        let other = HoldUps::new(many_keys.clone());
        let key = CacheKey::for_path("/other");
        other.avoids(&key, (Some(client(9)), client(1)), now)
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
