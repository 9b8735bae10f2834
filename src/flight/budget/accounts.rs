//! The accounts of a cache, and their limits.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bodies below this many bytes are not counted once they are stored: the connection of the client
/// that reads one takes more.
pub(super) const COUNTED_FROM: u64 = 4096;

/// Bodies up to this many bytes are stored however many bytes linger. Each one that its readers
/// keep has cost them a connection or a stream, which takes memory of the server too. If they were
/// refused, a few clients could end the storing of nearly all pages.
pub(super) const ALWAYS_STORED: u64 = 64 * 1024;

/// The bytes in use by all bodies of a cache.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    pub(super) collected: AtomicU64,
    pub(super) unread: AtomicU64,
    pub(super) lingering: AtomicU64,
    pub(super) copied: AtomicU64,
}

/// The limits of a budget, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BudgetLimits {
    pub(crate) max_buffered: u64,
    pub(crate) max_lingering: u64,
}

#[cfg(test)]
impl BudgetLimits {
    pub(crate) const UNLIMITED: Self = Self {
        max_buffered: u64::MAX,
        max_lingering: u64::MAX,
    };
}

impl Budget {
    /// Bytes that are collected for the store, reservations included.
    pub(crate) fn collected_bytes(&self) -> u64 {
        self.collected.load(Ordering::Relaxed)
    }

    /// Bytes that are not stored and that clients have yet to read.
    pub(crate) fn unread_bytes(&self) -> u64 {
        self.unread.load(Ordering::Relaxed)
    }

    /// Bytes of responses that were removed from the store and are still read.
    pub(crate) fn lingering_bytes(&self) -> u64 {
        balance(&self.lingering)
    }

    /// Bytes of responses that were read from a backend outside of this process, for one client
    /// each.
    pub(crate) fn copied_bytes(&self) -> u64 {
        balance(&self.copied)
    }

    /// Whether a body may be stored, although clients may go on reading it after its removal.
    ///
    /// Once removed bodies take half of the limit, it must be smaller than an eighth of the rest or
    /// small in itself: large bodies are refused long before small ones, and these never.
    pub(super) fn may_store(&self, length: u64, max_lingering: u64) -> bool {
        let lingering = self.lingering_bytes();
        lingering <= max_lingering / 2
            || length <= ALWAYS_STORED
            || length < max_lingering.saturating_sub(lingering) / 8
    }
}

/// The balance of an account that may be below zero for a moment.
fn balance(account: &AtomicU64) -> u64 {
    let balance = account.load(Ordering::Relaxed);
    if balance > i64::MAX as u64 {
        0
    } else {
        balance
    }
}
