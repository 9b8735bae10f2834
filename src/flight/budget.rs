//! How many bytes of bodies may be in memory on their way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes on their way, over all fills of a cache.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicU64);

impl Budget {
    /// Bytes taken at this moment.
    pub(crate) fn held(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One fill's share; what is left of it is given back when the last owner drops it.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    /// All that was taken from the budget.
    held: AtomicU64,
    /// What of it was taken ahead of need.
    reserved: AtomicU64,
    most: u64,
}

impl Share {
    /// No bytes yet, of a budget of `most`.
    pub(crate) fn new(budget: Arc<Budget>, most: u64) -> Self {
        Self {
            budget,
            held: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            most,
        }
    }

    /// Takes ahead of need, unless that exceeds the budget: of many that begin at once some will then be whole, where
    /// otherwise all would run out of it half-way.
    pub(crate) fn reserve(&self, bytes: u64) -> bool {
        let taken = self.take_anew(bytes);
        if taken {
            self.reserved.fetch_add(bytes, Ordering::Relaxed);
        }
        taken
    }

    /// Takes more bytes, unless that exceeds the budget.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let less = |reserved: u64| (reserved > 0).then(|| reserved.saturating_sub(bytes));
        let reserved = self
            .reserved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        let covered = reserved.unwrap_or(0).min(bytes);
        let taken = covered == bytes || self.take_anew(bytes - covered);
        if !taken {
            self.reserved.fetch_add(covered, Ordering::Relaxed);
        }
        taken
    }

    /// Gives back what was reserved and is not needed any more.
    pub(crate) fn release_reserved(&self) {
        self.give_back(self.reserved.swap(0, Ordering::Relaxed));
    }

    fn take_anew(&self, bytes: u64) -> bool {
        let within = |held: u64| held.checked_add(bytes).filter(|sum| *sum <= self.most);
        let taken = self
            .budget
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, within)
            .is_ok();
        if taken {
            self.held.fetch_add(bytes, Ordering::Relaxed);
        }
        taken
    }

    /// Takes more bytes, whatever the budget: they are there.
    pub(crate) fn take_anyway(&self, bytes: u64) {
        self.budget.0.fetch_add(bytes, Ordering::Relaxed);
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives back bytes that were taken.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget
            .0
            .fetch_sub(*self.held.get_mut(), Ordering::Relaxed);
    }
}
