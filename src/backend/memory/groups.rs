//! The invalidations of groups (RFC 9875), compared when a member is looked up.
//!
//! Invalidations of groups are numbered together with those of resources, and each stripe remembers
//! the number of the last invalidation of one of its groups. A response carries the fence of the
//! fill that stored it; it is invalid once one of its groups has a larger number. There is no list
//! of members, so no member can be missing from it, and a fill whose groups are only known from its
//! response needs none.
//!
//! **Why relaxed loads are enough.** A request that starts after an invalidation has returned
//! happens after it, so it cannot read an older number than the one stored there. A fence that is
//! at least that number was read from the counter after the invalidation had counted itself: that
//! load acquires what the count released, so the fill's call comes after the write that
//! invalidated. Until the invalidation returns, either answer is right.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::fence::{Fences, MemoryFence};
use crate::backend::Group;
use crate::sync::{AtomicU64, Mutex, MutexGuard};

/// 32 KiB of numbers. Few under loom, which creates all of them anew in every interleaving.
pub(super) const GROUP_STRIPES: usize = if cfg!(trc_loom) { 2 } else { 4096 };

/// The last invalidations of all groups, in a fixed amount of memory.
///
/// Groups of one stripe are invalidated together, which costs calls to the inner service.
#[derive(Debug)]
pub(super) struct GroupInvalidations {
    /// The number of the last invalidation of a group of each stripe.
    last: Box<[AtomicU64]>,
    /// The number of the last invalidation of any group.
    newest: AtomicU64,
    /// Held while an invalidation takes its number and notes it.
    noting: Mutex<()>,
}

impl Default for GroupInvalidations {
    fn default() -> Self {
        Self {
            last: (0..GROUP_STRIPES).map(|_| AtomicU64::new(0)).collect(),
            newest: AtomicU64::new(0),
            noting: Mutex::new(()),
        }
    }
}

impl GroupInvalidations {
    /// Whether none of these groups was invalidated after the fence was captured.
    #[inline]
    pub(super) fn none_since(&self, groups: &[Group], fence: MemoryFence) -> bool {
        let is_older = |group| self.stripe(group).load(Ordering::Relaxed) <= fence.number();
        groups.iter().all(is_older)
    }

    /// As [`none_since`](Self::none_since), and no invalidation that has its number is missing: one
    /// that is being noted is waited for.
    ///
    /// A lookup may read the number of an invalidation from the counter before it is noted here. It
    /// then has a fence that holds, beside a member that is invalid.
    pub(super) fn none_numbered_since(&self, groups: &[Group], fence: MemoryFence) -> bool {
        groups.is_empty() || {
            let _noting = self.noting();
            self.none_since(groups, fence)
        }
    }

    /// Whether no group at all was invalidated after the fence was captured.
    pub(super) fn none_of_any_since(&self, fence: MemoryFence) -> bool {
        self.newest.load(Ordering::Relaxed) <= fence.number()
    }

    /// Invalidates the members of a group that were stored under an earlier fence.
    pub(super) fn invalidate(&self, group: &Group, fences: &Fences) {
        let _noting = self.noting();
        let number = fences.count_up();
        self.stripe(group).store(number, Ordering::Relaxed);
        self.newest.store(number, Ordering::Relaxed);
    }

    fn noting(&self) -> MutexGuard<'_, ()> {
        self.noting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stripe(&self, group: &Group) -> &AtomicU64 {
        &self.last[group.digest() as usize % GROUP_STRIPES]
    }
}
