//! Where the responses of a resource lie, and what makes them reachable.
//!
//! A resource has one *head* slot. It holds the record of the resource, which is a token, and the
//! first response that was stored for the resource, whatever its authority, query and variant. Most
//! resources have one response, and a hit on it is one lookup. Every other response lies in a slot
//! of its own and is valid only under the token of the head: to remove the head puts all responses
//! out of reach at once, however many there are.

use std::sync::atomic::Ordering;

use super::entry::{EntryContent, MemoryEntry, Slot, Tag};
use super::evicted::{Cause, EvictedEntries};
use super::store::MemoryStore;
use crate::key::{CacheKey, Resource};

/// What a lookup sees of a head that holds the content of another key: the token of the other
/// responses, if there are any.
type OthersToken = Option<u64>;

/// Lookups, which take no stripe.
impl MemoryStore {
    /// The content of a key, unless it belongs to a head that was removed since.
    #[inline]
    pub(super) fn valid_content(&self, key: &CacheKey) -> Option<EntryContent> {
        let tag = Tag::new(key);
        let read = |head: &MemoryEntry| -> Result<EntryContent, OthersToken> {
            match head.holds(tag) {
                true => Ok(head.content.clone()),
                false => Err(head.has_others().then(|| head.token())),
            }
        };
        match self.entries.get(Slot::head(key.resource()), read)? {
            Ok(content) => Some(content),
            Err(others_token) => self.other_content(key, tag, others_token?),
        }
    }

    /// The content of a key that is not in the head.
    #[inline(never)]
    fn other_content(&self, key: &CacheKey, tag: Tag, token: u64) -> Option<EntryContent> {
        let read = |entry: &MemoryEntry| {
            let holds = entry.holds(tag);
            holds.then(|| (entry.token(), entry.content.clone()))
        };
        match self.entries.get(Slot::own(key), read)?? {
            (own, content) if own == token => Some(content),
            (own, content) => self.expired_content(key.resource(), (own, token), content),
        }
    }

    /// The content of a key, valid or not. The map does not take this for a use of it.
    pub(super) fn stored_content(&self, key: &CacheKey) -> Option<EntryContent> {
        let tag = Tag::new(key);
        let read = |entry: &MemoryEntry| entry.holds(tag).then(|| entry.content.clone());
        let in_head = self.entries.peek(Slot::head(key.resource()), read);
        in_head
            .flatten()
            .or_else(|| self.entries.peek(Slot::own(key), read).flatten())
    }
}

/// Changes, under the lock of the resource's stripe unless they say otherwise.
impl MemoryStore {
    /// Stores content: in the head if that is free, or else in a slot of its own. `now` is the time
    /// in whole seconds.
    pub(super) fn insert_entry(
        &self,
        key: &CacheKey,
        content: EntryContent,
        now: u32,
        evicted: &mut EvictedEntries,
    ) {
        let (head_slot, tag) = (Slot::head(key.resource()), Tag::new(key));
        let head = self.entries.peek(head_slot, |head| {
            let state = (head.holds(tag), head.is_free());
            (state, head.token(), head.has_others())
        });
        let (slot, token, has_others) = match head {
            None => (head_slot, self.next_token(), false),
            Some(((true, _), token, has_others)) => (head_slot, token, has_others),
            Some(((false, true), token, has_others)) => {
                // The key may have had a slot of its own until now.
                if let Some(content) = self.remove_own(key, tag) {
                    evicted.add(Cause::Replaced, Some(content));
                }
                (head_slot, token, has_others)
            }
            Some(((false, false), token, has_others)) => {
                if !has_others {
                    self.entries.note_others(head_slot);
                }
                (Slot::own(key), token, false)
            }
        };
        let mut entry = MemoryEntry::new(slot, tag, token, content);
        if has_others {
            entry.set_has_others();
        }
        self.entries.insert(entry, now, evicted);
    }

    /// Takes a use of a key's entry away; returns whether it had one.
    pub(super) fn take_use(&self, key: &CacheKey) -> bool {
        let tag = Tag::new(key);
        let take = |entry: &MemoryEntry| entry.holds(tag).then(|| entry.take_use());
        let in_head = self.entries.peek(Slot::head(key.resource()), take);
        in_head
            .flatten()
            .or_else(|| self.entries.peek(Slot::own(key), take).flatten())
            .unwrap_or(false)
    }

    /// Whether there is an entry of a key. That is no use of it.
    pub(super) fn has_entry(&self, key: &CacheKey) -> bool {
        let tag = Tag::new(key);
        let holds = |entry: &MemoryEntry| entry.holds(tag);
        let has = |slot| self.entries.peek(slot, holds) == Some(true);
        has(Slot::head(key.resource())) || has(Slot::own(key))
    }

    pub(super) fn next_token(&self) -> u64 {
        self.next_token.fetch_add(1, Ordering::Relaxed)
    }

    fn remove_own(&self, key: &CacheKey, tag: Tag) -> Option<EntryContent> {
        let holds = |entry: &MemoryEntry| entry.holds(tag);
        self.entries.remove_content(Slot::own(key), holds)
    }

    /// Removes the content of a key. The other responses of the resource stay: if the content is
    /// in the head, the record stays with them.
    ///
    /// It needs no lock: the entry is looked at and removed in one step.
    pub(super) fn remove_entry(&self, key: &CacheKey) -> Option<EntryContent> {
        let tag = Tag::new(key);
        let holds = |entry: &MemoryEntry| entry.holds(tag);
        let in_head = self
            .entries
            .remove_content(Slot::head(key.resource()), holds);
        in_head.or_else(|| self.remove_own(key, tag))
    }

    /// Removes the head of a resource, after its fences were broken. The caller drops it when the
    /// stripe is unlocked.
    pub(super) fn remove_resource(&self, resource: Resource) -> Option<EntryContent> {
        self.entries.remove(Slot::head(&resource))
    }
}
