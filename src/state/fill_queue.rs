//! The bounded queue of fills that wait for the inner service to be ready.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the fills that wait for the inner service's readiness.
#[derive(Debug, Default)]
pub(crate) struct FillQueue(AtomicUsize);

/// A place in the queue. Dropping it leaves the queue.
pub(crate) struct QueuePlace<'q>(&'q FillQueue);

impl FillQueue {
    /// The number of fills that wait.
    pub(crate) fn len(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A place, or `None` if `max` fills wait already.
    pub(crate) fn enter(&self, max: usize) -> Option<QueuePlace<'_>> {
        let grow = |waiting: usize| (waiting < max).then_some(waiting + 1);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow)
            .is_ok()
            .then(|| QueuePlace(self))
    }
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
