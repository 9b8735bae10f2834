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
        // An entry may also be evicted while it is inserted.
        let is_replaced =
            |(inserted, by): (Slot, ContentId)| inserted == slot && by != entry.content.id();
        let is_replaced = evicted.inserting.is_some_and(is_replaced);
        evicted.entries.push(RemovedEntry { entry, is_replaced });
    }
}

/// The entries that one put evicted, replaced or removed.
#[derive(Debug, Default)]
pub(super) struct EvictedEntries {
    entries: Vec<RemovedEntry>,
    /// The slot that is being inserted into, and what.
    inserting: Option<(Slot, ContentId)>,
}

#[derive(Debug)]
struct RemovedEntry {
    entry: MemoryEntry,
    /// Whether it gave its place to what took its key, rather than to others.
    is_replaced: bool,
}

impl EvictedEntries {
    /// Adds an entry that was removed to make room.
    pub(super) fn add(&mut self, removed: Option<MemoryEntry>) {
        self.entries.extend(removed.map(|entry| RemovedEntry {
            entry,
            is_replaced: false,
        }));
    }

    /// Adds an entry that was replaced by one in another slot.
    pub(super) fn add_replaced(&mut self, entry: MemoryEntry) {
        self.entries.push(RemovedEntry {
            entry,
            is_replaced: true,
        });
    }

    /// Runs an insertion: an entry that gives its slot to this content is no eviction.
    pub(super) fn inserting(
        &mut self,
        slot: Slot,
        content: ContentId,
        insert: impl FnOnce(&mut Self),
    ) {
        self.inserting = Some((slot, content));
        insert(self);
        self.inserting = None;
    }

    /// The keys of the variants under the rules that were evicted.
    pub(super) fn variants(&self) -> Vec<CacheKey> {
        self.evicted().flat_map(MemoryEntry::variants).collect()
    }

    /// The number of entries that made room for others.
    pub(super) fn count(&self) -> u64 {
        self.evicted().count() as u64
    }

    fn evicted(&self) -> impl Iterator<Item = &MemoryEntry> {
        let evicted = self.entries.iter().filter(|removed| !removed.is_replaced);
        evicted.map(|removed| &removed.entry)
    }
}
