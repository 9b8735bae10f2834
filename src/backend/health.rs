//! How much a backend stores, and how healthy it is.

use std::fmt;

/// How much a backend stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Usage {
    /// The number of stored entries, including the backend's own records.
    pub entries: u64,
    /// The memory these entries take, in bytes.
    pub bytes: u64,
    /// The number of entries evicted for lack of capacity since the backend was created.
    pub evictions: u64,
    /// The number of entries that were removed because they had expired. Those that expire are
    /// removed when others are stored.
    pub expired: u64,
    /// The number of variants that were removed because their key had too many, or is told apart by
    /// other fields since.
    pub removed_variants: u64,
    /// The memory that entries may take, in bytes; `None` if it is not bounded, or not known.
    pub capacity: Option<u64>,
}

/// The state of the circuit breaker of a [`Guarded`](super::Guarded) backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerState {
    /// Operations reach the backend.
    #[default]
    Closed,
    /// Operations fail at once: too many have failed or taken too long.
    Open,
    /// One operation, the probe, is testing the backend; all others fail at once.
    HalfOpen,
}

impl BreakerState {
    /// Returns the name of the state for logs and counters: `closed`, `open` or `half-open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for BreakerState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Invalidations that failed at first and were delivered later, by target and mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ReplayedInvalidations {
    /// Resources whose responses were removed.
    pub removed_resources: u64,
    /// Resources whose responses were made stale.
    pub expired_resources: u64,
    /// Groups whose responses were removed.
    pub removed_groups: u64,
    /// Groups whose responses were made stale.
    pub expired_groups: u64,
    /// Clears of everything.
    pub clears: u64,
}

impl ReplayedInvalidations {
    /// Returns the number of all of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.removed_resources
            + self.expired_resources
            + self.removed_groups
            + self.expired_groups
            + self.clears
    }
}

/// The health of a backend that can fail.
///
/// Only a [`Guarded`](super::Guarded) backend has circuit breakers, and delivers invalidations later:
/// without one, these fields have their defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Health {
    /// The state of the circuit breaker of lookups and stores.
    pub breaker: BreakerState,
    /// The state of the circuit breaker of invalidations. While it is open, an invalidation is
    /// tried only if a lookup or a store has succeeded within the last second.
    pub invalidation_breaker: BreakerState,
    /// How often the circuit breaker of lookups and stores has opened.
    pub opened: u64,
    /// How often the circuit breaker of invalidations has opened.
    pub invalidation_breaker_opened: u64,
    /// The number of operations that failed, including those that timed out.
    pub failures: u64,
    /// The number of operations that did not finish by their deadline.
    pub timeouts: u64,
    /// The number of operations that a healthy backend
    /// [refused](crate::backend::BackendError::refused), for example because it is full. No circuit
    /// breaker opens for them, and they are not among `failures`.
    pub refused: u64,
    /// The number of operations that were not attempted, because the circuit breaker was open or an
    /// invalidation of the resource was undelivered.
    pub rejected: u64,
    /// The number of invalidations, among `rejected`, that were not attempted when their write was
    /// answered. They are delivered later.
    pub skipped_invalidations: u64,
    /// The number of invalidations that failed at first and were delivered later.
    pub replayed: u64,
    /// The invalidations in `replayed`, by target and mode.
    pub replayed_by: ReplayedInvalidations,
    /// The number of connections to the backend that were opened in place of broken ones, or after
    /// failed attempts.
    pub reconnects: u64,
    /// The number of resources and groups whose invalidation is still to be delivered.
    ///
    /// Until it is delivered, their responses are not read from the backend.
    pub undelivered: usize,
    /// `true` while the whole backend is still to be cleared, after a failed clear or too many
    /// undelivered invalidations.
    ///
    /// Until it is cleared, nothing is read from the backend.
    pub to_be_cleared: bool,
}
