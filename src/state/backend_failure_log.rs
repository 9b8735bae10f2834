//! Log lines about a backend that fails: at most one per second for each kind of operation.

use std::error::Error;

use crate::backend::BackendError;
use crate::clock::throttle::Throttle;
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
        let Some(suppressed) = self.0[operation as usize].admit(now.monotonic()) else {
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
