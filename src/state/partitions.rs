//! The responses that are stored for single clients: which were stored first, so that each client
//! has a limited number.
//!
//! Knows digests of ids and keys. The table is of this process: instances that share a backend each
//! count their own.

use std::collections::VecDeque;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::key::CacheKey;

const SETS: usize = 1024;
const WAYS: usize = 4;

/// The keys that were stored last, for each of 4,096 clients at most; a fifth one of the same four
/// slots replaces the one that has stored nothing for the longest time.
#[derive(Debug, Default)]
pub(crate) struct Partitions(OnceLock<Sets>);

/// Made for the first response that is stored for a client: most layers store none.
type Sets = Box<[Mutex<Vec<Stored>>]>;

/// The keys of one client.
#[derive(Debug)]
struct Stored {
    partition: u128,
    /// The one that was stored first is in front.
    keys: VecDeque<CacheKey>,
}

impl Partitions {
    /// Notes that a response was stored for a client. Returns the keys of those that were stored
    /// first, if there are more than `limit` now; they are forgotten.
    pub(crate) fn note_stored(
        &self,
        partition: u128,
        key: CacheKey,
        limit: usize,
    ) -> Vec<CacheKey> {
        let new_sets = || (0..SETS).map(|_| Mutex::default()).collect();
        let set = &self.0.get_or_init(new_sets)[partition as usize % SETS];
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stored = match set.iter().position(|stored| stored.partition == partition) {
            Some(at) => set.remove(at),
            None => {
                if set.len() == WAYS {
                    set.remove(0);
                }
                let keys = VecDeque::new();
                Stored { partition, keys }
            }
        };
        stored.keys.retain(|known| *known != key);
        stored.keys.push_back(key);
        let too_many = stored.keys.len().saturating_sub(limit);
        let oldest = stored.keys.drain(..too_many).collect();
        set.push(stored);
        oldest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> CacheKey {
        CacheKey::for_path(&format!("/{number}"))
    }

    #[test]
    fn the_keys_that_were_stored_first_make_room() {
        let partitions = Partitions::default();
        let note = |partition, number, limit| partitions.note_stored(partition, key(number), limit);
        assert_eq!(note(7, 0, 2), []);
        assert_eq!(note(7, 1, 2), []);
        // Stored again: it is the last one now.
        assert_eq!(note(7, 0, 2), []);
        assert_eq!(note(8, 2, 2), []);
        assert_eq!(note(7, 3, 2), [key(1)]);
        assert_eq!(note(7, 4, 2), [key(0)]);
        assert_eq!(note(7, 5, 1), [key(3), key(4)]);
    }

    /// Promise: every table is bounded, whatever ids there are.
    #[test]
    fn of_many_clients_those_that_stored_last_are_known() {
        let partitions = Partitions::default();
        let of_one_set = |number: usize| (number * SETS) as u128;
        for number in 0..=WAYS {
            partitions.note_stored(of_one_set(number), key(number), 1);
        }
        let noted = |number| partitions.note_stored(of_one_set(number), key(9), 1);
        assert_eq!(noted(WAYS), [key(WAYS)]);
        assert_eq!(noted(0), [], "it has been replaced");
    }
}
