//! The limit on the bytes of bodies that are in memory on their way to clients or to the store.
//!
//! Knows numbers alone. Start at [`BudgetShare`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes in use by all fills of a cache.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicU64);

impl Budget {
    /// The number of bytes in use at this moment, reservations included.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The bytes of one fill. The unused rest returns to the budget when the share is dropped.
#[derive(Debug)]
pub(crate) struct BudgetShare {
    budget: Arc<Budget>,
    /// All that was taken from the budget and not released.
    taken: AtomicU64,
    /// The part of it that was taken ahead of need.
    reserved: AtomicU64,
    max_bytes: u64,
}

impl BudgetShare {
    /// A share without bytes. All shares of the budget together may take `max_bytes`.
    pub(crate) fn new(budget: Arc<Budget>, max_bytes: u64) -> Self {
        Self {
            budget,
            taken: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            max_bytes,
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
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.max_bytes);
        let used = &self.budget.0;
        let is_taken = used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok();
        if is_taken {
            self.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        is_taken
    }

    /// Takes bytes without regard to the limit, because they are in memory already.
    pub(crate) fn force_take(&self, bytes: u64) {
        self.budget.0.fetch_add(bytes, Ordering::Relaxed);
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns bytes that were taken to the budget.
    pub(crate) fn release(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        let taken = *self.taken.get_mut();
        self.budget.0.fetch_sub(taken, Ordering::Relaxed);
    }
}
