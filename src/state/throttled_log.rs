//! Log lines that a client, an inner service or a backend can cause with each request: at most one
//! per second of each kind, with the number of those that were left out before it.

use crate::backend::BackendError;
use crate::clock::throttle::Throttle;
use crate::error::causes::WithCauses;
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

/// A kind of log line that is not about the backend.
#[derive(Clone, Copy)]
pub(crate) enum Message {
    Repetition,
    TooManyWaiting,
    WriteWithoutKey,
    TooManyGroups,
    NothingNamed,
    HiddenFailure,
}

/// Throttles log lines by their kind.
#[derive(Debug, Default)]
pub(crate) struct ThrottledLog {
    operations: [Throttle; 5],
    messages: [Throttle; 6],
}

impl ThrottledLog {
    /// The number of lines of a kind left out since the last one, if another may be written now.
    pub(crate) fn admit(&self, message: Message, now: Moment) -> Option<u64> {
        self.messages[message as usize].admit(now.monotonic())
    }

    /// Logs a failed operation, with the number of failures of its kind since the last line.
    ///
    /// An error that says the backend was not asked (its circuit breaker is open) is logged at
    /// debug level, except for invalidations: there, other instances may miss a write.
    pub(crate) fn report(&self, operation: Operation, error: &BackendError, now: Moment) {
        let is_invalidation = matches!(operation, Operation::Invalidation | Operation::Clear);
        if error.is_unavailable() && !is_invalidation {
            return tracing::debug!(error = %WithCauses(error), "backend not asked");
        }
        let error = WithCauses(error);
        let Some(suppressed) = self.operations[operation as usize].admit(now.monotonic()) else {
            return;
        };
        match operation {
            Operation::Lookup => tracing::warn!(%error, suppressed, "backend lookup failed"),
            Operation::Fence => tracing::warn!(%error, suppressed, "backend fence failed"),
            Operation::Store => tracing::warn!(%error, suppressed, "backend store failed"),
            Operation::Clear => tracing::error!(%error, suppressed, "clear not acknowledged"),
            Operation::Invalidation => tracing::error!(
                %error,
                suppressed,
                "invalidation not acknowledged; other instances that share the backend may serve \
                 the old response until it is delivered or the response expires"
            ),
        }
    }
}
