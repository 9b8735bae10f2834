//! The lifetime that the configuration gives to a response without one.

use std::time::Duration;

/// The lifetime of responses that do not state their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ttl {
    /// Fresh for this long.
    For(Duration),
    /// Fresh until a write, an invalidation or eviction removes it. Never expires.
    UntilInvalidated,
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Self::For(duration)
    }
}
