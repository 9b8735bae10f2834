//! When a flight that brings no response, or whose body stalls, is taken over by another call.
//!
//! The first call has the takeover timeout for the first byte of its body, and then for each chunk;
//! each later one in a row has twice the time of the one before, up to a limit. Knows nothing of the
//! table. Start at [`Flight::time_left`].

use std::time::Duration;

use super::join_rules::{Flight, JoinRules};
use super::stream::{BodyProgress, BodyStream};

/// Each flight that overtakes another one without an outcome doubles the takeover timeout of its
/// own; after so many doublings it stays as it is.
const MAX_DOUBLINGS: u32 = 10;

/// The least time for a chunk of a body that has begun: no body comes all at once.
const MIN_PATIENCE: Duration = Duration::from_secs(1);

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
        let takeover_timeout = rules.takeover_timeout.saturating_mul(1 << self.overtaken());
        let left = match self.body_progress() {
            BodyProgress::NotBegun => takeover_timeout.saturating_sub(age),
            BodyProgress::WaitingFor(waited) => {
                takeover_timeout.max(MIN_PATIENCE).saturating_sub(waited)
            }
            BodyProgress::Whole => Duration::MAX,
        };
        left.min(rules.fill_timeout.saturating_sub(age))
    }

    /// Whether the flight is still expected to bring a response, or the rest of it.
    pub(super) fn is_alive(&self, rules: JoinRules) -> bool {
        !self.time_left(rules).is_zero()
    }

    /// Whether the flight has a response whose body does not stall.
    pub(super) fn is_settled(&self, rules: JoinRules) -> bool {
        self.announcement.is_published()
            && match self.body_progress() {
                BodyProgress::NotBegun => false,
                BodyProgress::WaitingFor(waited) => {
                    waited < rules.takeover_timeout.max(MIN_PATIENCE)
                }
                BodyProgress::Whole => true,
            }
    }

    /// How far the body has come. A response that is published before its body begins has none.
    fn body_progress(&self) -> BodyProgress {
        let progress = self.stream.get().map(BodyStream::progress);
        match progress.filter(|progress| *progress != BodyProgress::NotBegun) {
            Some(progress) => progress,
            None if self.announcement.is_published() => BodyProgress::Whole,
            None => BodyProgress::NotBegun,
        }
    }
}
