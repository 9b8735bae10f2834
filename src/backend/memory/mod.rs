//! Stored responses in this process: bounded in bytes, invalidated in constant time.
//!
//! A resource's *plain* response (no query, no scheme, no variant) is reachable by its key alone. All others are valid
//! only under the token of their resource's *record*: invalidating removes the plain response and the record, and what
//! was stored under the old token can never be reached again. A record that is evicted does the same. Responses of a group
//! that was invalidated since they were fetched stay where they are, unreachable: each lookup compares.
//!
//! The order of locks is a fence's stripe, then a shard; nothing that runs under a shard's lock takes a stripe.

mod expiry;
mod fence;
mod groups;
#[cfg(all(test, trc_loom))]
mod model;
mod slots;
#[cfg(test)]
mod tests;
mod variants;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::OptionsBuilder;

use self::expiry::Expiry;
use self::fence::Fences;
pub use self::fence::MemoryFence;
use self::groups::Groups;
use self::slots::{Evicted, Held, KeyHash, Slot, SlotLifecycle, SlotWeight};
use super::{
    Backend, BackendError, CacheKey, DigestSeed, Lookup, MOST_VARIANTS, Moment, Put, Resource,
    StoredResponse, Target, Usage,
};

type Slots = quick_cache::sync::Cache<CacheKey, Slot, SlotWeight, KeyHash, SlotLifecycle>;

/// Enough that sweeping one of them never takes long.
const EXPIRIES: usize = 64;
const DEFAULT_CAPACITY: u64 = 64 * 1024 * 1024;
const DEFAULT_LARGEST: u64 = 2 * 1024 * 1024;
/// More shards than this bring nothing: a hot key is in one of them anyway.
const MOST_SHARDS: u64 = 64;

/// Keeps responses in this process's memory. Clones share what is stored.
///
/// Holds at most its capacity in bytes, counting keys, headers, bodies and bookkeeping; what is used least goes first
/// (`quick_cache`'s Clock-PRO). What has expired, and may not be used stale either, is reclaimed as new responses come in.
/// Invalidating costs the same whatever the number of queries and variants.
#[derive(Clone, Debug)]
pub struct MemoryBackend(Arc<Memory>);

#[derive(Debug)]
struct Memory {
    slots: Slots,
    fences: Fences,
    groups: Groups,
    most_variants: AtomicUsize,
    tokens: AtomicU64,
    expiries: Box<[Mutex<Expiry>]>,
    evictions: AtomicU64,
    largest: u64,
    seed: DigestSeed,
}

impl MemoryBackend {
    /// A backend that holds at most `capacity` bytes, and single responses of up to 2 MiB, or an eighth of the capacity
    /// where that is less.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self::with_largest(capacity, DEFAULT_LARGEST.min(capacity / 8))
    }

    /// A backend that holds at most `capacity` bytes and single responses of up to `largest` bytes, which is cut to half
    /// the capacity. The larger it is, the fewer independent parts the store has: a response must fit into one.
    #[must_use]
    pub fn with_largest(capacity: u64, largest: u64) -> Self {
        Self::with_seed(capacity, largest, DigestSeed::random())
    }

    /// The same with a seed of one's own: what is evicted, and what is taken for what, can then be repeated.
    #[must_use]
    pub fn with_seed(capacity: u64, largest: u64, seed: DigestSeed) -> Self {
        let largest = largest.min(capacity / 2);
        let shards = 1
            << (capacity / (2 * largest).max(1))
                .clamp(1, MOST_SHARDS)
                .ilog2();
        let options = OptionsBuilder::new()
            .shards(shards)
            // At least 32 a shard, or quick_cache takes fewer shards; what it remembers of evicted keys grows with it.
            .estimated_items_capacity((capacity / 4096).clamp(32 * shards as u64, 1 << 20) as usize)
            .weight_capacity(capacity)
            .build()
            .expect("capacity and estimate are set");
        let slots = Slots::with_options(options, SlotWeight, KeyHash, SlotLifecycle);
        Self(Arc::new(Memory {
            slots,
            fences: Fences::default(),
            tokens: AtomicU64::new(1),
            expiries: (0..EXPIRIES).map(|_| Mutex::default()).collect(),
            evictions: AtomicU64::new(0),
            groups: Groups::default(),
            most_variants: AtomicUsize::new(MOST_VARIANTS),
            largest,
            seed,
        }))
    }
}

