//! The keys that are paced: who has a place, and who waits for one.
//!
//! Data under the lock of the table. Wakers run foreign code, so each of them is handed to the
//! caller, who has to release the lock first. Start at [`PacedKeys::ask`].

use std::collections::{BTreeMap, HashMap};
use std::task::Waker;

use crate::key::CacheKey;
use crate::semantics::request_kind::RequestKind;

/// The number of queues, one for each [`Precedence`].
const QUEUES: usize = 3;
/// The odd number next to 2^64 divided by the golden ratio: its multiples are spread evenly.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The queue that a request waits in. Places go to all three in turn, so that many requests that
/// fail for their own sake cannot keep others from calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precedence {
    /// No call that it followed has failed, and its response is likely to be of use for others.
    NotTried,
    /// Its response is likely to be of use for others.
    ForAll,
    /// Its response is likely to be for itself alone, such as that to credentials.
    ForItself,
}

impl Precedence {
    /// The queues with requests of the same kind.
    fn alike(self) -> &'static [Self] {
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

/// The answer to a request that asks for a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Granted,
    Waits,
    /// It has waited until a response came that it may share.
    Ended,
}

/// All keys that are paced. `T` is a flight.
pub(in crate::flight) struct PacedKeys<T>(HashMap<CacheKey, PacedKey<T>>);

impl<T> Default for PacedKeys<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// The calls of one key. A member is a request that asks for a place, or a flight that has one.
struct PacedKey<T> {
    /// The members that have a place.
    holders: Vec<u64>,
    /// The members that wait, for each [`Precedence`].
    waiting: [BTreeMap<u64, Waker>; QUEUES],
    /// How often a place was handed over.
    handed_over: u64,
    /// The latest flight with a response that may be shared. Its leader lives, so that no flight is
    /// dropped with this one, under the lock.
    shared: Option<T>,
}

impl<T> Default for PacedKey<T> {
    fn default() -> Self {
        Self {
            holders: Vec::new(),
            waiting: Default::default(),
            handed_over: 0,
            shared: None,
        }
    }
}

