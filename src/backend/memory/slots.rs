//! What the memory backend keeps in `quick_cache`, and how it is weighed, hashed and evicted.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use quick_cache::{Lifecycle, Weighter};

use super::fence::MemoryFence;
use super::variants::Variants;
use crate::backend::{CacheKey, StoredResponse, VaryRule};

/// Bytes a slot costs beyond what it holds: its place in the store's slab and hash table with their spare room, its share
/// of the keys remembered after eviction, its place among the expiries, the reference count.
const OVERHEAD: u64 = 400;

/// One thing stored, valid under the token of its resource's record (0: reachable without).
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) token: u64,
    weight: u64,
    pub(super) held: Held,
}

#[derive(Clone, Debug)]
pub(super) enum Held {
    /// With the fence that it was fetched under.
    Response(Arc<StoredResponse>, MemoryFence),
    Rule(Arc<VaryRule>, Variants),
    Record,
}

impl Slot {
    pub(super) fn response(token: u64, response: Arc<StoredResponse>, since: MemoryFence) -> Self {
        Self {
            token,
            weight: OVERHEAD + response.weight() as u64,
            held: Held::Response(response, since),
        }
    }

    pub(super) fn rule(token: u64, rule: Arc<VaryRule>, variants: Variants) -> Self {
        Self {
            token,
            weight: OVERHEAD + (rule.weight() + variants.weight()) as u64,
            held: Held::Rule(rule, variants),
        }
    }

    pub(super) fn record(token: u64) -> Self {
        Self {
            token,
            weight: OVERHEAD,
            held: Held::Record,
        }
    }

    /// Until when, on the monotonic clock, the response in it is of any use.
    pub(super) fn useful_until(&self) -> Option<Duration> {
        match &self.held {
            Held::Response(response, _) => response.freshness().useful_until(),
            Held::Rule(..) | Held::Record => None,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct SlotWeight;

impl Weighter<CacheKey, Slot> for SlotWeight {
    fn weight(&self, _: &CacheKey, slot: &Slot) -> u64 {
        slot.weight
    }
}

/// Collects what is pushed out, so that it is freed after all locks are released.
#[derive(Clone, Debug)]
pub(super) struct SlotLifecycle;

#[derive(Debug, Default)]
pub(super) struct Evicted(Vec<(CacheKey, Slot)>);

impl Evicted {
    /// One more that goes.
    pub(super) fn add(&mut self, gone: Option<(CacheKey, Slot)>) {
        self.0.extend(gone);
    }

    /// Those that had to make room for `key`. What stood under that very key, or its rule, was replaced.
    pub(super) fn count(&self, key: &CacheKey) -> u64 {
        let replaced = [*key, key.primary()];
        let pushed_out = self.0.iter().filter(|(other, _)| !replaced.contains(other));
        pushed_out.count() as u64
    }
}

impl Lifecycle<CacheKey, Slot> for SlotLifecycle {
    type RequestState = Evicted;

    fn on_evict(&self, evicted: &mut Evicted, key: CacheKey, slot: Slot) {
        evicted.0.push((key, slot));
    }
}

/// A key is a keyed digest already: folding it is all the hashing there is to do.
#[derive(Clone, Debug)]
pub(super) struct KeyHash;

#[derive(Debug, Default)]
pub(super) struct Fold(u64);

impl BuildHasher for KeyHash {
    type Hasher = Fold;

    fn build_hasher(&self) -> Fold {
        Fold::default()
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // Parts of a key are independent digests or constants: rotating keeps them from cancelling out.
        self.0 = self.0.rotate_left(23) ^ word;
    }

    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64 ^ (word >> 64) as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
