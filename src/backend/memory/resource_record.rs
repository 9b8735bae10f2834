//! The record of a resource: the token under which its queries and variants are valid. To remove
//! the record puts all of them out of reach at once, however many there are.

use std::sync::atomic::Ordering;

use super::entry::MemoryEntry;
use super::evicted::EvictedEntries;
use super::store::MemoryStore;
use crate::key::{CacheKey, Resource};

impl MemoryStore {
    /// The entry of a key, unless it belongs to a record that was removed since.
    pub(super) fn valid_entry(&self, key: &CacheKey) -> Option<MemoryEntry> {
        if key.is_plain() {
            return self.entries.get(key);
        }
        let record = self.entries.get(&CacheKey::record(*key.resource()))?;
        self.entries
            .get(key)
            .filter(|entry| entry.token == record.token)
    }

    /// The token of the resource's record, which is created if there is none.
    pub(super) fn token_for(&self, key: &CacheKey, evicted: &mut EvictedEntries) -> u64 {
        if key.is_plain() {
            return 0;
        }
        let record = CacheKey::record(*key.resource());
        if let Some(entry) = self.entries.get(&record) {
            return entry.token;
        }
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        self.entries
            .insert_with_lifecycle(record, MemoryEntry::record(token), evicted);
        token
    }

    /// Removes the plain response and the record of a resource, after its fences were broken. The
    /// caller drops them when the stripe is unlocked.
    pub(super) fn remove_resource(
        &self,
        resource: Resource,
    ) -> [Option<(CacheKey, MemoryEntry)>; 2] {
        [
            self.entries.remove(&CacheKey::record(resource)),
            self.entries.remove(&CacheKey::plain(resource)),
        ]
    }
}
