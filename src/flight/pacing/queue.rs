//! A queue for the places of a paced key, and how long requests have waited in it.
//!
//! Knows numbers, wakers and durations, not places. Start at [`Precedence`], then [`Queue`].

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use super::place_limit::PlaceLimit;
use crate::semantics::request_kind::RequestKind;

/// The number of queues, one for each [`Precedence`].
pub(super) const QUEUES: usize = 3;
/// The odd number next to 2^64 divided by the golden ratio: its multiples are spread evenly.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The queue that a request waits in. Places go to all three in turn, so that many requests that
/// fail for their own sake cannot keep others from calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precedence {
    /// It has waited for no call that failed or took too long, and its response is likely to be of
    /// use for others.
    NotTried,
    /// Its response is likely to be of use for others.
    ForAll,
    /// Its response is likely to be for itself alone, such as that to credentials.
    ForItself,
}

impl Precedence {
    pub(super) const ALL: [Self; QUEUES] = [Self::NotTried, Self::ForAll, Self::ForItself];

    /// The queues with requests of the same kind.
    pub(super) fn alike(self) -> &'static [Self] {
        match self {
            Self::NotTried | Self::ForAll => &[Self::NotTried, Self::ForAll],
            Self::ForItself => &[Self::ForItself],
        }
    }
}

impl From<RequestKind> for Precedence {
    fn from(kind: RequestKind) -> Self {
        match kind {
            RequestKind::Plain => Self::ForAll,
            _ => Self::ForItself,
        }
    }
}

/// The members of one precedence that wait for a place.
#[derive(Default)]
pub(super) struct Queue {
    waiting: BTreeMap<u64, Waker>,
    /// How long members have waited. Where none does, that time passes away again.
    waited: Duration,
    /// Whether the queue was never empty since the time was last updated.
    was_waited_in: bool,
    /// The places that may be had out of this queue by now.
    pub(super) places: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn contains(&self, member: u64) -> bool {
        self.waiting.contains_key(&member)
    }

    pub(super) fn insert(&mut self, member: u64, waker: Waker) -> Option<Waker> {
        self.waiting.insert(member, waker)
    }

    pub(super) fn remove(&mut self, member: u64) -> Option<Waker> {
        let waker = self.waiting.remove(&member);
        self.was_waited_in &= !self.waiting.is_empty();
        waker
    }

    /// Removes all members, since there is a response. Their wakers are returned.
    pub(super) fn end(&mut self) -> impl Iterator<Item = Waker> + use<> {
        std::mem::take(self).waiting.into_values()
    }

    /// Takes the member out that has the next place, which is the number-th one of the key.
    ///
    /// It is not the first: many requests that came before would have all places to themselves. It
    /// is the newest, and one from anywhere in the queue, by turns.
    pub(super) fn take(&mut self, number: u64) -> Option<(u64, Waker)> {
        let member = match (number / QUEUES as u64).is_multiple_of(2) {
            true => *self.waiting.last_key_value()?.0,
            false => self.chosen(number)?,
        };
        Some((member, self.remove(member)?))
    }

    /// One of the members. Successive numbers are spread over all of them.
    fn chosen(&self, number: u64) -> Option<u64> {
        let waiting = &self.waiting;
        let (first, last) = (*waiting.first_key_value()?.0, *waiting.last_key_value()?.0);
        let span = u128::from(last - first) + 1;
        let offset = (u128::from(number.wrapping_mul(GOLDEN)) * span) >> 64;
        let from = first + u64::try_from(offset).unwrap_or(0);
        waiting.range(from..).next().map(|(member, _)| *member)
    }

    /// Takes account of the time that has passed, before members come or go.
    pub(super) fn update(&mut self, limit: PlaceLimit, passed: Duration) {
        self.waited = self.waited_after(passed);
        self.places = limit.after(self.waited);
    }

    fn waited_after(&self, passed: Duration) -> Duration {
        match self.was_waited_in {
            true => self.waited.saturating_add(passed),
            false => self.waited.saturating_sub(passed),
        }
    }

    /// Begins to count time, after members have come and gone.
    pub(super) fn count_time(&mut self) {
        self.was_waited_in = !self.waiting.is_empty();
    }

    /// The time until it has more places, if it is waited in from now on.
    pub(super) fn time_to_more(&self, limit: PlaceLimit, passed: Duration) -> Duration {
        limit.time_to_more(self.waited_after(passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Time with members counts, time without them is taken back, and time in which the last one
    /// has left is time without.
    #[test]
    fn places_come_and_go_with_the_time_that_is_waited() {
        let limit = PlaceLimit {
            at_first: 8,
            doubling_time: Duration::from_secs(10),
        };
        let mut queue = Queue::default();
        for (seconds, waits, places, time_to_more) in [
            (0, true, 8, 10),
            (9, true, 8, 1),
            (1, true, 16, 10),
            (25, true, 64, 5),
            // It has ended at some time before the next update.
            (0, false, 64, 5),
            (4, false, 64, 9),
            (2, true, 32, 1),
            (1, false, 64, 10),
            (100, true, 8, 10),
            (10, true, 16, 10),
        ] {
            queue.update(limit, Duration::from_secs(seconds));
            assert_eq!(queue.places, places);
            let more = queue.time_to_more(limit, Duration::ZERO);
            assert_eq!(more, Duration::from_secs(time_to_more));
            let _ = match waits {
                true => queue.insert(1, Waker::noop().clone()),
                false => queue.remove(1),
            };
            queue.count_time();
        }
    }
}
