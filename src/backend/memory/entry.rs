//! The entries of a memory backend's map, and how they are weighed.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::Weighter;

use super::fence::MemoryFence;
use super::variants::StoredVariants;
use crate::backend::{StoredResponse, VaryRule};
use crate::key::{CacheKey, Resource};

/// The bytes that an entry costs beyond its content: its place in the map's slab and hash table
/// with their spare room, its share of the keys remembered after eviction, its place in an expiry
/// queue, the reference count.
const OVERHEAD: u64 = 400;

/// A place in the map.
///
/// Two keys may have the same slot if their digests collide, so entries hold their key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot(u128);

impl Slot {
    pub(super) const fn head(resource: &Resource) -> Self {
        Self(resource.digest())
    }

    /// The slot of a response that is not in the head.
    pub(super) const fn own(key: &CacheKey) -> Self {
        // All are independent digests or zero: rotating keeps equal ones from cancelling each other
        // out, and the complement keeps a key without selector and variant out of the head.
        let members = key.selector().rotate_left(41) ^ key.variant().rotate_left(83);
        Self(!(key.resource().digest() ^ members))
    }
}

/// An entry of the map. In the head of a resource it is also the record of that resource (see
/// `slots`).
#[derive(Clone, Debug)]
pub(super) struct MemoryEntry {
    /// The key of the content; one that no request has if there is none.
    pub(super) key: CacheKey,
    /// The token of the resource's record.
    pub(super) token: u64,
    weight: u64,
    /// In a head: whether responses were stored under its token in other slots.
    pub(super) has_others: bool,
    pub(super) content: EntryContent,
}

#[derive(Clone, Debug)]
pub(super) enum EntryContent {
    /// A response, and the fence of the fill that stored it.
    Response(Arc<StoredResponse>, MemoryFence),
    /// The rule of the responses under a primary key, and their list.
    Rule(Arc<VaryRule>, StoredVariants),
    /// Nothing, in a head whose response was removed.
    Free,
}

/// Tells the content of an entry from all other content that is there at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ContentId(usize);

impl EntryContent {
    pub(super) fn id(&self) -> ContentId {
        match self {
            Self::Response(response, _) => ContentId(Arc::as_ptr(response).addr()),
            Self::Rule(_, variants) => ContentId(variants.all().as_ptr().addr()),
            Self::Free => ContentId::default(),
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Response(response, _) => response.weight(),
            Self::Rule(rule, variants) => rule.weight() + variants.weight(),
            Self::Free => 0,
        }
    }
}

impl MemoryEntry {
    pub(super) fn new(key: CacheKey, token: u64, has_others: bool, content: EntryContent) -> Self {
        Self {
            key,
            token,
            weight: OVERHEAD + content.weight() as u64,
            has_others,
            content,
        }
    }

    /// The head of a resource whose first response was removed, for the sake of the others.
    pub(super) fn record(resource: Resource, token: u64) -> Self {
        Self::new(CacheKey::record(resource), token, true, EntryContent::Free)
    }

    /// Whether a head has room for a response.
    pub(super) fn is_free(&self) -> bool {
        matches!(self.content, EntryContent::Free)
    }

    /// The keys of the variants under this rule; none for a response.
    pub(super) fn variants(&self) -> impl Iterator<Item = CacheKey> {
        let variants = match &self.content {
            EntryContent::Rule(_, variants) => variants.all(),
            EntryContent::Response(..) | EntryContent::Free => &[],
        };
        let key = |variant: &u128| self.key.with_variant(*variant);
        variants.iter().map(key)
    }

    /// The moment on the monotonic clock from which the response cannot be used any more, not even
    /// stale.
    pub(super) fn useful_until(&self) -> Option<Duration> {
        match &self.content {
            EntryContent::Response(response, _) => response.freshness().useful_until(),
            EntryContent::Rule(..) | EntryContent::Free => None,
        }
    }
}

/// Tells the map the weight of an entry.
#[derive(Clone, Debug)]
pub(super) struct EntryWeight;

impl Weighter<Slot, MemoryEntry> for EntryWeight {
    fn weight(&self, _: &Slot, entry: &MemoryEntry) -> u64 {
        entry.weight
    }
}
