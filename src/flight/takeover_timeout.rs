//! When a flight that brings no whole response is taken over by another call.
//!
//! The first call has the takeover timeout to bring its whole body; each later one in a row has
//! twice the time of the one before, up to a limit. A body that keeps coming has no more time: it
//! may never end. Knows nothing of the table. Start at [`Flight::time_left`].

use std::time::Duration;

use super::join_rules::{Flight, JoinRules};

/// Each flight that overtakes another one without an outcome doubles the takeover timeout of its
/// own; after so many doublings it stays as it is.
const MAX_DOUBLINGS: u32 = 10;

impl<F, H> Flight<F, H> {
    pub(super) fn overtaken(&self) -> u32 {
        let start = self.call.get();
        start
            .map_or(self.overtaken, |start| start.overtaken)
            .min(MAX_DOUBLINGS)
    }

    /// How many flights in a row one that overtakes this one has overtaken. A flight that no request
    /// has followed has held up none.
    pub(super) fn overtaken_with_this(&self) -> u32 {
        self.overtaken() + u32::from(self.announcement.had_listeners())
    }

    /// The time until the flight counts as dead.
    pub(super) fn time_left(&self, rules: JoinRules) -> Duration {
        let since = self.call.get().map_or(self.opened, |start| start.at);
        let age = rules.now.since(since);
        let takeover_timeout = rules.takeover_timeout.saturating_mul(1 << self.overtaken());
        let left = match self.is_whole() {
            true => Duration::MAX,
            false => takeover_timeout.saturating_sub(age),
        };
        left.min(rules.fill_timeout.saturating_sub(age))
    }

    /// Whether the flight is still expected to bring a response, or the rest of it.
    pub(super) fn is_alive(&self, rules: JoinRules) -> bool {
        !self.time_left(rules).is_zero()
    }

    /// Whether all bytes of the response are here. One that is published without a body has none.
    pub(super) fn is_whole(&self) -> bool {
        match self.stream.get().filter(|stream| stream.has_begun()) {
            Some(stream) => stream.is_whole(),
            None => self.announcement.is_published(),
        }
    }
}
