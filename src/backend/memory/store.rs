//! The operations of a memory backend, and the locks each of them takes.
//!
//! Every method that changes a resource runs its change under the lock of the resource's stripe
//! (see `fence`) and drops the removed entries after that lock is released.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::entry::{EntryContent, ShortFence, StoredRule};
use super::evicted::{Cause, EvictedEntries, EvictionCounts};
use super::fence::{Fences, MemoryFence};
use super::groups::{GroupInvalidations, MemberState};
use super::map::EntryMap;
use super::variants::StoredVariants;
use crate::backend::{JoinDecision, Lookup, PutOutcome, StoredResponse, Usage, VaryRule};
use crate::key::{CacheKey, DigestSeed, Resource};

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
    pub(super) entries: EntryMap,
    pub(super) next_token: AtomicU64,
    evictions: EvictionCounts,
}

impl MemoryStore {
    pub(super) fn new(capacity: u64, options: MemoryOptions) -> Self {
        Self {
            options,
            fences: Fences::default(),
            groups: GroupInvalidations::default(),
            entries: EntryMap::new(capacity),
            next_token: AtomicU64::new(0),
            evictions: EvictionCounts::default(),
        }
    }

    /// Looks a key up. Takes no stripe.
    pub(super) fn get(&self, key: &CacheKey) -> Lookup<MemoryFence> {
        let fence = self.fences.capture();
        match self.valid_content(key) {
            Some(EntryContent::Response(response, since))
                if self.groups.none_since(response.groups(), since.get()) =>
            {
                Lookup::Found(response, fence)
            }
            Some(EntryContent::Rule(stored)) => Lookup::Varies(stored.rule.clone(), fence),
            Some(EntryContent::Response(response, since)) => {
                match self.older_member(response, since.get()) {
                    Some(response) => Lookup::Found(response, fence),
                    None => Lookup::Miss(fence),
                }
            }
            Some(EntryContent::Expirations(_) | EntryContent::Free) | None => Lookup::Miss(fence),
        }
    }

    /// Whether a response is stored that was not invalidated since the fence of its fill, up to
    /// this moment.
    ///
    /// The fence of its lookup does not tell: a lookup takes no stripe, so it may capture the
    /// number of an invalidation and read a response that this invalidation is about to remove.
    pub(super) fn is_still_valid(&self, key: &CacheKey, response: &StoredResponse) -> bool {
        match self.stored_content(key) {
            Some(EntryContent::Response(stored, since)) => {
                let since = since.get();
                (std::ptr::eq(&*stored, response)
                    || self.is_expired_copy(key, &stored, (response, since)))
                    && self.fences.no_removal_since(key.resource(), since)
                    && self.groups.state_since(response.groups(), since) != MemberState::Removed
            }
            Some(_) | None => false,
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
            evicted.add(Cause::Replaced, self.remove_entry(key));
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
    }

    /// Whether an invalidation since the fence was captured may concern a fill of this resource.
    /// Any group's may: the groups of a fill are known when it has its response.
    pub(super) fn join_decision(&self, resource: &Resource, fence: MemoryFence) -> JoinDecision {
        if !self.fences.none_since(resource, fence) {
            return JoinDecision::Refuse;
        }
        match self.groups.none_of_any_since(fence) {
            true => JoinDecision::Join,
            false => JoinDecision::CheckGroups,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let (entries, bytes) = self.entries.usage();
        Usage {
            entries: entries as u64,
            bytes,
            evictions: self.evictions.size.load(Ordering::Relaxed),
            expired: self.evictions.expired.load(Ordering::Relaxed),
            removed_variants: self.evictions.variants.load(Ordering::Relaxed),
            capacity: Some(self.entries.capacity()),
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
        let now = whole_seconds(&response);
        let is_variant = match response.vary_rule() {
            Some(rule) => {
                self.insert_rule(key, rule, now, evicted);
                true
            }
            None => {
                self.remove_variants(key, evicted);
                false
            }
        };
        let content = EntryContent::Response(response, ShortFence::new(since));
        self.insert_entry(key, content, now, evicted);
        // It may have evicted its rule, or the head that the rule belonged to. Out of reach now, it
        // would be found again under the next rule, however old it is then.
        if is_variant && self.stored_rule(&key.primary()).is_none() {
            evicted.add(Cause::Size, self.remove_entry(key));
        }
    }

    /// The rule under a primary key, if lookups find it.
    fn stored_rule(&self, primary: &CacheKey) -> Option<Arc<StoredRule>> {
        self.valid_content(primary)?.rule().cloned()
    }

    /// Stores the rule that selects a variant, with the list of all variants. Removes variants
    /// beyond the limit, the oldest without a use first, and those stored under another rule, which
    /// lookups cannot reach.
    fn insert_rule(
        &self,
        key: &CacheKey,
        rule: &Arc<VaryRule>,
        now: u32,
        evicted: &mut EvictedEntries,
    ) {
        let (primary, variant) = (key.primary(), key.variant());
        let (variants, removed) = match self.stored_rule(&primary) {
            Some(old) if old.rule == *rule => {
                let take_use = |other| self.take_use(&primary.with_variant(other));
                let limit = self.options.max_variants;
                let is_stored = |other| self.has_entry(&primary.with_variant(other));
                old.variants.with(variant, limit, is_stored, take_use)
            }
            Some(old) => (StoredVariants::new(variant), old.variants.all().to_vec()),
            None => (StoredVariants::new(variant), Vec::new()),
        };
        let rule = StoredRule {
            primary,
            rule: rule.clone(),
            variants,
        };
        let content = EntryContent::Rule(Arc::new(rule));
        self.insert_entry(&primary, content, now, evicted);
        for variant in removed {
            let variant = self.remove_entry(&primary.with_variant(variant));
            evicted.add(Cause::Variants, variant);
        }
    }

    /// Removes the variants under a key whose rule is about to be replaced by a response without
    /// one. Should the rule come back, they would be older than that response. Those of a rule that
    /// is not valid any more cannot come back: their token is gone.
    fn remove_variants(&self, key: &CacheKey, evicted: &mut EvictedEntries) {
        if let Some(rule) = self.stored_rule(key) {
            for variant in rule.keys() {
                evicted.add(Cause::Variants, self.remove_entry(&variant));
            }
        }
    }
}

/// Steps after a put, with no lock held.
impl MemoryStore {
    /// Counts evicted entries. Of an evicted rule it removes the variants, which lookups cannot
    /// reach, and would find again under the next rule.
    pub(super) fn count_evicted(&self, mut evicted: EvictedEntries) {
        for variant in evicted.variants() {
            evicted.add(Cause::Size, self.remove_entry(&variant));
        }
        self.evictions.add(&evicted);
    }
}

/// The time at which a response was received, on the monotonic clock.
fn whole_seconds(response: &StoredResponse) -> u32 {
    let received = response.freshness().received.monotonic().as_secs();
    u32::try_from(received).unwrap_or(u32::MAX)
}
