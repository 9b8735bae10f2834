//! What keeps a fill from storing the past.
//!
//! The fence is the number of invalidations this backend has seen. Each stripe remembers the number of the last one that
//! concerned it; a put under a fence older than that is refused. Compare and insert happen under the stripe's lock, as do
//! number and removal, in that order (PROTOCOLS: "bump, then remove"). Lookups take no stripe.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use crate::backend::Resource;
use crate::sync::{AtomicU64, Mutex, MutexGuard};

/// Few under loom, which makes each of them anew in every interleaving.
pub(super) const STRIPES: usize = if cfg!(trc_loom) { 2 } else { 1024 };

/// The number of invalidations a [`MemoryBackend`](super::MemoryBackend) had seen at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemoryFence(u64);

impl MemoryFence {
    pub(super) const fn number(self) -> u64 {
        self.0
    }
}

/// Fixed memory, however many resources: two of one stripe break each other's fences, which costs a store.
#[derive(Debug)]
pub(super) struct Fences {
    /// Invalidations so far; for one of a resource, counts up under its stripe's lock, before that stripe's `last` is set.
    invalidations: AtomicU64,
    stripes: Box<[Stripe]>,
}

/// The number of the last invalidation of a resource of this stripe, and its lock.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe(Mutex<u64>);

impl Default for Fences {
    fn default() -> Self {
        Self {
            invalidations: AtomicU64::new(0),
            stripes: (0..STRIPES).map(|_| Stripe::default()).collect(),
        }
    }
}

impl Fences {
    /// The fence of a fill that begins now.
    #[inline]
    pub(super) fn capture(&self) -> MemoryFence {
        // Acquire: whoever sees the number sees what its writer did before, a grace period that it set above all.
        MemoryFence(self.invalidations.load(Ordering::Acquire))
    }

    /// Whether no invalidation was of this resource's stripe since the fence was captured.
    pub(super) fn none_since(&self, resource: &Resource, fence: MemoryFence) -> bool {
        *self.lock(resource) <= fence.0
    }

    /// Runs `insert` if the fence holds. No invalidation comes between.
    pub(super) fn store<T>(
        &self,
        resource: &Resource,
        fence: MemoryFence,
        insert: impl FnOnce() -> T,
    ) -> Option<T> {
        let last = self.lock(resource);
        (*last <= fence.0).then(insert)
    }

    /// Breaks every fence of the resource, then runs `remove`. No store comes between.
    pub(super) fn invalidate<T>(&self, resource: &Resource, remove: impl FnOnce() -> T) -> T {
        let mut last = self.lock(resource);
        self.bump(&mut last);
        remove()
    }

    /// Breaks every fence of the resource, then runs `replace`, which learns whether `fence` held until now. No store
    /// comes between.
    pub(super) fn replace<T>(
        &self,
        resource: &Resource,
        fence: MemoryFence,
        replace: impl FnOnce(bool) -> T,
    ) -> T {
        let mut last = self.lock(resource);
        let held = *last <= fence.0;
        self.bump(&mut last);
        replace(held)
    }

    /// Breaks every fence, then runs `remove`.
    pub(super) fn clear<T>(&self, remove: impl FnOnce() -> T) -> T {
        for stripe in &self.stripes {
            self.bump(&mut stripe.lock());
        }
        remove()
    }

    fn lock(&self, resource: &Resource) -> MutexGuard<'_, u64> {
        self.stripes[resource.digest() as usize % STRIPES].lock()
    }

    fn bump(&self, last: &mut u64) {
        *last = self.count_up();
    }

    /// The number of an invalidation that begins now. Whoever captures it, or a later one, sees what came before.
    pub(super) fn count_up(&self) -> u64 {
        self.invalidations.fetch_add(1, Ordering::AcqRel) + 1
    }
}

impl Stripe {
    fn lock(&self) -> MutexGuard<'_, u64> {
        // A number that only grows is true after every single step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
