//! Why an operation of a backend failed.

use std::error::Error;
use std::fmt;

/// The error of a backend's operation.
///
/// The cache counts and logs it. It never reaches a client. Its [`source`](Error::source) is the
/// cause.
#[derive(Debug)]
pub struct BackendError {
    kind: Kind,
    source: Box<dyn Error + Send + Sync>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Failed,
    Refused,
    Unavailable,
    Inconclusive,
    TimedOut,
}

impl BackendError {
    /// Creates the error of a backend that failed or did not answer.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::with_kind(Kind::Failed, source)
    }

    /// Creates the error of a healthy backend that refuses this operation, for example because it
    /// is full. The operation must not have taken effect. A circuit breaker does not count it as a
    /// failure.
    pub fn refused(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::with_kind(Kind::Refused, source)
    }

    /// Creates the error of an operation that was not attempted, for example because a circuit
    /// breaker is open. It says nothing of the backend's health either.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::with_kind(Kind::Unavailable, source)
    }

    /// Creates the error of an operation that ended for a reason which tells nothing of the
    /// backend's health, for example because a slow network did not carry a large response in time.
    /// A circuit breaker counts it neither as a failure nor as a success.
    pub fn inconclusive(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::with_kind(Kind::Inconclusive, source)
    }

    /// Creates the error of an operation that did not end by its deadline. It is a failure.
    pub(crate) fn timed_out(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::with_kind(Kind::TimedOut, source)
    }

    fn with_kind(kind: Kind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: source.into(),
        }
    }

    /// Returns whether the operation did not end by its deadline.
    pub(crate) fn is_timeout(&self) -> bool {
        self.kind == Kind::TimedOut
    }

    /// Returns whether a healthy backend [refused](Self::refused) the operation.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.kind == Kind::Refused
    }

    /// Returns whether the operation was [not attempted](Self::unavailable).
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unavailable
    }

    /// Returns whether the error tells [nothing of the backend's health](Self::inconclusive).
    #[must_use]
    pub fn is_inconclusive(&self) -> bool {
        self.kind == Kind::Inconclusive
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Failed | Kind::TimedOut => "cache backend failed",
            Kind::Refused => "cache backend refused the operation",
            Kind::Unavailable => "cache backend is unavailable",
            Kind::Inconclusive => "cache backend did not complete the operation",
        })
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