impl MemoryBackend {
    /// The same with at most so many variants of one key, at least one: what was stored longest ago goes first. Default: 32.
    #[must_use]
    pub fn variants(self, most: usize) -> Self {
        self.0.most_variants.store(most, Ordering::Relaxed);
        self
    }
}

impl Default for MemoryBackend {
    /// 64 MiB.
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }
}

impl Memory {
    fn look(&self, key: &CacheKey) -> Lookup<MemoryFence> {
        let fence = self.fences.capture();
        match self.reachable(key).map(|slot| slot.held) {
            Some(Held::Response(response, since)) if self.groups.hold(response.groups(), since) => {
                Lookup::Found(response, fence)
            }
            Some(Held::Rule(rule, _)) => Lookup::Varies(rule, fence),
            Some(Held::Response(..) | Held::Record) | None => Lookup::Miss(fence),
        }
    }

    fn reachable(&self, key: &CacheKey) -> Option<Slot> {
        if key.is_plain() {
            return self.slots.get(key);
        }
        let record = self.slots.get(&CacheKey::record(*key.resource()))?;
        self.slots
            .get(key)
            .filter(|slot| slot.token == record.token)
    }

    /// Under the stripe's lock.
    fn insert(
        &self,
        key: &CacheKey,
        response: Arc<StoredResponse>,
        since: MemoryFence,
        evicted: &mut Evicted,
    ) {
        let token = self.token_for(key, evicted);
        if let Some(rule) = response.vary_rule() {
            self.insert_rule(key, token, rule, evicted);
        }
        let slot = Slot::response(token, response, since);
        self.slots.insert_with_lifecycle(*key, slot, evicted);
    }

    /// The token of the resource's record, which is made if there is none. Under the stripe's lock.
    fn token_for(&self, key: &CacheKey, evicted: &mut Evicted) -> u64 {
        if key.is_plain() {
            return 0;
        }
        let record = CacheKey::record(*key.resource());
        if let Some(slot) = self.slots.get(&record) {
            return slot.token;
        }
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        self.slots
            .insert_with_lifecycle(record, Slot::record(token), evicted);
        token
    }

    /// What to drop once the stripe is unlocked. Under the stripe's lock, after the bump.
    fn remove(&self, resource: Resource) -> [Option<(CacheKey, Slot)>; 2] {
        [
            self.slots.remove(&CacheKey::record(resource)),
            self.slots.remove(&CacheKey::plain(resource)),
        ]
    }

    fn put(&self, key: &CacheKey, fence: MemoryFence, response: Arc<StoredResponse>) -> Put {
        if response.weight() as u64 > self.largest {
            return Put::TooLarge;
        }
        let times = *response.freshness();
        let mut evicted = Evicted::default();
        // One invalidated in between is found out by those who look it up.
        if !self.groups.hold(response.groups(), fence) {
            return Put::Superseded;
        }
        let insert = || self.insert(key, response, fence, &mut evicted);
        if self.fences.store(key.resource(), fence, insert).is_none() {
            return Put::Superseded;
        }
        self.tidy(
            key,
            times.useful_until(),
            times.received.monotonic(),
            evicted,
        );
        Put::Stored
    }

