//! The members that have a place, and since when.
//!
//! Knows numbers and durations. Start at [`Holders`].

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::member::Member;
use super::queue::{Precedence, QUEUES};
use crate::shares::{ClientId, Shares};

/// The members that have a place. One that has had it for a whole doubling time is *overdue*: its
/// call is likely to hang, and others need not wait for it.
#[derive(Default)]
pub(super) struct Holders {
    members: HashMap<u64, Holder>,
    shares: Shares,
    /// Those that are not overdue, by the time since when they have their place.
    recent: BTreeSet<(Duration, u64)>,
    /// Those that are not overdue, for each [`Precedence`].
    timely: [Shares; QUEUES],
}

#[derive(Clone, Copy)]
struct Holder {
    precedence: Precedence,
    client: Option<ClientId>,
    /// `None` until the member has learnt that it has a place.
    since: Option<Duration>,
    is_overdue: bool,
}

impl Holder {
    fn new(member: Member, precedence: Precedence) -> Self {
        Self {
            precedence,
            client: member.client,
            since: None,
            is_overdue: false,
        }
    }
}

impl Holders {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a client may have one more of `places`, overdue ones included.
    pub(super) fn has_room(&self, client: Option<ClientId>, places: usize) -> bool {
        self.shares.has_room(client, places)
    }

    /// The number of those that are not overdue, of one precedence.
    pub(super) fn timely(&self, precedence: Precedence) -> usize {
        self.timely[precedence as usize].len()
    }

    /// Whether a client may have one more of the `places` of one precedence, beside those that are
    /// overdue.
    pub(super) fn has_timely_room(
        &self,
        client: Option<ClientId>,
        (precedence, places): (Precedence, usize),
    ) -> bool {
        self.timely[precedence as usize].has_room(client, places)
    }

    pub(super) fn overdue(&self) -> usize {
        self.len() - self.timely.iter().map(Shares::len).sum::<usize>()
    }

    /// Gives a member a place. Its time does not run before it [takes](Self::take) that.
    pub(super) fn insert(&mut self, member: Member, precedence: Precedence) {
        self.add(member.number, Holder::new(member, precedence));
    }

    /// Gives a member a place beside all others: it takes none from them, as one that is overdue.
    pub(super) fn insert_beside(&mut self, member: Member, precedence: Precedence) {
        let holder = Holder {
            is_overdue: true,
            ..Holder::new(member, precedence)
        };
        self.add(member.number, holder);
    }

    fn add(&mut self, member: u64, holder: Holder) {
        self.members.insert(member, holder);
        self.shares.add(holder.client);
        if holder.is_overdue {
            return;
        }
        self.timely[holder.precedence as usize].add(holder.client);
        if let Some(since) = holder.since {
            self.recent.insert((since, member));
        }
    }

    /// Whether a member has a place. If so, it knows that from now on.
    pub(super) fn take(&mut self, member: u64, now: Duration) -> bool {
        let Some(holder) = self.members.get_mut(&member) else {
            return false;
        };
        if holder.since.is_none() {
            holder.since = Some(now);
            if !holder.is_overdue {
                self.recent.insert((now, member));
            }
        }
        true
    }

    /// Removes a member. Whether it had a place.
    pub(super) fn remove(&mut self, member: u64) -> bool {
        self.take_out(member).is_some()
    }

    /// Passes a place on, with its time.
    pub(super) fn replace(&mut self, member: u64, successor: u64) {
        if let Some(holder) = self.take_out(member) {
            self.add(successor, holder);
        }
    }

    fn take_out(&mut self, member: u64) -> Option<Holder> {
        let holder = self.members.remove(&member)?;
        self.shares.remove(holder.client);
        if let Some(since) = holder.since {
            self.recent.remove(&(since, member));
        }
        if !holder.is_overdue {
            self.timely[holder.precedence as usize].remove(holder.client);
        }
        Some(holder)
    }

    /// Notes which members are overdue by now.
    pub(super) fn update(&mut self, doubling_time: Duration, now: Duration) {
        while let Some((since, member)) = self.recent.first().copied()
            && now.saturating_sub(since) >= doubling_time
        {
            self.recent.pop_first();
            if let Some(holder) = self.members.get_mut(&member) {
                holder.is_overdue = true;
                self.timely[holder.precedence as usize].remove(holder.client);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_beside_all_others_is_overdue_at_once() {
        let mut holders = Holders::default();
        holders.insert(Member::unknown(1), Precedence::ForAll);
        holders.insert_beside(Member::unknown(2), Precedence::ForAll);
        for seconds in [0, 5] {
            assert!(holders.take(2, Duration::from_secs(seconds)));
            assert_eq!((holders.len(), holders.overdue()), (2, 1));
            assert_eq!(holders.timely(Precedence::ForAll), 1);
        }
        holders.replace(2, 3);
        holders.update(Duration::from_secs(10), Duration::from_secs(90));
        assert_eq!((holders.len(), holders.overdue()), (2, 1));
        assert!(holders.remove(3) && holders.remove(1));
        assert!(holders.is_empty() && holders.overdue() == 0);
    }

    #[test]
    fn a_holder_is_overdue_after_a_doubling_time_of_its_own() {
        use Precedence::{ForAll, NotTried};
        let seconds = Duration::from_secs;
        let mut holders = Holders::default();
        for (member, precedence, since) in [(1, NotTried, 0), (2, ForAll, 5), (3, ForAll, 5)] {
            holders.insert(Member::unknown(member), precedence);
            assert!(holders.take(member, seconds(since)));
            // The first time counts.
            assert!(holders.take(member, seconds(since + 3)));
        }
        // It has not learnt of its place yet.
        holders.insert(Member::unknown(4), ForAll);
        let mut counts = |now, change: &dyn Fn(&mut Holders)| {
            holders.update(seconds(10), seconds(now));
            change(&mut holders);
            let timely = [NotTried, ForAll].map(|precedence| holders.timely(precedence));
            (holders.len(), holders.overdue(), timely)
        };
        assert_eq!(counts(9, &|_| ()), (4, 0, [1, 3]));
        assert_eq!(counts(10, &|_| ()), (4, 1, [0, 3]));
        // A successor has the time of its place.
        assert_eq!(counts(14, &|holders| holders.replace(2, 5)), (4, 1, [0, 3]));
        assert_eq!(counts(15, &|_| ()), (4, 3, [0, 1]));
        assert_eq!(counts(15, &|holders| holders.replace(1, 6)), (4, 3, [0, 1]));
        assert_eq!(counts(90, &|_| ()), (4, 3, [0, 1]));
        let all = |holders: &mut Holders| {
            assert!(!holders.take(1, seconds(90)));
            assert_eq!(
                [1, 4, 5, 6].map(|n| holders.remove(n)),
                [false, true, true, true]
            );
        };
        assert_eq!(counts(90, &all), (1, 1, [0, 0]));
    }
}
