//! Content that leaves the map: collected, so that it is freed after all locks are released, and
//! counted.

use super::entry::EntryContent;
use crate::key::CacheKey;

/// The content that one put evicted, replaced or removed.
#[derive(Debug, Default)]
pub(super) struct EvictedEntries {
    /// What made room for others.
    evicted: Vec<EntryContent>,
    /// What gave its place to what took its key, and what had expired.
    others: Vec<EntryContent>,
}

impl EvictedEntries {
    /// Adds content that was removed to make room.
    pub(super) fn add(&mut self, removed: Option<EntryContent>) {
        self.evicted.extend(removed);
    }

    /// Adds content that was replaced, or had expired.
    pub(super) fn add_uncounted(&mut self, removed: EntryContent) {
        self.others.push(removed);
    }

    /// The keys of the variants under the rules that were evicted.
    pub(super) fn variants(&self) -> Vec<CacheKey> {
        let rules = self.evicted.iter().filter_map(EntryContent::rule);
        rules.flat_map(|stored| stored.keys()).collect()
    }

    /// The number of entries that made room for others.
    pub(super) fn count(&self) -> u64 {
        self.evicted.len() as u64
    }
}
