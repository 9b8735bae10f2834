//! The locks and atomics of what is modelled: std's, or loom's, which tries every interleaving of them.

#[cfg(all(test, trc_loom))]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::AtomicU64};
#[cfg(not(all(test, trc_loom)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicU64};
