//! The times of a stored response.

use std::time::Duration;

use super::staleness::Staleness;
use crate::semantics::moment::Moment;

/// A stored response's times (RFC 9111 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Freshness {
    /// When its head arrived.
    pub received: Moment,
    /// How old it was then.
    pub initial_age: Duration,
    /// Its freshness lifetime; `None` is "until invalidated".
    pub lifetime: Option<Duration>,
    /// What it may be used for beyond that.
    pub stale: Staleness,
    /// Whether it does not change as long as it is fresh (RFC 8246 §2).
    pub immutable: bool,
}

impl Freshness {
    /// The current age (§4.2.3).
    #[must_use]
    pub fn age(&self, now: Moment) -> Duration {
        self.initial_age.saturating_add(now.since(self.received))
    }

    /// Whether it may ever be used without being validated: it was fresh, or usable as it is, when it arrived.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.lifetime.is_none_or(|lifetime| {
            lifetime.saturating_add(self.stale.asked_for()) > self.initial_age
        })
    }

    /// Until when, on the monotonic clock, it is of any use: its lifetime and the longest time it may be used beyond that.
    /// `None` is for ever.
    #[must_use]
    pub fn useful_until(&self) -> Option<Duration> {
        let whole = self.lifetime?.saturating_add(self.stale.longest());
        let left = whole.saturating_sub(self.initial_age);
        Some(self.received.monotonic().saturating_add(left))
    }
}
