//! The invalidations of groups (RFC 9875), compared when a member is looked up.
//!
//! An invalidation that makes members stale is noted with its moment, in a list that only lookups
//! of older members read.
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

use std::collections::{HashMap, VecDeque};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::expirations::MAX_EXPIRATIONS;
use super::fence::{Fences, MemoryFence};
use crate::backend::Group;
use crate::semantics::moment::Moment;
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
    noting: Mutex<StripeExpirations>,
}

/// The stripes whose last invalidation has made members stale.
#[derive(Debug, Default)]
struct StripeExpirations(HashMap<usize, GroupExpirations>);

/// The invalidations of the groups of one stripe, the last of which has made members stale.
#[derive(Debug)]
struct GroupExpirations {
    /// The number of the last invalidation that has removed members.
    removal: u64,
    /// Those that have made members stale, the last ones, in their order: number and moment.
    expirations: VecDeque<(u64, Moment)>,
}

/// What has become of a member since it was stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum MemberState {
    Current,
    /// Made stale at this moment.
    Expired(Moment),
    Removed,
}

impl Default for GroupInvalidations {
    fn default() -> Self {
        Self {
            last: (0..GROUP_STRIPES).map(|_| AtomicU64::new(0)).collect(),
            newest: AtomicU64::new(0),
            noting: Mutex::default(),
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

    /// What has become of a member of these groups since the fence of its fill was captured. No
    /// invalidation that has its number is missing: one that is being noted is waited for.
    ///
    /// A lookup may read the number of an invalidation from the counter before it is noted here. It
    /// then has a fence that holds, beside a member that is invalid.
    pub(super) fn state_since(&self, groups: &[Group], fence: MemoryFence) -> MemberState {
        if groups.is_empty() {
            return MemberState::Current;
        }
        let noted = self.noting();
        let states = groups.iter().map(|group| {
            let last = self.stripe(group).load(Ordering::Relaxed);
            match last <= fence.number() {
                true => MemberState::Current,
                false => noted.state_since(stripe_of(group), fence.number()),
            }
        });
        states.fold(MemberState::Current, MemberState::or_earlier)
    }

    /// Whether no group at all was invalidated after the fence was captured.
    pub(super) fn none_of_any_since(&self, fence: MemoryFence) -> bool {
        self.newest.load(Ordering::Relaxed) <= fence.number()
    }

    /// Invalidates the members of a group that were stored under an earlier fence.
    pub(super) fn invalidate(&self, group: &Group, fences: &Fences) {
        let mut noted = self.noting();
        noted.0.remove(&stripe_of(group));
        self.note_last(group, fences.count_up());
    }

    /// Makes the members of a group stale that were stored under an earlier fence.
    pub(super) fn expire(&self, group: &Group, now: Moment, fences: &Fences) {
        let mut noted = self.noting();
        let before = self.stripe(group).load(Ordering::Relaxed);
        let number = fences.count_up();
        noted.add(stripe_of(group), before, (number, now));
        self.note_last(group, number);
    }

    /// Notes a number as that of the last invalidation of a group. Runs with `noting` held.
    fn note_last(&self, group: &Group, number: u64) {
        self.stripe(group).store(number, Ordering::Relaxed);
        self.newest.store(number, Ordering::Relaxed);
    }

    fn noting(&self) -> MutexGuard<'_, StripeExpirations> {
        self.noting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stripe(&self, group: &Group) -> &AtomicU64 {
        &self.last[stripe_of(group)]
    }
}

fn stripe_of(group: &Group) -> usize {
    group.digest() as usize % GROUP_STRIPES
}

impl StripeExpirations {
    /// Adds an invalidation that makes members stale. `before` is the number of the last one.
    fn add(&mut self, stripe: usize, before: u64, (number, now): (u64, Moment)) {
        let noted = self.0.entry(stripe).or_insert(GroupExpirations {
            removal: before,
            expirations: VecDeque::new(),
        });
        noted.expirations.push_back((number, now));
        if noted.expirations.len() > MAX_EXPIRATIONS
            && let Some((oldest, _)) = noted.expirations.pop_front()
        {
            noted.removal = oldest;
        }
    }

    /// What has become of a member that is older than the last invalidation of its group.
    fn state_since(&self, stripe: usize, since: u64) -> MemberState {
        let Some(noted) = self.0.get(&stripe).filter(|noted| noted.removal <= since) else {
            return MemberState::Removed;
        };
        let mut later = noted.expirations.iter().filter(|(n, _)| *n > since);
        let first = later.next();
        first.map_or(MemberState::Current, |(_, at)| MemberState::Expired(*at))
    }
}

impl MemberState {
    /// The state of a member of two groups.
    fn or_earlier(self, other: Self) -> Self {
        match (self, other) {
            (Self::Removed, _) | (_, Self::Removed) => Self::Removed,
            (Self::Current, state) | (state, Self::Current) => state,
            (Self::Expired(a), Self::Expired(b)) => Self::Expired(a.or_earlier(b)),
        }
    }
}
