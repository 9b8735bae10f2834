//! The operations of a memory backend, and the locks each of them takes.
//!
//! Every method that changes a resource runs its change under the lock of the resource's stripe
//! (see `fence`) and drops the removed entries after that lock is released.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::entry::{EntryContent, EntryWeight, MemoryEntry, Slot};
use super::evicted::{CollectEvicted, EvictedEntries};
use super::expiry::ExpiryQueue;
use super::fence::{Fences, MemoryFence};
use super::groups::GroupInvalidations;
use super::variants::StoredVariants;
use crate::backend::{Lookup, PutOutcome, StoredResponse, Usage, VaryRule};
use crate::key::{CacheKey, DigestHash, DigestSeed, Resource};

pub(super) type EntryMap =
    quick_cache::sync::Cache<Slot, MemoryEntry, EntryWeight, DigestHash, CollectEvicted>;

/// The number of expiry queues: enough that sweeping one of them never takes long.
pub(super) const EXPIRY_QUEUES: usize = 64;

/// The options that operations look at.
#[derive(Debug)]
pub(super) struct MemoryOptions {
    pub(super) max_response_size: u64,
    pub(super) max_variants: usize,
    pub(super) seed: DigestSeed,
}

/// The state that all clones of a memory backend share.
#[derive(Debug)]
pub(super) struct MemoryStore {
    pub(super) options: MemoryOptions,
    pub(super) fences: Fences,
    pub(super) groups: GroupInvalidations,
    pub(super) expiries: Box<[Mutex<ExpiryQueue>]>,
    pub(super) entries: EntryMap,
    pub(super) next_token: AtomicU64,
    evictions: AtomicU64,
}

impl MemoryStore {
    pub(super) fn new(sizes: quick_cache::Options, options: MemoryOptions) -> Self {
        Self {
            options,
            fences: Fences::default(),
            groups: GroupInvalidations::default(),
            expiries: (0..EXPIRY_QUEUES).map(|_| Mutex::default()).collect(),
            entries: EntryMap::with_options(sizes, EntryWeight, DigestHash, CollectEvicted),
            next_token: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
        }
    }

    /// Looks a key up. Takes no stripe.
    pub(super) fn get(&self, key: &CacheKey) -> Lookup<MemoryFence> {
        let fence = self.fences.capture();
        match self.valid_entry(key).map(|entry| entry.content) {
            Some(EntryContent::Response(response, since))
                if self.groups.none_since(response.groups(), since) =>
            {
                Lookup::Found(response, fence)
            }
            Some(EntryContent::Rule(rule, _)) => Lookup::Varies(rule, fence),
            Some(EntryContent::Response(..) | EntryContent::Free) | None => Lookup::Miss(fence),
        }
    }

    /// Whether a response is stored that was not invalidated since the fence of its fill, up to
    /// this moment.
    ///
    /// The fence of its lookup does not tell: a lookup takes no stripe, so it may capture the
    /// number of an invalidation and read a response that this invalidation is about to remove.
    pub(super) fn is_still_valid(&self, key: &CacheKey, response: &StoredResponse) -> bool {
        match self.stored_entry(key).map(|entry| entry.content) {
            Some(EntryContent::Response(stored, since)) => {
                std::ptr::eq(&*stored, response)
                    && self.fences.none_since(key.resource(), since)
                    && self.groups.none_numbered_since(response.groups(), since)
            }
            Some(EntryContent::Rule(..) | EntryContent::Free) | None => false,
        }
    }

    /// Stores a response if its fence holds.
    pub(super) fn put(
        &self,
        key: &CacheKey,
        fence: MemoryFence,
        response: Arc<StoredResponse>,
    ) -> PutOutcome {
        if response.weight() as u64 > self.options.max_response_size {
            return PutOutcome::TooLarge;
        }
        let freshness = response.freshness();
        let mut evicted = EvictedEntries::default();
        // A group that is invalidated after this check is noticed by the lookups.
        if !self.groups.none_since(response.groups(), fence) {
            return PutOutcome::Superseded;
        }
        let insert = || self.insert(key, response, fence, &mut evicted);
        if self
            .fences
            .if_holds(key.resource(), fence, insert)
            .is_none()
        {
            return PutOutcome::Superseded;
        }
        self.count_evicted(evicted);
        self.expire(
            key,
            freshness.useful_until(),
            freshness.received.monotonic(),
        );
        PutOutcome::Stored
    }

    /// Invalidates a resource, and stores a response if its fence held until then.
    pub(super) fn replace(
        &self,
        key: &CacheKey,
        fence: MemoryFence,
        response: Arc<StoredResponse>,
    ) -> PutOutcome {
        let fits = response.weight() as u64 <= self.options.max_response_size;
        let freshness = response.freshness();
        let mut evicted = EvictedEntries::default();
        let (holds, removed) = self.fences.replace(key.resource(), fence, |holds| {
            let removed = self.remove_resource(*key.resource());
            let holds = holds && self.groups.none_since(response.groups(), fence);
            if holds && fits {
                self.insert(key, response, fence, &mut evicted);
            }
            (holds, removed)
        });
        drop(removed);
        match (holds, fits) {
            (true, true) => {
                self.count_evicted(evicted);
                self.expire(
                    key,
                    freshness.useful_until(),
                    freshness.received.monotonic(),
                );
                PutOutcome::Stored
            }
            (false, _) => PutOutcome::Superseded,
            (true, false) => PutOutcome::TooLarge,
        }
    }

