//! Content that leaves the map: collected, so that it is freed after all locks are released, and
//! counted by cause.

use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::EntryContent;
use crate::key::CacheKey;

/// Why an entry left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It made room for others.
    Size,
    /// It had expired.
    Expired,
    /// Its key has too many variants, or other ones by now.
    Variants,
    /// It gave its place to what took its key. Not counted.
    Replaced,
}

/// The content that one put evicted, replaced or removed.
#[derive(Debug, Default)]
pub(super) struct EvictedEntries(Vec<(Cause, EntryContent)>);

impl EvictedEntries {
    /// Adds content that was removed.
    pub(super) fn add(&mut self, cause: Cause, removed: Option<EntryContent>) {
        self.0.extend(removed.map(|removed| (cause, removed)));
    }

    /// The keys of the variants under the rules that are out of reach for lack of their rule.
    pub(super) fn variants(&self) -> Vec<CacheKey> {
        let out_of_reach = self.0.iter().filter(|(cause, _)| *cause == Cause::Size);
        let rules = out_of_reach.filter_map(|(_, content)| content.rule());
        rules.flat_map(|stored| stored.keys()).collect()
    }

    fn count(&self, counted: Cause) -> u64 {
        let counted = self.0.iter().filter(|(cause, _)| *cause == counted);
        counted.count() as u64
    }
}

/// The number of entries that left, by cause.
#[derive(Debug, Default)]
pub(super) struct EvictionCounts {
    pub(super) size: AtomicU64,
    pub(super) expired: AtomicU64,
    pub(super) variants: AtomicU64,
}

impl EvictionCounts {
    pub(super) fn add(&self, evicted: &EvictedEntries) {
        for (counter, cause) in [
            (&self.size, Cause::Size),
            (&self.expired, Cause::Expired),
            (&self.variants, Cause::Variants),
        ] {
            match evicted.count(cause) {
                0 => {}
                count => _ = counter.fetch_add(count, Ordering::Relaxed),
            }
        }
    }
}
