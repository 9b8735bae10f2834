//! Entries that the map evicts: collected, so that they are freed after all locks are released, and
//! counted.

use quick_cache::Lifecycle;

use super::entry::{MemoryEntry, Slot};
use crate::key::CacheKey;

/// Collects the entries that the map evicts, so that they are freed after all locks are released.
#[derive(Clone, Debug)]
pub(super) struct CollectEvicted;

impl Lifecycle<Slot, MemoryEntry> for CollectEvicted {
    type RequestState = EvictedEntries;

    fn on_evict(&self, evicted: &mut EvictedEntries, slot: Slot, entry: MemoryEntry) {
        evicted.entries.push((slot, entry));
    }
}

/// The entries that one put evicted, replaced or removed.
#[derive(Debug, Default)]
pub(super) struct EvictedEntries {
    entries: Vec<(Slot, MemoryEntry)>,
    /// The slots of the inserted response and its rule: those they are in, and those they were in.
    replaced: [Option<Slot>; 4],
}

impl EvictedEntries {
    /// Adds an entry that was removed to make room.
    pub(super) fn add(&mut self, removed: Option<MemoryEntry>) {
        let with_slot = |entry: MemoryEntry| (Slot::own(&entry.key), entry);
        self.entries.extend(removed.map(with_slot));
    }

    /// Adds an entry that was replaced by one in another slot.
    pub(super) fn add_replaced(&mut self, slot: Slot, entry: MemoryEntry) {
        self.note_replaced(slot);
        self.entries.push((slot, entry));
    }

    /// Notes a slot whose entry is replaced, which is no eviction.
    pub(super) fn note_replaced(&mut self, slot: Slot) {
        self.replaced.rotate_right(1);
        self.replaced[0] = Some(slot);
    }

    /// The keys of the variants under the rules that were evicted.
    pub(super) fn variants(&self) -> Vec<CacheKey> {
        let evicted = self
            .entries
            .iter()
            .filter(|(slot, _)| self.is_evicted(slot));
        evicted.flat_map(|(_, entry)| entry.variants()).collect()
    }

    /// The number of entries that made room for others.
    pub(super) fn count(&self) -> u64 {
        let evicted = self
            .entries
            .iter()
            .filter(|(slot, _)| self.is_evicted(slot));
        evicted.count() as u64
    }

    /// Whether the entry of a slot was evicted, not replaced.
    fn is_evicted(&self, slot: &Slot) -> bool {
        !self.replaced.contains(&Some(*slot))
    }
}
