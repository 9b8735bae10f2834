//! The fences of resources: they keep a fill from storing outdated data.
//!
//! A fence is the number of invalidations this backend has seen. Each stripe remembers the number
//! of the last invalidation of one of its resources; a put under a smaller fence is refused.
//! Comparing and inserting happen under the lock of the stripe, and so do numbering and removing,
//! in that order. Lookups take no stripe.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::key::Resource;
use crate::sync::{AtomicU64, Mutex, MutexGuard};

/// Few under loom, which creates all of them anew in every interleaving.
pub(super) const FENCE_STRIPES: usize = if cfg!(trc_loom) { 2 } else { 1024 };

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
/// Resources of one stripe break each other's fences, which costs a store.
#[derive(Debug)]
pub(super) struct Fences {
    /// The number of invalidations so far. An invalidation of a resource counts itself under the
    /// lock of its stripe, before it sets the number of that stripe.
    invalidations: AtomicU64,
    stripes: Box<[FenceStripe]>,
}

/// The number of the last invalidation of a resource of one stripe, and the lock of that stripe.
#[derive(Debug, Default)]
#[repr(align(64))]
struct FenceStripe(Mutex<u64>);

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

    /// Whether this resource's stripe was not invalidated since the fence was captured.
    pub(super) fn none_since(&self, resource: &Resource, fence: MemoryFence) -> bool {
        *self.lock(resource) <= fence.0
    }

    /// Runs a change if the fence holds. No invalidation of the resource happens meanwhile.
    pub(super) fn if_holds<T>(
        &self,
        resource: &Resource,
        fence: MemoryFence,
        change: impl FnOnce() -> T,
    ) -> Option<T> {
        let last = self.lock(resource);
        (*last <= fence.0).then(change)
    }

    /// Breaks all fences of the resource, then runs `remove`. No store happens in between.
    pub(super) fn invalidate<T>(&self, resource: &Resource, remove: impl FnOnce() -> T) -> T {
        let mut last = self.lock(resource);
        self.bump(&mut last);
        remove()
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
        let holds = *last <= fence.0;
        self.bump(&mut last);
        replace(holds)
    }

    /// Breaks all fences, then runs `remove`.
    pub(super) fn clear<T>(&self, remove: impl FnOnce() -> T) -> T {
        for stripe in &self.stripes {
            self.bump(&mut stripe.lock());
        }
        remove()
    }

    /// Counts an invalidation and returns its number. A fill that captures this number, or a later
    /// one, sees everything that happened before.
    pub(super) fn count_up(&self) -> u64 {
        self.invalidations.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn lock(&self, resource: &Resource) -> MutexGuard<'_, u64> {
        self.stripes[resource.digest() as usize % FENCE_STRIPES].lock()
    }

    fn bump(&self, last: &mut u64) {
        *last = self.count_up();
    }
}

impl FenceStripe {
    fn lock(&self) -> MutexGuard<'_, u64> {
        // A number that only grows is valid after every single step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