impl<T> PacedKeys<T> {
    /// The flight of a paced key that has a response. It may be none of the table: another one has
    /// begun since.
    pub(in crate::flight) fn shared(&self, key: &CacheKey) -> Option<&T> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(key)?.shared.as_ref()
    }

    /// Whether the calls of a key are paced.
    pub(in crate::flight) fn contains(&self, key: &CacheKey) -> bool {
        !self.0.is_empty() && self.0.contains_key(key)
    }

    /// Whether a flight may be opened. If its key is paced, it takes one of `max` places.
    pub(in crate::flight) fn admit(&mut self, key: &CacheKey, flight: u64, max: usize) -> bool {
        // The usual case costs no hash.
        if self.0.is_empty() {
            return true;
        }
        let Some(paced) = self.0.get_mut(key) else {
            return true;
        };
        let is_free = paced.holders.len() < max;
        if is_free {
            paced.holders.push(flight);
        }
        is_free
    }

    /// Asks for one of `max` places, first or once more, and leaves a waker if it has to wait.
    /// The caller drops the returned waker after it has released the lock.
    pub(super) fn ask(
        &mut self,
        key: &CacheKey,
        (member, is_new): (u64, bool),
        precedence: Precedence,
        max: usize,
        waker: &Waker,
    ) -> (Answer, Option<Waker>) {
        let is_paced = self.0.contains_key(key);
        if !is_new && !is_paced {
            return (Answer::Ended, None);
        }
        let paced = self.0.entry(*key).or_default();
        let queue = &mut paced.waiting[precedence as usize];
        if paced.holders.contains(&member) {
            return (Answer::Granted, None);
        }
        if is_new && paced.holders.len() < max {
            paced.holders.push(member);
            return (Answer::Granted, None);
        }
        if is_new || queue.contains_key(&member) {
            return (Answer::Waits, queue.insert(member, waker.clone()));
        }
        (Answer::Ended, None)
    }

    /// Passes the place of a request on to the flight that it has opened.
    pub(in crate::flight) fn replace(&mut self, key: &CacheKey, member: u64, flight: u64) {
        let paced = self.0.get_mut(key);
        let holder = paced.and_then(|paced| paced.holders.iter_mut().find(|id| **id == member));
        if let Some(holder) = holder {
            *holder = flight;
        }
    }

    /// Removes a member. If it had a place, another has it now, whose waker is returned to be
    /// woken; otherwise the waker is its own.
    #[must_use]
    pub(in crate::flight) fn leave(&mut self, key: &CacheKey, member: u64) -> Option<Waker> {
        if self.0.is_empty() {
            return None;
        }
        let paced = self.0.get_mut(key)?;
        let place = paced.holders.iter().position(|holder| *holder == member);
        let waker = match place {
            Some(place) => paced.hand_over(place),
            None => paced
                .waiting
                .iter_mut()
                .find_map(|queue| queue.remove(&member)),
        };
        self.remove_unused(key);
        waker
    }

    /// Ends the waiting of all requests for a key, because this flight has a response that may be
    /// shared. The wakers are returned, to be woken.
    #[must_use]
    pub(in crate::flight) fn share(&mut self, key: &CacheKey, shared: &T) -> Vec<Waker>
    where
        T: Clone,
    {
        if self.0.is_empty() {
            return Vec::new();
        }
        let Some(paced) = self.0.get_mut(key) else {
            return Vec::new();
        };
        paced.shared = Some(shared.clone());
        let waiting = std::mem::take(&mut paced.waiting);
        self.remove_unused(key);
        let wakers = waiting.into_iter().flat_map(BTreeMap::into_values);
        wakers.collect()
    }

    /// Ends the waiting of requests for a key, because a request like these got a response. The
    /// wakers are returned, to be woken.
    #[must_use]
    pub(in crate::flight) fn end(&mut self, key: &CacheKey, like: Precedence) -> Vec<Waker> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let Some(paced) = self.0.get_mut(key) else {
            return Vec::new();
        };
        let queues = like.alike().iter();
        let waiting = queues.map(|queue| std::mem::take(&mut paced.waiting[*queue as usize]));
        let wakers = waiting.flat_map(BTreeMap::into_values).collect();
        self.remove_unused(key);
        wakers
    }

    fn remove_unused(&mut self, key: &CacheKey) {
        if self.0.get(key).is_some_and(PacedKey::is_unused) {
            self.0.remove(key);
        }
    }

    /// Forgets a flight that is closed. The caller drops it after it has released the lock.
    pub(in crate::flight) fn forget_shared(
        &mut self,
        key: &CacheKey,
        is_closed: impl Fn(&T) -> bool,
    ) -> Option<T> {
        if self.0.is_empty() {
            return None;
        }
        self.0
            .get_mut(key)?
            .shared
            .take_if(|shared| is_closed(shared))
    }
}

impl<T> PacedKey<T> {
    fn is_unused(&self) -> bool {
        self.holders.is_empty() && self.waiting.iter().all(BTreeMap::is_empty)
    }

    /// Hands a place over to one that waits, whose waker is returned.
    ///
    /// Not to the first: many requests of one kind that came before would have it all to
    /// themselves. The choice is spread over all that wait.
    fn hand_over(&mut self, place: usize) -> Option<Waker> {
        self.handed_over = self.handed_over.wrapping_add(1);
        let turn = usize::try_from(self.handed_over % QUEUES as u64).unwrap_or(0);
        let mut in_turn = (0..QUEUES).map(|offset| (turn + offset) % QUEUES);
        let queue = in_turn.find(|queue| !self.waiting[*queue].is_empty());
        let queue = &mut self.waiting[queue.unwrap_or(0)];
        let next = chosen(queue, self.handed_over).and_then(|next| queue.remove_entry(&next));
        match next {
            Some((next, waker)) => {
                self.holders[place] = next;
                Some(waker)
            }
            None => {
                self.holders.swap_remove(place);
                None
            }
        }
    }
}

/// One of the members that wait. Successive numbers are spread over all of them.
fn chosen(queue: &BTreeMap<u64, Waker>, number: u64) -> Option<u64> {
    let (first, last) = (*queue.first_key_value()?.0, *queue.last_key_value()?.0);
    let span = u128::from(last - first) + 1;
    let offset = (u128::from(number.wrapping_mul(GOLDEN)) * span) >> 64;
    let from = first + u64::try_from(offset).unwrap_or(0);
    queue.range(from..).next().map(|(member, _)| *member)
}
