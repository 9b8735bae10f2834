//! Which groups were invalidated since a response was fetched (PROTOCOLS §4).
//!
//! Invalidations of groups are numbered with all others, and each stripe remembers the number of the last one of a group of
//! its own. A response carries the fence it was fetched under: it is as good as gone once one of its groups has a number
//! beyond that. Nobody lists the members of a group, so none can be forgotten, and a fill whose groups only its answer tells
//! needs no list either.
//!
//! **Why relaxed loads are enough.** A request that begins after an invalidation has returned happens after it, by whatever
//! told it so; it cannot read an older number than the one that was written there. A fence that is not below that number was
//! read from the counter after the invalidation counted itself: that load acquires what the count released, so the fill's
//! call comes after the write that invalidated. Until the invalidation returns, either answer is right.

use std::sync::atomic::Ordering;

use super::fence::{Fences, MemoryFence};
use crate::backend::Group;
use crate::sync::AtomicU64;

/// 32 KiB. Few under loom, which makes each of them anew in every interleaving.
pub(super) const STRIPES: usize = if cfg!(trc_loom) { 2 } else { 4096 };

/// Fixed memory, however many groups: two of one stripe are invalidated together, which costs calls.
#[derive(Debug)]
pub(super) struct Groups {
    /// The number of the last invalidation of a group of this stripe.
    last: Box<[AtomicU64]>,
    /// The number of the last one of all.
    newest: AtomicU64,
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            last: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(),
            newest: AtomicU64::new(0),
        }
    }
}

impl Groups {
    /// Whether none of these groups was invalidated after the fence was captured.
    #[inline]
    pub(super) fn hold(&self, groups: &[Group], since: MemoryFence) -> bool {
        let holds = |group| self.stripe(group).load(Ordering::Relaxed) <= since.number();
        groups.iter().all(holds)
    }

    /// Whether no group at all was: a fill's are unknown until it has its answer.
    pub(super) fn none_since(&self, fence: MemoryFence) -> bool {
        self.newest.load(Ordering::Relaxed) <= fence.number()
    }

    /// No response of this group that was fetched under a fence from before counts from now on.
    pub(super) fn invalidate(&self, group: &Group, fences: &Fences) {
        let number = fences.count_up();
        // The largest: of two at a time, the later one may come here first.
        self.stripe(group).fetch_max(number, Ordering::Relaxed);
        self.newest.fetch_max(number, Ordering::Relaxed);
    }

    fn stripe(&self, group: &Group) -> &AtomicU64 {
        &self.last[group.digest() as usize % STRIPES]
    }
}
