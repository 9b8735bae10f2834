//! The entries of a memory backend's map, and how they are weighed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::expirations::Expirations;
use super::fence::MemoryFence;
use super::variants::StoredVariants;
use crate::backend::{StoredResponse, VaryRule};
use crate::key::{CacheKey, Resource};

/// The bytes that an entry costs beyond its content: 48 of its own and up to 6 spare ones in a
/// shard, up to 11 of the index, 2 of a mark among the ghosts.
const OVERHEAD: usize = 64;

/// Weights are counted in units of this many bytes.
const WEIGHT_UNIT: usize = 16;

/// The largest number of uses that an entry remembers.
pub(super) const MAX_USES: u8 = 3;

/// A place in the map.
///
/// It is a digest: two resources, or two keys, may have the same slot. Entries therefore hold a
/// [`Tag`] of their key. Resources of one slot are one resource here: an invalidation concerns all
/// of them, which is safe, and their keys have different tags. They have the same stripe, too, as
/// that is chosen by bits of the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot(pub(super) u64);

impl Slot {
    pub(super) const fn head(resource: &Resource) -> Self {
        Self(resource.digest() as u64)
    }

    /// The slot of what the resource's [`Expirations`] are kept in.
    pub(super) const fn expirations(resource: &Resource) -> Self {
        Self(Self::head(resource).0.rotate_left(29) ^ 0x6a09_e667_f3bc_c908)
    }

    /// The slot of a response that is not in the head.
    pub(super) const fn own(key: &CacheKey) -> Self {
        // All are independent digests or zero: rotating keeps equal ones from cancelling each other
        // out. Both halves of the resource's digest keep a key without selector and variant out of
        // the head.
        let members = key.selector().rotate_left(41) ^ key.variant().rotate_left(83);
        let digest = key.resource().digest() ^ members;
        Self(!(digest as u64) ^ (digest >> 64) as u64)
    }
}

/// A digest of a key that does not depend on its slot: together they tell keys apart by 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag(u64);

