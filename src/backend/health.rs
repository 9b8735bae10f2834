//! How a backend that can fail is doing.

use std::fmt;

/// Whether a backend is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// It is.
    #[default]
    Closed,
    /// It is not: it failed too often, or took too long.
    Open,
    /// One operation is finding out whether it is well again; the others are not asked.
    HalfOpen,
}

impl BreakerState {
    /// The name, for logs and counters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of a backend that can fail, see [`Guarded`](super::Guarded).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether it is asked.
    pub breaker: BreakerState,
    /// How often it was found not to be worth asking.
    pub opened: u64,
    /// Operations that failed.
    pub failures: u64,
    /// Operations that ran out of time; they are among the failures.
    pub timeouts: u64,
    /// Operations that were not tried.
    pub rejected: u64,
    /// Invalidations that could not be delivered, and were afterwards.
    pub replayed: u64,
    /// Resources and groups whose invalidation is still to be delivered: what is of them is not read from the backend until
    /// then.
    pub undelivered: usize,
    /// Whether so many were undelivered that everything is to be cleared, and nothing is read until then.
    pub to_be_cleared: bool,
}