    fn replace(&self, key: &CacheKey, fence: MemoryFence, response: Arc<StoredResponse>) -> Put {
        let fits = response.weight() as u64 <= self.largest;
        let times = *response.freshness();
        let mut evicted = Evicted::default();
        let (held, removed) = self.fences.replace(key.resource(), fence, |held| {
            let removed = self.remove(*key.resource());
            let held = held && self.groups.hold(response.groups(), fence);
            if held && fits {
                self.insert(key, response, fence, &mut evicted);
            }
            (held, removed)
        });
        drop(removed);
        match (held, fits) {
            (true, true) => {
                self.tidy(
                    key,
                    times.useful_until(),
                    times.received.monotonic(),
                    evicted,
                );
                Put::Stored
            }
            (false, _) => Put::Superseded,
            (true, false) => Put::TooLarge,
        }
    }

    /// Whether no invalidation since the fence was captured can have been one of a fill of this resource. Any group's can: which
    /// it is in, its answer tells.
    fn concerned_none_since(&self, resource: &Resource, fence: MemoryFence) -> bool {
        self.groups.none_since(fence) && self.fences.none_since(resource, fence)
    }

    fn invalidate(&self, resource: Resource) {
        let removed = self.fences.invalidate(&resource, || self.remove(resource));
        drop(removed);
    }

    fn clear(&self) {
        self.fences.clear(|| self.slots.clear());
        for expiry in &self.expiries {
            unpoisoned(expiry).clear();
        }
    }

    /// After a put, with no lock held: counts and frees what it pushed out, reclaims what has expired by `now`.
    fn tidy(
        &self,
        key: &CacheKey,
        expires: Option<std::time::Duration>,
        now: std::time::Duration,
        evicted: Evicted,
    ) {
        self.evictions
            .fetch_add(evicted.count(key), Ordering::Relaxed);
        drop(evicted);
        let due = {
            let at = key.resource().digest() as usize % EXPIRIES;
            let mut expiry = unpoisoned(&self.expiries[at]);
            if let Some(at) = expires {
                expiry.add(at, *key, |at, key| {
                    self.slots
                        .peek(key)
                        .is_some_and(|slot| slot.useful_until() == Some(at))
                });
            }
            expiry.due(now)
        };
        for key in due.into_iter().flatten() {
            self.slots
                .remove_if(&key, |slot| slot.useful_until().is_some_and(|at| at <= now));
        }
    }
}

/// What these locks guard is true after every single step: a list of hints.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backend for MemoryBackend {
    type Fence = MemoryFence;

    fn get_now(&self, key: &CacheKey) -> Option<Lookup<MemoryFence>> {
        Some(self.0.look(key))
    }

    async fn get(&self, key: &CacheKey, _: Moment) -> Result<Lookup<MemoryFence>, BackendError> {
        Ok(self.0.look(key))
    }

    async fn fence(&self, _: Option<&Resource>) -> Result<Option<MemoryFence>, BackendError> {
        Ok(Some(self.0.fences.capture()))
    }

    fn may_join(&self, resource: &Resource, flight: &MemoryFence, own: &MemoryFence) -> bool {
        // Fences count all invalidations: if there were some in between, it depends on whose they were.
        own <= flight || self.0.concerned_none_since(resource, *flight)
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: MemoryFence,
        response: Arc<StoredResponse>,
        _: Moment,
    ) -> Result<Put, BackendError> {
        Ok(self.0.put(key, fence, response))
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: MemoryFence,
        response: Arc<StoredResponse>,
        _: Moment,
    ) -> Result<Put, BackendError> {
        Ok(self.0.replace(key, fence, response))
    }

    async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
        match target {
            Target::Resource(resource) => self.0.invalidate(*resource),
            Target::Group(group) => self.0.groups.invalidate(group, &self.0.fences),
        }
        Ok(())
    }

    async fn clear(&self) -> Result<(), BackendError> {
        self.0.clear();
        Ok(())
    }

    fn seed(&self) -> DigestSeed {
        self.0.seed
    }

    fn largest(&self) -> u64 {
        self.0.largest
    }

    fn usage(&self) -> Option<Usage> {
        Some(Usage {
            entries: self.0.slots.len() as u64,
            bytes: self.0.slots.weight(),
            evictions: self.0.evictions.load(Ordering::Relaxed),
        })
    }
}
