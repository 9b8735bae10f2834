//! Telling of a backend that fails: every kind of failure at once, and then no more than a line a second.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::{Backend, BackendError};
use crate::semantics::moment::Moment;

use crate::state::Shared;

/// What a backend could not do.
#[derive(Clone, Copy)]
pub(crate) enum Failed {
    Lookup,
    Fence,
    Store,
    Invalidation,
    Clear,
}

/// How much was said of each.
#[derive(Debug, Default)]
pub(crate) struct Complaints([Complaint; 5]);

#[derive(Debug, Default)]
struct Complaint {
    /// In which second, counted from 1, something was said last.
    said: AtomicU64,
    /// How often nothing was said since.
    unsaid: AtomicU64,
}

impl Complaint {
    /// How many went unsaid, if it is time to say something.
    fn is_due(&self, now: Moment) -> Option<u64> {
        let second = now.monotonic().as_secs() + 1;
        let said = self.said.load(Ordering::Relaxed);
        let is_first = said != second
            && self
                .said
                .compare_exchange(said, second, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_first {
            return Some(self.unsaid.swap(0, Ordering::Relaxed));
        }
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl<B: Backend> Shared<B> {
    /// Tells that the backend could not do something. That it was not even asked is news only where somebody else may miss
    /// it.
    pub(crate) fn backend_failed(&self, failed: Failed, error: &BackendError) {
        let is_owed = matches!(failed, Failed::Invalidation | Failed::Clear);
        if error.is_unavailable() && !is_owed {
            return tracing::debug!(error = error as &dyn Error, "not asked");
        }
        let error: &dyn Error = error;
        let Some(unsaid) = self.core.complaints.0[failed as usize].is_due(self.now()) else {
            return;
        };
        match failed {
            Failed::Lookup => tracing::warn!(error, unsaid, "a lookup failed"),
            Failed::Fence => tracing::warn!(error, unsaid, "no fence for a write"),
            Failed::Store => tracing::warn!(error, unsaid, "a store failed"),
            Failed::Clear => tracing::error!(error, unsaid, "a clear was not acknowledged"),
            Failed::Invalidation => tracing::error!(
                error,
                unsaid,
                "an invalidation was not acknowledged: others who share the backend may serve what is stored until it is \
                 delivered, or expires"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_line_a_second_tells_how_many_it_stands_for() {
        let complaint = Complaint::default();
        let at = |millis| Moment::new(Duration::from_millis(millis), SystemTime::UNIX_EPOCH);
        let said = [0, 10, 999, 1000, 1001, 5000].map(|millis| complaint.is_due(at(millis)));
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
