//! The fences of resources: they keep a fill from storing outdated data.
//!
//! A fence is the number of invalidations this backend has seen. The numbers of the last
//! invalidations are remembered; a put under a smaller fence is refused. Each resource has a
//! stripe: comparing and inserting happen under its lock, and so do numbering and removing, in that
//! order. Lookups take no stripe.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::key::Resource;
use crate::sync::{AtomicU64, Mutex, MutexGuard};

/// Few under loom, which creates all of them anew in every interleaving.
pub(super) const FENCE_STRIPES: usize = if cfg!(trc_loom) { 2 } else { 1024 };

/// The resources of a stripe whose last invalidations are remembered one by one.
pub(super) const REMEMBERED: usize = if cfg!(trc_loom) { 1 } else { 16 };

/// The number of invalidations that a [`MemoryBackend`](super::MemoryBackend) had seen at some
/// moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemoryFence(u64);

impl MemoryFence {
    pub(super) const fn number(self) -> u64 {
        self.0
    }

    pub(super) const fn from_number(number: u64) -> Self {
        Self(number)
    }
}

/// The last invalidations of all resources, in a fixed amount of memory.
///
/// A resource has a number of its own for as long as it is among the [`REMEMBERED`] that were
/// invalidated last in its stripe. The others of a stripe break each other's fences, which costs a
/// store: it takes many thousands of invalidations during one fill.
#[derive(Debug)]
pub(super) struct Fences {
    /// The number of invalidations so far. An invalidation of a resource counts itself under the
    /// lock of its stripe, before it is remembered there.
    invalidations: AtomicU64,
    stripes: Box<[FenceStripe]>,
}

/// The last invalidations of the resources of one stripe, and the lock of that stripe.
#[derive(Debug, Default)]
#[repr(align(64))]
struct FenceStripe(Mutex<LastInvalidations>);

#[derive(Debug, Default)]
struct LastInvalidations {
    /// Resources by their slot in the map, each with its numbers; the last ones are in ascending
    /// order.
    remembered: Vec<(u64, LastNumbers)>,
    /// The largest numbers of the others.
    others: LastNumbers,
}

/// The numbers of the last invalidations of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LastNumbers {
    /// That of the last one of either kind: it has removed stored responses, or made them stale.
    any: u64,
    /// That of the last one that has removed them.
    removal: u64,
}

impl LastNumbers {
    const fn of_removal(number: u64) -> Self {
        Self {
            any: number,
            removal: number,
        }
    }
}

/// What tells the resources of a stripe apart: the slot of a resource in the map. Resources of one
/// slot are removed together, so they are one resource here, too.
const fn slot_of(resource: &Resource) -> u64 {
    resource.digest() as u64
}

impl LastInvalidations {
    /// The numbers of the last invalidations that concern a resource.
    fn of(&self, resource: &Resource) -> LastNumbers {
        let is_same = |(slot, _): &&(u64, LastNumbers)| *slot == slot_of(resource);
        let own = self.remembered.iter().find(is_same);
        own.map_or(self.others, |(_, numbers)| *numbers)
    }

    /// Remembers an invalidation that has removed a resource. Its number is the largest so far.
    fn note(&mut self, resource: &Resource, number: u64) {
        self.note_as(resource, LastNumbers::of_removal(number));
    }

    /// Remembers an invalidation that has made a resource stale. Its number is the largest so far.
    fn note_expiration(&mut self, resource: &Resource, number: u64) {
        let removal = self.of(resource).removal;
        self.note_as(
            resource,
            LastNumbers {
                any: number,
                removal,
            },
        );
    }

    fn note_as(&mut self, resource: &Resource, numbers: LastNumbers) {
        let slot = slot_of(resource);
        match self.remembered.iter().position(|(other, _)| *other == slot) {
            Some(earlier) => drop(self.remembered.remove(earlier)),
            None if self.remembered.len() == REMEMBERED => {
                let (_, oldest) = self.remembered.remove(0);
                self.others = LastNumbers {
                    any: oldest.any,
                    removal: oldest.removal.max(self.others.removal),
                };
            }
            None => {}
        }
        self.remembered.push((slot, numbers));
    }

    /// Remembers an invalidation that has removed all resources.
    fn note_all(&mut self, number: u64) {
        self.remembered.clear();
        self.others = LastNumbers::of_removal(number);
    }

    /// Remembers an invalidation that has made all resources stale.
    fn note_expiration_of_all(&mut self, number: u64) {
        let all = self.remembered.iter_mut().map(|(_, numbers)| numbers);
        for numbers in all.chain([&mut self.others]) {
            numbers.any = number;
        }
    }
}

impl Default for Fences {
    fn default() -> Self {
        Self {
            invalidations: AtomicU64::new(0),
            stripes: (0..FENCE_STRIPES).map(|_| FenceStripe::default()).collect(),
        }
    }
}

impl Fences {
    /// Captures the fence of a fill that starts now.
    #[inline]
    pub(super) fn capture(&self) -> MemoryFence {
        // Acquire: a reader of this number sees everything its writer did before, above all the
        // grace period that a write has started.
        MemoryFence(self.invalidations.load(Ordering::Acquire))
    }

    /// Whether no invalidation since the fence was captured concerns this resource.
    pub(super) fn none_since(&self, resource: &Resource, fence: MemoryFence) -> bool {
        self.lock(resource).of(resource).any <= fence.0
    }

