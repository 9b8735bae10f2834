//! The variants that each client has stored of a key, so that it does not drive out those of others.
//!
//! Knows keys and clients. The table is of this process, and only of variants that were stored for
//! clients that are known. Start at [`VariantsOfClients::note_stored`].

use std::collections::VecDeque;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::key::CacheKey;
use crate::shares::{ClientId, Displaced, replaced};

const SETS: usize = 256;
const WAYS: usize = 4;
/// The number of variants of a key that clients have their shares of: as many as backends keep,
/// unless they are told otherwise.
const MAX_VARIANTS: usize = 32;

/// The keys of which variants were stored last, 1,024 at most; a fifth one of the same four slots
/// replaces the one that was used before the others.
#[derive(Debug, Default)]
pub(crate) struct VariantsOfClients(OnceLock<Sets>);

/// Made for the first variant of a client that is known.
type Sets = Box<[Mutex<Vec<OfKey>>]>;

/// The variants of one key. The one that was stored first is in front.
#[derive(Debug)]
struct OfKey {
    key: CacheKey,
    variants: VecDeque<(u128, ClientId)>,
}

impl VariantsOfClients {
    /// Notes that a client has stored a variant. Returns the one that it had stored last, if it has
    /// more than its share now: the others have been there for longer, and more clients may use them.
    pub(crate) fn note_stored(&self, stored: &CacheKey, client: ClientId) -> Option<CacheKey> {
        let new_sets = || (0..SETS).map(|_| Mutex::default()).collect();
        let sets = self.0.get_or_init(new_sets);
        let key = stored.primary();
        let mut set = sets[key.short_digest() as usize % SETS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut of_key = match set.iter().position(|of_key| of_key.key == key) {
            Some(at) => set.remove(at),
            None => {
                if set.len() == WAYS {
                    set.remove(0);
                }
                let variants = VecDeque::new();
                OfKey { key, variants }
            }
        };
        let removed = of_key.add(stored.variant(), client);
        set.push(of_key);
        removed.map(|variant| key.with_variant(variant))
    }
}

impl OfKey {
    /// Adds a variant, and returns one that is to be removed.
    fn add(&mut self, variant: u128, client: ClientId) -> Option<u128> {
        let is_same = |(other, _): &(u128, ClientId)| *other == variant;
        if self.variants.iter().any(is_same) {
            // It stays that of its first client: no other one can have it removed.
            return None;
        }
        let clients = self.variants.iter().map(|(_, client)| Some(*client));
        let replaced = replaced(Some(client), clients, MAX_VARIANTS);
        let removed = replaced.and_then(|replaced| {
            let may_be = |(_, client): &(u128, ClientId)| replaced.may_be_of(Some(*client));
            let last = self.variants.iter().rposition(may_be)?;
            self.variants.remove(last)
        });
        self.variants.push_back((variant, client));
        let is_own = replaced == Some(Displaced::OfClient(client));
        removed.filter(|_| is_own).map(|(variant, _)| variant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_replaces_its_own_variants_beyond_its_share() {
        let table = VariantsOfClients::default();
        let key = CacheKey::for_path("/a");
        let store = |client: u64, variant: u128| {
            let client = ClientId::from_digest(client << 32);
            let removed = table.note_stored(&key.with_variant(variant), client);
            removed.map(|removed| removed.variant())
        };
        for variant in 1..=16 {
            assert_eq!(store(1, variant), None);
        }
        assert_eq!(store(1, 16), None, "it is stored again");
        assert_eq!((store(1, 17), store(1, 18)), (Some(16), Some(17)));
        // Another client has half of the others.
        for variant in 101..=108 {
            assert_eq!(store(2, variant), None);
        }
        assert_eq!(store(2, 109), Some(108));
        // The first ones stay, whoever stores them again.
        assert_eq!(store(3, 3), None);
        assert_eq!((store(1, 19), store(1, 20)), (Some(18), Some(19)));
        // Another key.
        let other = CacheKey::for_path("/b").with_variant(1);
        assert_eq!(
            table.note_stored(&other, ClientId::from_digest(1 << 32)),
            None
        );
    }

    #[test]
    fn the_table_is_bounded() {
        let table = VariantsOfClients::default();
        for number in 0..10_000 {
            let key = CacheKey::for_path(&format!("/{number}"));
            for variant in 1..50 {
                let client = ClientId::from_digest(variant << 32);
                table.note_stored(&key.with_variant(variant.into()), client);
            }
        }
        let sets = table.0.get().expect("some");
        let all = sets.iter().map(|set| set.lock().expect("no panic"));
        let (mut keys, mut longest) = (0, 0);
        for set in all {
            keys += set.len();
            longest = set
                .iter()
                .map(|of_key| of_key.variants.len())
                .max()
                .unwrap_or(0)
                .max(longest);
        }
        assert_eq!((keys, longest), (SETS * WAYS, MAX_VARIANTS));
    }
}
