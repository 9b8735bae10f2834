//! Locks and atomics of the code that is model-checked: those of std, or of loom in its models.
//!
//! Compiled with `--cfg trc_loom`, the tests of `flight/model`, `backend/memory/model` and
//! `state/write_grace/model` run their code under loom, which tries the interleavings of these
//! operations.

#[cfg(all(test, trc_loom))]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::AtomicU64};
#[cfg(not(all(test, trc_loom)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicU64};