    /// Whether no invalidation since the fence was captured has removed this resource. It may have
    /// been made stale.
    pub(super) fn no_removal_since(&self, resource: &Resource, fence: MemoryFence) -> bool {
        self.lock(resource).of(resource).removal <= fence.0
    }

    /// Runs a change if the fence holds. No invalidation of the resource happens meanwhile.
    pub(super) fn if_holds<T>(
        &self,
        resource: &Resource,
        fence: MemoryFence,
        change: impl FnOnce() -> T,
    ) -> Option<T> {
        let last = self.lock(resource);
        (last.of(resource).any <= fence.0).then(change)
    }

    /// Breaks all fences of the resource, then runs `remove`. No store happens in between.
    pub(super) fn invalidate<T>(&self, resource: &Resource, remove: impl FnOnce() -> T) -> T {
        let mut last = self.lock(resource);
        last.note(resource, self.count_up());
        remove()
    }

    /// Breaks all fences of the resource, then runs `make_stale`. No store happens in between.
    pub(super) fn expire<T>(&self, resource: &Resource, make_stale: impl FnOnce() -> T) -> T {
        let mut last = self.lock(resource);
        last.note_expiration(resource, self.count_up());
        make_stale()
    }

    /// Breaks all fences, then runs `make_stale`.
    pub(super) fn expire_all<T>(&self, make_stale: impl FnOnce() -> T) -> T {
        for stripe in &self.stripes {
            stripe.lock().note_expiration_of_all(self.count_up());
        }
        make_stale()
    }

    /// Breaks all fences of the resource, then runs `replace` with whether `fence` held until now.
    /// No store happens in between.
    pub(super) fn replace<T>(
        &self,
        resource: &Resource,
        fence: MemoryFence,
        replace: impl FnOnce(bool) -> T,
    ) -> T {
        let mut last = self.lock(resource);
        let holds = last.of(resource).any <= fence.0;
        last.note(resource, self.count_up());
        replace(holds)
    }

    /// Breaks all fences, then runs `remove`.
    pub(super) fn clear<T>(&self, remove: impl FnOnce() -> T) -> T {
        for stripe in &self.stripes {
            stripe.lock().note_all(self.count_up());
        }
        remove()
    }

    /// Counts an invalidation and returns its number. A fill that captures this number, or a later
    /// one, sees everything that happened before.
    pub(super) fn count_up(&self) -> u64 {
        self.invalidations.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn lock(&self, resource: &Resource) -> MutexGuard<'_, LastInvalidations> {
        self.stripes[resource.digest() as usize % FENCE_STRIPES].lock()
    }
}

impl FenceStripe {
    fn lock(&self) -> MutexGuard<'_, LastInvalidations> {
        // No step of a change panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::CacheKey;

    #[test]
    fn the_last_invalidations_are_remembered_one_by_one() {
        let key = |n: usize| CacheKey::for_path(&format!("/{n}"));
        let mut last = LastInvalidations::default();
        let all_of = |last: &LastInvalidations, count: usize| -> Vec<u64> {
            (0..count).map(|n| last.of(key(n).resource()).any).collect()
        };
        assert_eq!(all_of(&last, 2), [0, 0]);
        last.note(key(0).resource(), 1);
        last.note(key(1).resource(), 2);
        last.note(key(0).resource(), 3);
        assert_eq!(all_of(&last, 3), [3, 2, 0], "each has its own");
        for n in 2..REMEMBERED {
            last.note(key(n).resource(), n as u64 + 2);
        }
        assert_eq!(all_of(&last, 3), [3, 2, 4], "as many as are remembered");
        last.note(key(100).resource(), 100);
        assert_eq!(all_of(&last, 3), [3, 2, 4], "1 is forgotten");
        assert_eq!(
            last.of(key(101).resource()).any,
            2,
            "others have its number"
        );
        last.note(key(1).resource(), 101);
        assert_eq!(all_of(&last, 3), [3, 101, 4], "0 is forgotten");
        last.note_all(102);
        assert_eq!(all_of(&last, 3), [102; 3]);
        last.note(key(1).resource(), 103);
        assert_eq!(all_of(&last, 3), [102, 103, 102]);
    }

    /// An invalidation that makes stale breaks fences, and leaves the number of the last removal.
    #[test]
    fn an_expiration_is_no_removal() {
        let key = |n: usize| CacheKey::for_path(&format!("/{n}"));
        let numbers = |any, removal| LastNumbers { any, removal };
        let mut last = LastInvalidations::default();
        last.note(key(0).resource(), 1);
        last.note_expiration(key(0).resource(), 2);
        last.note_expiration(key(1).resource(), 3);
        assert_eq!(last.of(key(0).resource()), numbers(2, 1));
        assert_eq!(last.of(key(1).resource()), numbers(3, 0));
        for n in 2..REMEMBERED + 2 {
            last.note_expiration(key(n).resource(), n as u64 + 2);
        }
        assert_eq!(last.of(key(0).resource()), numbers(3, 1), "both forgotten");
        assert_eq!(last.of(key(100).resource()), numbers(3, 1));
        last.note_expiration_of_all(50);
        assert_eq!(last.of(key(0).resource()), numbers(50, 1));
        assert_eq!(last.of(key(REMEMBERED).resource()), numbers(50, 0));
        last.note_expiration(key(100).resource(), 51);
        assert_eq!(last.of(key(100).resource()), numbers(51, 1));
    }
}
