//! Entries that the map evicts: collected, so that they are freed after all locks are released, and
//! counted.

use quick_cache::Lifecycle;

use super::entry::MemoryEntry;
use crate::key::CacheKey;

/// Collects the entries that the map evicts, so that they are freed after all locks are released.
#[derive(Clone, Debug)]
pub(super) struct CollectEvicted;

impl Lifecycle<CacheKey, MemoryEntry> for CollectEvicted {
    type RequestState = EvictedEntries;

    fn on_evict(&self, evicted: &mut EvictedEntries, key: CacheKey, entry: MemoryEntry) {
        evicted.0.push((key, entry));
    }
}

/// The entries that one insertion evicted or replaced.
#[derive(Debug, Default)]
pub(super) struct EvictedEntries(Vec<(CacheKey, MemoryEntry)>);

impl EvictedEntries {
    pub(super) fn add(&mut self, removed: Option<(CacheKey, MemoryEntry)>) {
        self.0.extend(removed);
    }

    /// The number of entries that made room for `key`. Those under that very key, and its rule,
    /// were replaced instead.
    pub(super) fn count_besides(&self, key: &CacheKey) -> u64 {
        let replaced = [*key, key.primary()];
        let evicted = self.0.iter().filter(|(other, _)| !replaced.contains(other));
        evicted.count() as u64
    }
}
