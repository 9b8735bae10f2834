//! Calls for one page that are under way at the same time, and which of them began last of those whose
//! response is stored. A page is known by its primary key, its variants by their own.
//!
//! A call that has taken long does not replace the response of a later one: what it brings may be
//! older, and a client whose requests are slow would put back content in time.
//!
//! Data under the lock of the table. Start at [`Rivals::add`], then [`Rivals::claim_store`].

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::key::{CacheKey, DigestHash};

/// The number of variants that are known of each page. Beyond it, any is stored.
const MAX_STORED: usize = 16;

/// The flights that had others of their page beside them.
#[derive(Default)]
pub(super) struct Rivals(HashMap<CacheKey, Rivalry, DigestHash>);

#[derive(Default)]
struct Rivalry {
    /// Their ids, until they end.
    flights: HashSet<u64>,
    /// The latest begin of a call whose response is stored under a key, by the monotonic clock.
    stored: Vec<(CacheKey, Duration)>,
}

impl Rivals {
    /// Whether flights of a page are known that have not ended.
    pub(super) fn has(&self, key: &CacheKey) -> bool {
        !self.0.is_empty() && self.0.contains_key(key)
    }

    /// Notes a flight that is open at the same time as another one of its page.
    pub(super) fn add(&mut self, key: CacheKey, flight_id: u64) {
        let rivalry = self.0.entry(key).or_default();
        rivalry.flights.insert(flight_id);
    }

    /// Notes that a flight has ended.
    pub(super) fn end(&mut self, key: &CacheKey, flight_id: u64) {
        if let Some(rivalry) = self.0.get_mut(key) {
            rivalry.flights.remove(&flight_id);
            if rivalry.flights.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// Whether the response of a call that began at a time may be stored: no later one was. It
    /// counts as stored then.
    pub(super) fn claim_store(&mut self, stored_key: CacheKey, began: Duration) -> bool {
        let Some(Rivalry { stored, .. }) = self.0.get_mut(&stored_key.primary()) else {
            return true;
        };
        match stored.iter().position(|(other, _)| *other == stored_key) {
            Some(at) if stored[at].1 > began => return false,
            Some(at) => stored[at].1 = began,
            None if stored.len() < MAX_STORED => stored.push((stored_key, began)),
            None => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_does_not_replace_the_response_of_a_later_one() {
        let (key, second) = (CacheKey::for_path("/a"), Duration::from_secs);
        let mut rivals = Rivals::default();
        assert!(rivals.claim_store(key, second(9)), "it is alone");
        for flight in [1, 2, 3, 2] {
            rivals.add(key, flight);
        }
        let variant = key.with_variant(7);
        for (stored_key, began, may_store) in [
            (key, 2, true),
            (key, 1, false),
            (key, 2, true),
            (key, 3, true),
            (key, 2, false),
            (variant, 1, true),
            (variant, 0, false),
        ] {
            let stored = rivals.claim_store(stored_key, second(began));
            assert_eq!(stored, may_store, "{began}");
        }
        for flight in [1, 3] {
            rivals.end(&key, flight);
            assert!(rivals.has(&key));
        }
        rivals.end(&key, 2);
        assert!(!rivals.has(&key), "no entry is leaked");
    }
}
