//! Tasks that are about to take a batch.
//!
//! Lookups that are made before such a task runs join its batch, and need none of their own. They
//! do so only where it is sure to run soon: where all tasks of a runtime share one thread, and the
//! lookup is made on that. A task of another thread may have to wait there for longer than this
//! lookup has time.
//!
//! Knows no batches. Start with [`SenderThread`].

use std::ptr;

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::semantics::moment::Moment;

thread_local! {
    /// Its address tells this thread from all others.
    static THREAD: u8 = const { 0 };
}

/// The thread that runs all tasks of a runtime; none if there are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderThread(Option<usize>);

impl SenderThread {
    /// Returns this thread, if it runs all tasks of the runtime.
    pub(crate) fn of(runtime: &Handle) -> Self {
        let is_only = runtime.runtime_flavor() == RuntimeFlavor::CurrentThread;
        Self(is_only.then(|| THREAD.with(|thread| ptr::from_ref(thread).addr())))
    }

    /// Returns none.
    pub(super) const fn unknown() -> Self {
        Self(None)
    }

    /// Whether both are known, and the same.
    pub(super) fn is_same(self, other: Self) -> bool {
        self.0.is_some() && self.0 == other.0
    }
}

/// The promise that a task takes a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    pub(super) thread: SenderThread,
    /// The moment of the lookup that the task was made for.
    pub(super) at: Moment,
}
