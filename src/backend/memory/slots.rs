//! Where the responses of a resource lie, and what makes them reachable.
//!
//! A resource has one *head* slot. It holds the record of the resource, which is a token, and the
//! first response that was stored for the resource, whatever its authority, query and variant. Most
//! resources have one response, and a hit on it is one lookup. Every other response lies in a slot
//! of its own and is valid only under the token of the head: to remove the head puts all responses
//! out of reach at once, however many there are.

use std::sync::atomic::Ordering;

use quick_cache::sync::{EntryAction, EntryResult};

use super::entry::{EntryContent, MemoryEntry, Slot};
use super::evicted::EvictedEntries;
use super::store::MemoryStore;
use crate::key::{CacheKey, Resource};

/// Lookups, which take no stripe.
impl MemoryStore {
    /// The entry of a key, unless it belongs to a head that was removed since.
    #[inline]
    pub(super) fn valid_entry(&self, key: &CacheKey) -> Option<MemoryEntry> {
        let head = self.entries.get(&Slot::head(key.resource()))?;
        match head.key == *key {
            true => Some(head),
            false => self.other_entry(key, &head),
        }
    }

    /// The entry of a key that is not the one in the head.
    #[inline(never)]
    fn other_entry(&self, key: &CacheKey, head: &MemoryEntry) -> Option<MemoryEntry> {
        if !head.has_others {
            return None;
        }
        let entry = self.entries.get(&Slot::own(key))?;
        (entry.key == *key && entry.token == head.token).then_some(entry)
    }

    /// The entry of a key, valid or not. The map does not take this for a use of it.
    pub(super) fn stored_entry(&self, key: &CacheKey) -> Option<MemoryEntry> {
        let is_key = |entry: &MemoryEntry| entry.key == *key;
        let head = self.entries.peek(&Slot::head(key.resource()));
        head.filter(is_key)
            .or_else(|| self.entries.peek(&Slot::own(key)).filter(is_key))
    }
}

/// Changes, under the lock of the resource's stripe unless they say otherwise.
impl MemoryStore {
    /// Stores an entry: in the head if that is free, or else in a slot of its own.
    pub(super) fn insert_entry(
        &self,
        key: &CacheKey,
        content: EntryContent,
        evicted: &mut EvictedEntries,
    ) {
        let head_slot = Slot::head(key.resource());
        let head = self.entries.peek(&head_slot);
        let head = head.filter(|head| head.key.resource() == key.resource());
        let (slot, token, has_others) = match head {
            None => (head_slot, self.next_token(), false),
            Some(head) if head.key == *key => (head_slot, head.token, head.has_others),
            Some(head) if head.is_free() => {
                // The key may have had a slot of its own until now.
                if let Some((_, entry)) = self.entries.remove(&Slot::own(key)) {
                    evicted.add_replaced(entry);
                }
                (head_slot, head.token, head.has_others)
            }
            Some(head) => {
                if !head.has_others {
                    self.note_others(&head_slot);
                }
                (Slot::own(key), head.token, false)
            }
        };
        let id = content.id();
        let entry = MemoryEntry::new(*key, token, has_others, content);
        evicted.inserting(slot, id, |evicted| {
            self.entries.insert_with_lifecycle(slot, entry, evicted);
        });
    }

    fn next_token(&self) -> u64 {
        self.next_token.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes in a head that there are responses in other slots.
    fn note_others(&self, head_slot: &Slot) {
        // Should the head have been evicted meanwhile, its other responses are out of reach.
        let _ = self.entries.entry(head_slot, None, |_, head| {
            head.has_others = true;
            EntryAction::Retain(())
        });
    }

    /// Removes the entry of a key if it is `due`. The other responses of the resource stay: if the
    /// entry is in the head, the record stays with them.
    ///
    /// It needs no lock: the entry is looked at and removed in one step.
    pub(super) fn remove_entry(
        &self,
        key: &CacheKey,
        due: impl Fn(&MemoryEntry) -> bool,
    ) -> Option<MemoryEntry> {
        let is_due = |entry: &MemoryEntry| entry.key == *key && due(entry);
        let head_slot = Slot::head(key.resource());
        if !self
            .entries
            .peek(&head_slot)
            .is_some_and(|head| is_due(&head))
        {
            let removed = self.entries.remove_if(&Slot::own(key), is_due);
            return removed.map(|(_, entry)| entry);
        }
        let removed = self.entries.entry(&head_slot, None, |_, head| {
            if !is_due(head) {
                return EntryAction::Retain(None);
            }
            if !head.has_others {
                return EntryAction::Remove;
            }
            let record = MemoryEntry::record(*key.resource(), head.token);
            EntryAction::Retain(Some(std::mem::replace(head, record)))
        });
        match removed {
            EntryResult::Retained(removed) => removed,
            EntryResult::Removed(_, entry) => Some(entry),
            EntryResult::Replaced(..) | EntryResult::Vacant(_) | EntryResult::Timeout => None,
        }
    }

    /// Removes the head of a resource, after its fences were broken. The caller drops it when the
    /// stripe is unlocked.
    pub(super) fn remove_resource(&self, resource: Resource) -> Option<(Slot, MemoryEntry)> {
        self.entries.remove(&Slot::head(&resource))
    }
}
