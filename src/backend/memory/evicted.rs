//! Entries that the map evicts: collected, so that they are freed after all locks are released, and
//! counted.

use quick_cache::Lifecycle;

use super::entry::{ContentId, MemoryEntry, Slot};
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
    /// The slots of the inserted response and its rule: those they are in, with the identity of their
    /// content, and those they were in.
    replaced: [Option<(Slot, ContentId)>; 4],
}

impl EvictedEntries {
    /// Adds an entry that was removed to make room.
    pub(super) fn add(&mut self, removed: Option<MemoryEntry>) {
        let with_slot = |entry: MemoryEntry| (Slot::own(&entry.key), entry);
        self.entries.extend(removed.map(with_slot));
    }

    /// Adds an entry that was replaced by one in another slot.
    pub(super) fn add_replaced(&mut self, slot: Slot, entry: MemoryEntry) {
        self.note_replaced(slot, ContentId::default());
        self.entries.push((slot, entry));
    }

    /// Notes a slot whose entry is replaced by this content, which is no eviction.
    pub(super) fn note_replaced(&mut self, slot: Slot, by: ContentId) {
        self.replaced.rotate_right(1);
        self.replaced[0] = Some((slot, by));
    }

    /// The keys of the variants under the rules that were evicted.
    pub(super) fn variants(&self) -> Vec<CacheKey> {
        let evicted = self
            .entries
            .iter()
            .filter(|(slot, entry)| self.is_evicted(slot, entry));
        evicted.flat_map(|(_, entry)| entry.variants()).collect()
    }

    /// The number of entries that made room for others.
    pub(super) fn count(&self) -> u64 {
        let evicted = self
            .entries
            .iter()
            .filter(|(slot, entry)| self.is_evicted(slot, entry));
        evicted.count() as u64
    }

    /// Whether the entry of a slot was evicted, not replaced. What was inserted a moment ago may
    /// have been evicted at once, to make room for what came after it.
    fn is_evicted(&self, slot: &Slot, entry: &MemoryEntry) -> bool {
        let id = entry.content.id();
        let mut replaced = self.replaced.iter().flatten();
        !replaced.any(|(replaced, by)| replaced == slot && *by != id)
    }
}
