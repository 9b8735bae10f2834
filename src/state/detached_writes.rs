//! How many writes run on although their clients have left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of writes that run on without a client.
#[derive(Debug, Default)]
pub(crate) struct DetachedWrites(Arc<AtomicUsize>);

impl DetachedWrites {
    /// Counts one more, unless there are `max` already.
    pub(crate) fn begin(&self, max: usize) -> Option<DetachedWritePermit> {
        let one_more = |running| (running < max).then_some(running + 1);
        let counter = &self.0;
        let begun = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        begun.ok().map(|_| DetachedWritePermit(counter.clone()))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// The permission of one write to run on. Dropped, it lets another one run on.
#[derive(Debug)]
pub(crate) struct DetachedWritePermit(Arc<AtomicUsize>);

impl Drop for DetachedWritePermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
