//! For how long a client has held up others, and who is like it.

use std::time::Duration;

use super::patience::patience_for;

/// The time for which a client is noted.
pub(super) const TTL: Duration = Duration::from_secs(10 * 60);
/// Calls that take less are alike, whatever is usual.
const MIN_USUAL: Duration = Duration::from_millis(100);
/// The number of notes in one stripe of the table.
pub(super) const MAX: usize = 64;

/// Whether a client is still noted that was noted at a time, by the monotonic clock.
pub(super) fn is_current(noted: Duration, now: Duration) -> bool {
    now.saturating_sub(noted) < TTL
}

/// For how long a client has held up others: sums tell who goes on from who lets them wait once or
/// twice, and the longest times tell many ordinary waits from one for a call that hangs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HoldUp {
    /// What its calls take that bring an answer: the shortest of them, as the others may have had a
    /// reason. `None` if none has.
    pub(super) usual: Option<Duration>,
    /// How long others have waited beyond that for answers, in all.
    pub(super) slower: Duration,
    /// The longest of the calls that have brought those.
    pub(super) slowest: Duration,
    /// How long others have waited in vain, in all.
    pub(super) in_vain: Duration,
    /// The longest time that they have waited for one call in vain.
    pub(super) longest_in_vain: Duration,
}

impl HoldUp {
    /// Whether a client that has held up others like this follows one that has done so like `other`:
    /// up to twice as long, by each measure. Answers that are slow are no credit for waits in vain: a
    /// page that takes two seconds for all does not pay for calls that hang. But who has let others
    /// wait in vain follows those that have brought answers, so that one of both follows the other.
    pub(super) fn is_like(self, other: Self) -> bool {
        let twice = |usual: Duration| usual.saturating_mul(2).max(MIN_USUAL);
        let usual = self.usual.map_or(patience_for(Duration::ZERO), twice);
        other.usual.is_none_or(|other| other <= usual)
            && other.slower <= patience_for(self.slower.max(self.in_vain))
            && other.slowest <= patience_for(self.slowest.max(self.longest_in_vain))
            && other.in_vain <= patience_for(self.in_vain)
            && other.longest_in_vain <= patience_for(self.longest_in_vain)
    }

    /// Both together, where it is not known what they are of.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            usual: self.usual.max(other.usual),
            slower: self.slower.max(other.slower),
            slowest: self.slowest.max(other.slowest),
            in_vain: self.in_vain.max(other.in_vain),
            longest_in_vain: self.longest_in_vain.max(other.longest_in_vain),
        }
    }
}