impl Tag {
    /// The tag of a resource's [`Expirations`].
    pub(super) const fn of_expirations(resource: &Resource) -> Self {
        Self((resource.digest() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    #[inline]
    pub(super) const fn new(key: &CacheKey) -> Self {
        // Odd factors, so that the selector and the variant of one key, or of two, do not cancel
        // each other out.
        const fn digest(member: u128, factor: u64) -> u64 {
            let low = (member as u64).wrapping_mul(factor);
            let high = ((member >> 64) as u64).wrapping_mul(factor.rotate_left(32) | 1);
            low ^ high
        }
        let resource = (key.resource().digest() >> 64) as u64;
        let selector = digest(key.selector(), 0x9e37_79b9_7f4a_7c15);
        let variant = digest(key.variant(), 0xd1b5_4a32_d192_ed03);
        Self(resource ^ selector ^ variant)
    }
}

/// A number of 48 bits: one that is counted up ten million times a second is enough for a year, one
/// that is counted up with each fill for centuries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ShortNumber([u16; 3]);

impl ShortNumber {
    const fn new(number: u64) -> Self {
        debug_assert!(number < 1 << 48, "a number of 48 bits");
        Self([number as u16, (number >> 16) as u16, (number >> 32) as u16])
    }

    const fn get(self) -> u64 {
        let Self([low, middle, high]) = self;
        low as u64 | (middle as u64) << 16 | (high as u64) << 32
    }
}

/// An entry of the map. In the head of a resource it is also the record of that resource (see
/// `slots`).
#[derive(Debug)]
pub(super) struct MemoryEntry {
    pub(super) content: EntryContent,
    pub(super) slot: Slot,
    /// The tag of the content's key.
    tag: Tag,
    /// In units; see [`weight`](Self::weight).
    weight: u32,
    /// In whole seconds; see [`is_expired`](Self::is_expired).
    expires: u32,
    token: ShortNumber,
    /// How often the entry was used since the clock's hand passed it, up to [`MAX_USES`].
    uses: AtomicU8,
    /// [`HAS_OTHERS`], [`IS_MAIN`]
    flags: u8,
}

const HAS_OTHERS: u8 = 1;
const IS_MAIN: u8 = 2;

#[derive(Clone, Debug)]
pub(super) enum EntryContent {
    /// A response, and the fence of the fill that stored it.
    Response(Arc<StoredResponse>, ShortFence),
    /// The rule of the responses under a primary key, and their list.
    Rule(Arc<StoredRule>),
    /// The tokens that the head of a resource had before its responses were made stale.
    Expirations(Arc<Expirations>),
    /// Nothing, in a head whose response was removed.
    Free,
}

/// A fence in fewer bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortFence(ShortNumber);

impl ShortFence {
    pub(super) fn new(fence: MemoryFence) -> Self {
        Self(ShortNumber::new(fence.number()))
    }

    #[inline]
    pub(super) fn get(self) -> MemoryFence {
        MemoryFence::from_number(self.0.get())
    }
}

/// The rule that selects the variants of a key, and the variants that are stored under it.
#[derive(Debug)]
pub(super) struct StoredRule {
    pub(super) primary: CacheKey,
    pub(super) rule: Arc<VaryRule>,
    pub(super) variants: StoredVariants,
}

impl StoredRule {
    /// The keys of the variants.
    pub(super) fn keys(&self) -> impl Iterator<Item = CacheKey> {
        let key = |variant: &u128| self.primary.with_variant(*variant);
        self.variants.all().iter().map(key)
    }
}

impl EntryContent {
    /// The rule that the content is, if it is one.
    pub(super) fn rule(&self) -> Option<&Arc<StoredRule>> {
        match self {
            Self::Rule(stored) => Some(stored),
            Self::Response(..) | Self::Expirations(_) | Self::Free => None,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Response(response, _) => response.weight(),
            Self::Rule(stored) => {
                size_of::<StoredRule>() + stored.rule.weight() + stored.variants.weight()
            }
            Self::Expirations(expirations) => expirations.weight(),
            Self::Free => 0,
        }
    }

    /// The moment on the monotonic clock from which the response cannot be used any more, not even
    /// stale.
    fn useful_until(&self) -> Option<Duration> {
        match self {
            Self::Response(response, _) => response.freshness().useful_until(),
            Self::Rule(..) | Self::Expirations(_) | Self::Free => None,
        }
    }
}

impl MemoryEntry {
    #[inline]
    pub(super) fn new(slot: Slot, tag: Tag, token: u64, content: EntryContent) -> Self {
        // The variant that comes with a rule is a use of it, and must not displace it.
        let uses = u8::from(content.rule().is_some());
        let mut entry = Self {
            content: EntryContent::Free,
            slot,
            tag,
            weight: 0,
            expires: 0,
            token: ShortNumber::new(token),
            uses: AtomicU8::new(uses),
            flags: 0,
        };
        entry.set_content(content);
        entry
    }

    /// Replaces the content, and returns the one before.
    pub(super) fn set_content(&mut self, content: EntryContent) -> EntryContent {
        let units = (OVERHEAD + content.weight()).div_ceil(WEIGHT_UNIT);
        self.weight = u32::try_from(units).unwrap_or(u32::MAX);
        self.expires = content.useful_until().map_or(u32::MAX, |at| {
            let whole = at
                .as_secs()
                .saturating_add(u64::from(at.subsec_nanos() > 0));
            u32::try_from(whole).unwrap_or(u32::MAX)
        });
        std::mem::replace(&mut self.content, content)
    }

    /// Gives the record of a resource another token.
    pub(super) fn set_token(&mut self, token: u64) {
        self.token = ShortNumber::new(token);
    }

    /// Takes the place of the entry of the same slot that it replaces: gives the content of that.
    pub(super) fn replace_by(&mut self, new: Self) -> EntryContent {
        self.flags |= new.flags;
        (self.tag, self.token) = (new.tag, new.token);
        (self.weight, self.expires) = (new.weight, new.expires);
        self.note_use();
        std::mem::replace(&mut self.content, new.content)
    }

    /// In a head: whether responses were stored under its token in other slots.
    #[inline]
    pub(super) fn has_others(&self) -> bool {
        self.flags & HAS_OTHERS != 0
    }

    pub(super) fn set_has_others(&mut self) {
        self.flags |= HAS_OTHERS;
    }

    /// Whether the entry is no arrival any more (see `map/room`).
    pub(super) fn is_main(&self) -> bool {
        self.flags & IS_MAIN != 0
    }

    pub(super) fn set_main(&mut self) {
        self.flags |= IS_MAIN;
    }

    /// The token of the resource's record.
    #[inline]
    pub(super) fn token(&self) -> u64 {
        self.token.get()
    }

    /// The bytes that the entry takes, its place in the map included.
    pub(super) fn weight(&self) -> u64 {
        u64::from(self.weight) * WEIGHT_UNIT as u64
    }

    /// Whether the content is that of a key with this tag.
    #[inline]
    pub(super) fn holds(&self, tag: Tag) -> bool {
        self.tag == tag && !self.is_free()
    }

    /// Whether a head has room for a response.
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        matches!(self.content, EntryContent::Free)
    }

    /// Whether the response cannot be used any more, not even stale. `now` is in whole seconds on
    /// the monotonic clock.
    pub(super) fn is_expired(&self, now: u32) -> bool {
        self.expires <= now
    }

    pub(super) fn uses(&self) -> u8 {
        self.uses.load(Ordering::Relaxed)
    }

    pub(super) fn set_uses(&self, uses: u8) {
        self.uses.store(uses, Ordering::Relaxed);
    }

    /// Notes a use. One that is noted at the same time may be lost.
    #[inline]
    pub(super) fn note_use(&self) {
        let uses = self.uses();
        // A hot entry is not written to, so that its readers share its cache line.
        if uses < MAX_USES {
            self.set_uses(uses + 1);
        }
    }

    /// Takes a use away; returns whether there was one.
    pub(super) fn take_use(&self) -> bool {
        let uses = self.uses();
        self.set_uses(uses.saturating_sub(1));
        uses > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte counts a hundred thousand times.
    #[test]
    fn an_entry_takes_48_bytes() {
        assert_eq!(size_of::<MemoryEntry>(), 48);
        assert_eq!(size_of::<Option<MemoryEntry>>(), 48);
    }

    #[test]
    fn a_short_number_is_the_number() {
        for number in [0, 1, 0x1234_5678_9abc, (1 << 48) - 1] {
            assert_eq!(ShortNumber::new(number).get(), number);
        }
    }
}
