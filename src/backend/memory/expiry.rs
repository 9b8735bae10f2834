//! Responses that were made stale: kept, but as if their lifetime had ended.
//!
//! An invalidation that makes a resource stale changes the token of its head. Responses in slots of
//! their own are then no longer valid under that token: a lookup that finds one asks the
//! *expirations* of the resource, an entry of the map like any other, for the moment at which that
//! token was changed, and takes the response for one whose lifetime ended then. Should they have
//! been evicted, or hold the token no more, the response is out of reach: it was lost, which is
//! always allowed. Responses stored later have the new token: their lookups pay nothing.
//!
//! The removal of a head ends all that, as no expirations hold for the token of its successor.

use std::sync::Arc;

use super::entry::{EntryContent, MemoryEntry, Slot, Tag};
use super::evicted::EvictedEntries;
use super::expirations::Expirations;
use super::fence::MemoryFence;
use super::groups::MemberState;
use super::store::MemoryStore;
use crate::backend::StoredResponse;
use crate::key::{CacheKey, Resource};
use crate::semantics::moment::Moment;

impl EntryContent {
    /// The content, as one whose lifetime ended at this moment. `None` if it need not change.
    fn made_stale(&self, at: Moment) -> Option<Self> {
        match self {
            Self::Response(response, since) => {
                let stale = response.made_stale(at)?;
                Some(Self::Response(Arc::new(stale), *since))
            }
            Self::Rule(_) | Self::Expirations(_) | Self::Free => None,
        }
    }
}

impl MemoryEntry {
    /// Makes the content stale; returns the one before if it changes.
    fn make_stale(&mut self, at: Moment) -> Option<EntryContent> {
        let stale = self.content.made_stale(at)?;
        Some(self.set_content(stale))
    }
}

/// Lookups, which take no stripe.
impl MemoryStore {
    /// The content of a slot of its own whose token is not that of the head any more: stale if that
    /// token was changed, and out of reach if the head is another one.
    #[cold]
    pub(super) fn expired_content(
        &self,
        resource: &Resource,
        (own, head): (u64, u64),
        content: EntryContent,
    ) -> Option<EntryContent> {
        let at = self.expirations(resource, head)?.of(own)?;
        Some(content.made_stale(at).unwrap_or(content))
    }

    /// The expirations of a resource whose head has this token.
    fn expirations(&self, resource: &Resource, head: u64) -> Option<Arc<Expirations>> {
        let tag = Tag::of_expirations(resource);
        let read = |entry: &MemoryEntry| match &entry.content {
            EntryContent::Expirations(found) if entry.holds(tag) && entry.token() == head => {
                Some(found.clone())
            }
            _ => None,
        };
        self.entries.get(Slot::expirations(resource), read)?
    }

    /// A member that is older than the last invalidation of one of its groups; stale if that has
    /// made it so.
    #[cold]
    pub(super) fn older_member(
        &self,
        response: Arc<StoredResponse>,
        since: MemoryFence,
    ) -> Option<Arc<StoredResponse>> {
        match self.groups.state_since(response.groups(), since) {
            MemberState::Current => Some(response),
            MemberState::Expired(at) => Some(response.made_stale(at).map_or(response, Arc::new)),
            MemberState::Removed => None,
        }
    }

    /// Whether a response is what lookups make of a stored one that was made stale.
    pub(super) fn is_expired_copy(
        &self,
        key: &CacheKey,
        stored: &StoredResponse,
        (response, since): (&StoredResponse, MemoryFence),
    ) -> bool {
        let is_expired = !self.fences.none_since(key.resource(), since)
            || !self.groups.none_since(stored.groups(), since);
        is_expired && response.is_copy_of(stored)
    }
}

/// Changes.
impl MemoryStore {
    /// Makes all responses of a resource stale. Takes the same time for any number of them.
    pub(super) fn expire(&self, resource: &Resource, now: Moment) {
        let mut evicted = EvictedEntries::default();
        let expire = || self.expire_resource(resource, now, &mut evicted);
        let replaced = self.fences.expire(resource, expire);
        drop(replaced);
        self.count_evicted(evicted);
    }

    /// Makes the content of a resource's head stale, under the lock of its stripe, and the other
    /// responses by changing the token. Returns the content before.
    fn expire_resource(
        &self,
        resource: &Resource,
        now: Moment,
        evicted: &mut EvictedEntries,
    ) -> Option<EntryContent> {
        let head_slot = Slot::head(resource);
        let state = |head: &MemoryEntry| (head.token(), head.has_others());
        let (token, has_others) = self.entries.peek(head_slot, state)?;
        if !has_others {
            let changed = self.entries.change(head_slot, |head| head.make_stale(now));
            return changed.flatten();
        }
        let before = self.expirations(resource, token).unwrap_or_default();
        let content = EntryContent::Expirations(Arc::new(before.with(token, now)));
        let (slot, tag) = (Slot::expirations(resource), Tag::of_expirations(resource));
        let new_token = self.next_token();
        let entry = MemoryEntry::new(slot, tag, new_token, content);
        // First: with the new token in the head, the others need it. Where it stays, should the
        // head be evicted meanwhile, it is of no use and harmless.
        let seconds = u32::try_from(now.monotonic().as_secs()).unwrap_or(u32::MAX);
        self.entries.insert(entry, seconds, evicted);
        let changed = self.entries.change(head_slot, |head| {
            head.set_token(new_token);
            head.make_stale(now)
        });
        changed.flatten()
    }

    /// Makes everything stale that is stored, one entry after the other.
    pub(super) fn expire_all(&self, now: Moment) {
        self.fences
            .expire_all(|| self.entries.change_all(|entry| entry.make_stale(now)));
    }
}
