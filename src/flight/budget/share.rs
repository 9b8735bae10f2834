//! The bytes of one fill: collected for the store, or left for its slow readers.
//!
//! Start at [`BudgetShare`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::accounts::{Budget, BudgetLimits};
use super::stored::count_stored;
use crate::semantics::stored::StoredContent;

/// The bytes of one fill. The unused rest returns to the budget when the share is dropped.
#[derive(Debug)]
pub(crate) struct BudgetShare {
    budget: Arc<Budget>,
    /// All that was taken from the budget and not released.
    taken: AtomicU64,
    /// The part of it that was taken ahead of need.
    reserved: AtomicU64,
    /// The bytes that are not collected any more, and that readers have yet to read.
    unread: AtomicU64,
    limits: BudgetLimits,
}

impl BudgetShare {
    /// A share without bytes. The limits are those of all shares together.
    pub(crate) fn new(budget: Arc<Budget>, limits: BudgetLimits) -> Self {
        Self {
            budget,
            taken: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            unread: AtomicU64::new(0),
            limits,
        }
    }

    /// Takes bytes ahead of need. Returns whether the budget had room for all of them; if not, it
    /// takes none.
    ///
    /// Of many fills that begin at once some are then kept whole, where otherwise all of them
    /// would run out of the budget half-way.
    pub(crate) fn try_reserve(&self, bytes: u64) -> bool {
        let is_taken = self.try_take_from_budget(bytes);
        if is_taken {
            self.reserved.fetch_add(bytes, Ordering::Relaxed);
        }
        is_taken
    }

    /// Takes bytes ahead of need like [`try_reserve`](Self::try_reserve), if all of them fit into
    /// half of the limit: a length is only announced, and may never come. The other half is for
    /// bytes that have arrived. Returns whether the whole limit has room for them at all.
    pub(crate) fn reserve_announced(&self, bytes: u64) -> bool {
        let (budget, max) = (&self.budget, self.limits.max_buffered);
        let held = budget
            .collected_bytes()
            .saturating_add(budget.unread_bytes());
        if held.saturating_add(bytes) <= max / 2 {
            self.try_reserve(bytes);
        }
        bytes <= max
    }

    /// Takes bytes, reserved ones first. Returns whether there was room for all of them; if not,
    /// it takes none.
    pub(crate) fn try_take(&self, bytes: u64) -> bool {
        let less = |reserved: u64| (reserved > 0).then(|| reserved.saturating_sub(bytes));
        let reserved = self
            .reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        let covered = reserved.unwrap_or(0).min(bytes);
        let is_taken = covered == bytes || self.try_take_from_budget(bytes - covered);
        if !is_taken {
            self.reserved.fetch_add(covered, Ordering::Relaxed);
        }
        is_taken
    }

    /// Returns the rest of the reservation to the budget.
    pub(crate) fn release_reserved(&self) {
        self.release(self.reserved.swap(0, Ordering::Relaxed));
    }

    fn try_take_from_budget(&self, bytes: u64) -> bool {
        let (budget, max) = (&self.budget, self.limits.max_buffered);
        let max = max.saturating_sub(budget.unread_bytes());
        let is_taken = try_add(&budget.collected, bytes, max);
        if is_taken {
            self.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        is_taken
    }

    /// Returns bytes that were taken to the budget.
    pub(crate) fn release(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.collected.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns all bytes that were taken to the budget.
    pub(crate) fn release_all(&self) {
        self.reserved.store(0, Ordering::Relaxed);
        self.release(self.taken.load(Ordering::Relaxed));
    }

    /// Leaves bytes that were taken to the readers: they are not collected any more. They are in
    /// memory already, so the limit does not matter.
    pub(crate) fn leave_unread(&self, bytes: u64) {
        self.release(bytes);
        self.unread.fetch_add(bytes, Ordering::Relaxed);
        self.budget.unread.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes bytes that are for readers alone, up to half of the limit. Returns whether there was
    /// room for all of them; if not, it takes none.
    pub(crate) fn try_take_unread(&self, bytes: u64) -> bool {
        let (budget, max) = (&self.budget, self.limits.max_buffered);
        let max = max.saturating_sub(budget.collected_bytes()).min(max / 2);
        let is_taken = try_add(&budget.unread, bytes, max);
        if is_taken {
            self.unread.fetch_add(bytes, Ordering::Relaxed);
        }
        is_taken
    }

    /// Returns bytes that readers have read, or do not read any more.
    pub(crate) fn release_unread(&self, bytes: u64) {
        self.unread.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.unread.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether more than half of the limit is taken. The rest is for bodies that come fast.
    pub(crate) fn is_scarce(&self) -> bool {
        let (collected, unread) = (self.budget.collected_bytes(), self.budget.unread_bytes());
        collected.saturating_add(unread) > self.limits.max_buffered / 2
    }

    /// Whether the bytes for readers alone take more than half of their limit: readers that stop
    /// are dropped then, also where none waits for them.
    pub(crate) fn is_crowded(&self) -> bool {
        self.budget.unread_bytes() > self.limits.max_buffered / 2
    }

    /// Whether a body of this length may be stored, although clients may go on reading it after
    /// its removal.
    pub(crate) fn may_store(&self, length: u64) -> bool {
        self.budget.may_store(length, self.limits.max_lingering)
    }

    /// Counts a body that is about to be stored.
    pub(crate) fn count_stored(&self, data: Bytes) -> StoredContent {
        count_stored(&self.budget, data)
    }
}

/// Adds bytes to an account, unless it would exceed the limit.
fn try_add(account: &AtomicU64, bytes: u64, max: u64) -> bool {
    let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= max);
    account
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
        .is_ok()
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        let (taken, unread) = (*self.taken.get_mut(), *self.unread.get_mut());
        self.budget.collected.fetch_sub(taken, Ordering::Relaxed);
        self.budget.unread.fetch_sub(unread, Ordering::Relaxed);
    }
}
