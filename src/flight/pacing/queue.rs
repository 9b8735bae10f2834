//! A queue for the places of a paced key, and how long requests have waited in it.
//!
//! Knows numbers, wakers and durations, not places. Start at [`Precedence`], then [`Queue`].

use std::collections::BTreeMap;
use std::ops::Bound;
use std::task::Waker;
use std::time::Duration;

use super::member::Member;
use super::place_limit::PlaceLimit;
use crate::semantics::request_kind::RequestKind;
use crate::shares::ClientId;

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
    /// By their clients, none of which is without a member.
    waiting: BTreeMap<Option<ClientId>, BTreeMap<u64, Waker>>,
    /// The client whose member has had the last place.
    last_served: Option<ClientId>,
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

    pub(super) fn contains(&self, member: Member) -> bool {
        let of_client = self.waiting.get(&member.client);
        of_client.is_some_and(|waiting| waiting.contains_key(&member.number))
    }

    pub(super) fn insert(&mut self, member: Member, waker: Waker) -> Option<Waker> {
        let of_client = self.waiting.entry(member.client).or_default();
        of_client.insert(member.number, waker)
    }

    pub(super) fn remove(&mut self, member: Member) -> Option<Waker> {
        let of_client = self.waiting.get_mut(&member.client)?;
        let waker = of_client.remove(&member.number);
        if of_client.is_empty() {
            self.waiting.remove(&member.client);
        }
        self.was_waited_in &= !self.waiting.is_empty();
        waker
    }

    /// Removes all members, since there is a response. Their wakers are returned.
    pub(super) fn end(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let of_clients = std::mem::take(self).waiting.into_values();
        of_clients.flat_map(BTreeMap::into_values)
    }

    /// Takes the member out that has the next place, which is the number-th one of the key. It is
    /// one of a client that `may_be` the next.
    ///
    /// It is not the first: many requests that came before would have all places to themselves. It
    /// is the newest of a client, and one from anywhere in its queue, by turns.
    pub(super) fn take(
        &mut self,
        number: u64,
        may_be: impl Fn(Option<ClientId>) -> bool,
    ) -> Option<(Member, Waker)> {
        let client = self.client_in_turn(may_be)?;
        self.last_served = client;
        let waiting = self.waiting.get(&client)?;
        let number = match (number / QUEUES as u64).is_multiple_of(2) {
            true => *waiting.last_key_value()?.0,
            false => chosen(waiting, number)?,
        };
        let member = Member { number, client };
        Some((member, self.remove(member)?))
    }

    /// A client whose member has the next place: the next one in the order of their digests.
    fn client_in_turn(
        &self,
        may_be: impl Fn(Option<ClientId>) -> bool,
    ) -> Option<Option<ClientId>> {
        let behind = (Bound::Excluded(self.last_served), Bound::Unbounded);
        // Few clients have their share, so that this ends soon.
        let in_turn = self
            .waiting
            .range(behind)
            .chain(self.waiting.range(..=self.last_served));
        in_turn
            .map(|(client, _)| *client)
            .find(|client| may_be(*client))
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

/// One of the members of a client. Successive numbers are spread over all of them.
fn chosen(waiting: &BTreeMap<u64, Waker>, number: u64) -> Option<u64> {
    let (first, last) = (*waiting.first_key_value()?.0, *waiting.last_key_value()?.0);
    let span = u128::from(last - first) + 1;
    let offset = (u128::from(number.wrapping_mul(GOLDEN)) * span) >> 64;
    let from = first + u64::try_from(offset).unwrap_or(0);
    waiting.range(from..).next().map(|(member, _)| *member)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: Member = Member {
        number: 1,
        client: None,
    };

    /// However their digests lie, and however many members each has.
    #[test]
    fn clients_have_their_turns() {
        let client = |number: u64| Some(ClientId::from_digest(number << 32));
        let clients = [None, client(1), client(2), client(u64::from(u32::MAX))];
        let mut queue = Queue::default();
        for number in 0..40 {
            for client in clients.iter().skip((number > 20).into()) {
                let member = Member {
                    number: number * 4,
                    client: *client,
                };
                queue.insert(member, Waker::noop().clone());
            }
        }
        for turn in 0..20 {
            let mut take = |n: u64| queue.take(turn * 4 + n, |_| true).expect("one").0.client;
            let mut served = [0, 1, 2, 3].map(&mut take);
            served.sort_unstable();
            assert_eq!(served, clients);
        }
    }

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
                true => queue.insert(MEMBER, Waker::noop().clone()),
                false => queue.remove(MEMBER),
            };
            queue.count_time();
        }
    }
}
