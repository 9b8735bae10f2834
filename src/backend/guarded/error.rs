//! Why an operation failed in front of the backend.

use std::error::Error;
use std::fmt;

/// The reason for which an operation was not attempted, or was given up.
#[derive(Clone, Copy, Debug)]
pub(super) enum GuardError {
    BreakerOpen,
    Undelivered,
    TimedOut,
}

impl fmt::Display for GuardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BreakerOpen => "the circuit breaker is open",
            Self::Undelivered => "an invalidation is still to be delivered",
            Self::TimedOut => "the deadline has passed",
        })
    }
}

impl Error for GuardError {}
