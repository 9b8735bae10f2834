//! Log lines about a backend that fails: at most one per second for each kind of operation.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::BackendError;
use crate::semantics::moment::Moment;

/// A kind of backend operation.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    Lookup,
    Fence,
    Store,
    Invalidation,
    Clear,
}

/// Throttles the log lines about failed backend operations.
#[derive(Debug, Default)]
pub(crate) struct FailureLog([Throttle; 5]);

impl FailureLog {
    /// Logs a failed operation, with the number of failures of its kind since the last line.
    ///
    /// An error that says the backend was not asked (its circuit breaker is open) is logged at
    /// debug level, except for invalidations: there, other instances may miss a write.
    pub(crate) fn report(&self, operation: Operation, error: &BackendError, now: Moment) {
        let is_invalidation = matches!(operation, Operation::Invalidation | Operation::Clear);
        if error.is_unavailable() && !is_invalidation {
            return tracing::debug!(error = error as &dyn Error, "backend not asked");
        }
        let error: &dyn Error = error;
        let Some(suppressed) = self.0[operation as usize].admit(now) else {
            return;
        };
        match operation {
            Operation::Lookup => tracing::warn!(error, suppressed, "backend lookup failed"),
            Operation::Fence => tracing::warn!(error, suppressed, "backend fence failed"),
            Operation::Store => tracing::warn!(error, suppressed, "backend store failed"),
            Operation::Clear => tracing::error!(error, suppressed, "clear not acknowledged"),
            Operation::Invalidation => tracing::error!(
                error,
                suppressed,
                "invalidation not acknowledged; other instances that share the backend may serve \
                 the old response until it is delivered or the response expires"
            ),
        }
    }
}

/// Admits one log line per second.
#[derive(Debug, Default)]
struct Throttle {
    /// The second of the last admitted line, counted from 1; 0 before the first.
    last: AtomicU64,
    /// Lines refused since then.
    suppressed: AtomicU64,
}

impl Throttle {
    /// The number of lines suppressed since the last one, if another may be written now.
    fn admit(&self, now: Moment) -> Option<u64> {
        let second = now.monotonic().as_secs() + 1;
        let last = self.last.load(Ordering::Relaxed);
        let is_first = last != second
            && self
                .last
                .compare_exchange(last, second, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_first {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_were_suppressed() {
        let throttle = Throttle::default();
        let at = |millis| Moment::new(Duration::from_millis(millis), SystemTime::UNIX_EPOCH);
        let admitted = [0, 10, 999, 1000, 1001, 5000].map(|millis| throttle.admit(at(millis)));
        assert_eq!(admitted, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
