//! A lifetime from the configuration.

use std::time::Duration;

/// A lifetime that this cache gives to responses which say nothing of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// Fresh for this long.
    For(Duration),
    /// Fresh until a write, an invalidation or eviction takes it: no automatic expiration.
    UntilInvalidated,
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Self::For(duration)
    }
}
