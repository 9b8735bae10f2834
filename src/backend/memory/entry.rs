//! The entries of a memory backend's map, and how they are weighed and hashed.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use quick_cache::Weighter;

use super::fence::MemoryFence;
use super::variants::StoredVariants;
use crate::backend::{StoredResponse, VaryRule};
use crate::key::CacheKey;

/// The bytes that an entry costs beyond its content: its place in the map's slab and hash table
/// with their spare room, its share of the keys remembered after eviction, its place in an expiry
/// queue, the reference count.
const OVERHEAD: u64 = 400;

/// An entry, valid under the token of its resource's record, or always if the token is 0.
#[derive(Clone, Debug)]
pub(super) struct MemoryEntry {
    pub(super) token: u64,
    weight: u64,
    pub(super) content: EntryContent,
}

#[derive(Clone, Debug)]
pub(super) enum EntryContent {
    /// A response, and the fence of the fill that stored it.
    Response(Arc<StoredResponse>, MemoryFence),
    /// The rule of the responses under a primary key, and their list.
    Rule(Arc<VaryRule>, StoredVariants),
    /// The record of a resource.
    Record,
}

impl MemoryEntry {
    pub(super) fn response(token: u64, response: Arc<StoredResponse>, since: MemoryFence) -> Self {
        Self {
            token,
            weight: OVERHEAD + response.weight() as u64,
            content: EntryContent::Response(response, since),
        }
    }

    pub(super) fn rule(token: u64, rule: Arc<VaryRule>, variants: StoredVariants) -> Self {
        Self {
            token,
            weight: OVERHEAD + (rule.weight() + variants.weight()) as u64,
            content: EntryContent::Rule(rule, variants),
        }
    }

    pub(super) fn record(token: u64) -> Self {
        Self {
            token,
            weight: OVERHEAD,
            content: EntryContent::Record,
        }
    }

    /// The moment on the monotonic clock from which the response cannot be used any more, not even
    /// stale.
    pub(super) fn useful_until(&self) -> Option<Duration> {
        match &self.content {
            EntryContent::Response(response, _) => response.freshness().useful_until(),
            EntryContent::Rule(..) | EntryContent::Record => None,
        }
    }
}

/// Tells the map the weight of an entry.
#[derive(Clone, Debug)]
pub(super) struct EntryWeight;

impl Weighter<CacheKey, MemoryEntry> for EntryWeight {
    fn weight(&self, _: &CacheKey, entry: &MemoryEntry) -> u64 {
        entry.weight
    }
}

/// Hashes keys. A key consists of keyed digests already, so folding them is all there is to do.
#[derive(Clone, Debug)]
pub(super) struct KeyHash;

impl BuildHasher for KeyHash {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher::default()
    }
}

#[derive(Debug, Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // The parts of a key are independent digests or constants: rotating keeps equal ones from
        // cancelling each other out.
        self.0 = self.0.rotate_left(23) ^ word;
    }

    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64 ^ (word >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
