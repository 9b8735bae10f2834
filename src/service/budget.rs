//! How many bytes may be in capture at one time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes in capture, over all fills of a layer.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicU64);

impl Budget {
    /// Bytes taken at this moment.
    pub(crate) fn held(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One fill's share; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    held: u64,
    most: u64,
}

impl Share {
    /// No bytes yet, of a budget of `most`.
    pub(crate) fn new(budget: Arc<Budget>, most: u64) -> Self {
        Self {
            budget,
            held: 0,
            most,
        }
    }

    /// Takes more bytes, unless that exceeds the budget.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let taken = self
            .budget
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                held.checked_add(bytes).filter(|sum| *sum <= self.most)
            })
            .is_ok();
        if taken {
            self.held += bytes;
        }
        taken
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.held, Ordering::Relaxed);
    }
}