    /// Removes the entry of one key if the fence holds; returns whether it did.
    pub(super) fn remove(&self, key: &CacheKey, fence: MemoryFence) -> bool {
        let mut evicted = EvictedEntries::default();
        let remove = || {
            self.remove_variants(key, &mut evicted);
            evicted.add(self.remove_entry(key, |_| true));
        };
        let removed = self.fences.if_holds(key.resource(), fence, remove);
        removed.is_some()
    }

    pub(super) fn invalidate(&self, resource: Resource) {
        let removed = self
            .fences
            .invalidate(&resource, || self.remove_resource(resource));
        drop(removed);
    }

    pub(super) fn clear(&self) {
        self.fences.clear(|| self.entries.clear());
        for expiry in &self.expiries {
            lock(expiry).clear();
        }
    }

    /// Whether no invalidation since the fence was captured may concern a fill of this resource.
    /// Any group's may: the groups of a fill are known when it has its response.
    pub(super) fn is_current(&self, resource: &Resource, fence: MemoryFence) -> bool {
        self.groups.none_of_any_since(fence) && self.fences.none_since(resource, fence)
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            entries: self.entries.len() as u64,
            bytes: self.entries.weight(),
            evictions: self.evictions.load(Ordering::Relaxed),
        }
    }
}

/// Steps under the lock of the resource's stripe.
impl MemoryStore {
    fn insert(
        &self,
        key: &CacheKey,
        response: Arc<StoredResponse>,
        since: MemoryFence,
        evicted: &mut EvictedEntries,
    ) {
        let is_variant = match response.vary_rule() {
            Some(rule) => {
                self.insert_rule(key, rule, evicted);
                true
            }
            None => {
                self.remove_variants(key, evicted);
                false
            }
        };
        self.insert_entry(key, EntryContent::Response(response, since), evicted);
        // It may have evicted its rule, or the head that the rule belonged to. Out of reach now, it
        // would be found again under the next rule, however old it is then.
        if is_variant && self.stored_rule(&key.primary()).is_none() {
            evicted.add(self.remove_entry(key, |_| true));
        }
    }

    /// The rule under a primary key, if lookups find it.
    fn stored_rule(&self, primary: &CacheKey) -> Option<Arc<VaryRule>> {
        match self.valid_entry(primary)?.content {
            EntryContent::Rule(rule, _) => Some(rule),
            EntryContent::Response(..) | EntryContent::Free => None,
        }
    }

    /// Stores the rule that selects a variant, with the list of all variants. Removes the oldest
    /// variants beyond the limit, and those stored under another rule, which lookups cannot reach.
    fn insert_rule(&self, key: &CacheKey, rule: &Arc<VaryRule>, evicted: &mut EvictedEntries) {
        let (variant, limit) = (key.variant(), self.options.max_variants);
        let current = self.valid_entry(&key.primary());
        let (variants, removed) = match current.map(|entry| entry.content) {
            Some(EntryContent::Rule(old, variants)) if old == *rule => {
                variants.with(variant, limit)
            }
            Some(EntryContent::Rule(_, variants)) => {
                (StoredVariants::new(variant), variants.all().to_vec())
            }
            _ => (StoredVariants::new(variant), Vec::new()),
        };
        let content = EntryContent::Rule(rule.clone(), variants);
        self.insert_entry(&key.primary(), content, evicted);
        for variant in removed {
            let key = key.primary().with_variant(variant);
            evicted.add(self.remove_entry(&key, |_| true));
        }
    }

    /// Removes the variants under a key whose rule is about to be replaced by a response without
    /// one. Should the rule come back, they would be older than that response. Those of a rule that
    /// is not valid any more cannot come back: their token is gone.
    fn remove_variants(&self, key: &CacheKey, evicted: &mut EvictedEntries) {
        if let Some(rule) = self.valid_entry(key) {
            for variant in rule.variants() {
                evicted.add(self.remove_entry(&variant, |_| true));
            }
        }
    }
}

/// Steps after a put, with no lock held.
impl MemoryStore {
    /// Counts evicted entries. Of an evicted rule it removes the variants, which lookups cannot
    /// reach, and would find again under the next rule.
    fn count_evicted(&self, mut evicted: EvictedEntries) {
        for variant in evicted.variants() {
            evicted.add(self.remove_entry(&variant, |_| true));
        }
        self.evictions.fetch_add(evicted.count(), Ordering::Relaxed);
    }

    /// Lists the moment a key expires at, and removes some of the entries that have expired by
    /// `now`.
    fn expire(&self, key: &CacheKey, expires: Option<Duration>, now: Duration) {
        let expired = {
            let queue = key.resource().digest() as usize % EXPIRY_QUEUES;
            let mut expiry = lock(&self.expiries[queue]);
            if let Some(at) = expires {
                expiry.add(at, *key, |at, key| {
                    let entry = self.stored_entry(key);
                    entry.is_some_and(|entry| entry.useful_until() == Some(at))
                });
            }
            expiry.take_expired(now)
        };
        for key in expired.into_iter().flatten() {
            self.remove_entry(&key, |entry| {
                entry.useful_until().is_some_and(|at| at <= now)
            });
        }
    }
}

/// Locks an expiry queue, which holds hints and is valid after every single step.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
