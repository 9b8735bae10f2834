//! When a flight that brings no response, or whose body stalls, is taken over by another call.
//!
//! The first call has the takeover timeout, until its response begins and then for each chunk; each
//! later one in a row has twice the time of the one before, up to a limit. Knows nothing of the table. Start at [`Flight::time_left`].

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

    /// The time until the flight counts as dead.
    pub(super) fn time_left(&self, rules: JoinRules) -> Duration {
        let since = self.call.get().map_or(self.opened, |start| start.at);
        let age = rules.now.since(since);
        let waited = match self.announcement.is_published() {
            true => self.waited_for_chunk(),
            false => age,
        };
        let takeover_timeout = rules.takeover_timeout.saturating_mul(1 << self.overtaken());
        let left = takeover_timeout.saturating_sub(waited);
        left.min(rules.fill_timeout.saturating_sub(age))
    }

    /// Whether the flight is still expected to bring a response, or the rest of it.
    pub(super) fn is_alive(&self, rules: JoinRules) -> bool {
        !self.time_left(rules).is_zero()
    }

    /// Whether the flight has a response whose body does not stall.
    pub(super) fn is_settled(&self, rules: JoinRules) -> bool {
        self.announcement.is_published() && self.waited_for_chunk() < rules.takeover_timeout
    }
}
