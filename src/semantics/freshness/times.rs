//! The times of a stored response.

use std::time::Duration;

use super::stale_windows::Staleness;
use crate::semantics::moment::Moment;

/// The times of a stored response (RFC 9111 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Freshness {
    /// When the head of the response arrived.
    pub received: Moment,
    /// The age that the response had on arrival (RFC 9111 §4.2.3).
    pub initial_age: Duration,
    /// The freshness lifetime, counted from age zero. `None`: fresh until it is invalidated.
    pub lifetime: Option<Duration>,
    /// How long the response may be used after its lifetime.
    pub stale: Staleness,
    /// `true` if the response does not change while it is fresh (RFC 8246 §2).
    pub immutable: bool,
}

/// The times of a stored response, however it keeps them.
pub trait StoredTimes {
    /// Returns the current age (RFC 9111 §4.2.3).
    fn age(&self, now: Moment) -> Duration;

    /// Returns the freshness lifetime. `None`: fresh until it is invalidated.
    fn lifetime(&self) -> Option<Duration>;

    /// Returns whether the response does not change while it is fresh (RFC 8246 §2).
    fn is_immutable(&self) -> bool;

    /// Returns all times.
    fn freshness(&self) -> Freshness;
}

impl StoredTimes for Freshness {
    fn age(&self, now: Moment) -> Duration {
        Self::age(self, now)
    }

    fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    fn is_immutable(&self) -> bool {
        self.immutable
    }

    fn freshness(&self) -> Freshness {
        *self
    }
}

impl Freshness {
    /// Returns the current age (RFC 9111 §4.2.3).
    #[must_use]
    pub fn age(&self, now: Moment) -> Duration {
        self.initial_age.saturating_add(now.since(self.received))
    }

    /// Returns whether the response can ever be served without being validated.
    ///
    /// That is: on arrival it was fresh, or within a window in which it may be served stale.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.lifetime.is_none_or(|lifetime| {
            lifetime.saturating_add(self.stale.longest_while_reachable()) > self.initial_age
        })
    }

    /// Returns when the response stops being useful, as a reading of the monotonic clock.
    ///
    /// That is the end of its lifetime plus the longest window after it. `None`: never.
    #[must_use]
    pub fn useful_until(&self) -> Option<Duration> {
        let whole = self.lifetime?.saturating_add(self.stale.longest());
        let left = whole.saturating_sub(self.initial_age);
        Some(self.received.monotonic().saturating_add(left))
    }
}
