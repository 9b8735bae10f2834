//! The keys that are paced: who has a place, and who waits for one.
//!
//! Data under the lock of the table. Wakers run foreign code, so each of them is handed to the
//! caller, who has to release the lock first. Start at [`PacedKeys::ask`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::task::Waker;
use std::time::Duration;

use super::place_limit::PlaceLimit;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::RequestKind;

/// The number of queues, one for each [`Precedence`].
const QUEUES: usize = 3;
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

/// A request for a place: who asks, for the first time or once more.
#[derive(Clone, Copy)]
pub(super) struct Question {
    pub(super) member: u64,
    pub(super) is_new: bool,
    pub(super) precedence: Precedence,
}

/// The answer, with the wakers that the caller uses once it has released the lock.
pub(super) struct Reply {
    pub(super) answer: Answer,
    /// Those of requests that have a place now. They are to be woken.
    pub(super) granted: Vec<Waker>,
    /// The one that this request has left before. It is to be dropped.
    pub(super) replaced: Option<Waker>,
}

impl Reply {
    fn at_once(answer: Answer) -> Self {
        Self {
            answer,
            granted: Vec::new(),
            replaced: None,
        }
    }
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
    /// The time since when no call has succeeded.
    began: Moment,
    /// The number of places when it was last looked at.
    places: usize,
    /// The members that have a place.
    holders: HashSet<u64>,
    /// The members that wait, for each [`Precedence`].
    waiting: [BTreeMap<u64, Waker>; QUEUES],
    /// How often a place was handed over.
    handed_over: u64,
    /// The latest flight with a response that may be shared. Its leader lives, so that no flight is
    /// dropped with this one, under the lock.
    shared: Option<T>,
}

impl<T> PacedKeys<T> {
    /// What is known of a key. The usual case, in which no key is paced, costs no hash.
    fn get(&self, key: &CacheKey) -> Option<&PacedKey<T>> {
        match self.0.is_empty() {
            true => None,
            false => self.0.get(key),
        }
    }

    fn get_mut(&mut self, key: &CacheKey) -> Option<&mut PacedKey<T>> {
        match self.0.is_empty() {
            true => None,
            false => self.0.get_mut(key),
        }
    }

    /// The flight of a paced key that has a response. It may be none of the table: another one has
    /// begun since.
    pub(in crate::flight) fn shared(&self, key: &CacheKey) -> Option<&T> {
        self.get(key)?.shared.as_ref()
    }

    /// Whether the calls of a key are paced.
    pub(in crate::flight) fn contains(&self, key: &CacheKey) -> bool {
        self.get(key).is_some_and(PacedKey::is_paced)
    }

    /// Whether a flight may be opened. If its key is paced, it takes a place, which it gets only
    /// where no request waits for one.
    pub(in crate::flight) fn admit(
        &mut self,
        key: &CacheKey,
        flight: u64,
        limit: PlaceLimit,
        now: Moment,
    ) -> bool {
        let Some(paced) = self.get_mut(key).filter(|paced| paced.is_paced()) else {
            return true;
        };
        paced.update_places(limit, now);
        let is_free = paced.holders.len() < paced.places && !paced.is_waited_for();
        if is_free {
            paced.holders.insert(flight);
        }
        is_free
    }

    /// Asks for a place, and leaves a waker if the request has to wait.
    pub(super) fn ask(
        &mut self,
        key: &CacheKey,
        question: Question,
        (limit, now): (PlaceLimit, Moment),
        waker: &Waker,
    ) -> Reply {
        let Question {
            member,
            is_new,
            precedence,
        } = question;
        let is_paced = self.contains(key);
        if !is_new && !is_paced {
            return Reply::at_once(Answer::Ended);
        }
        let paced = self.0.entry(*key).or_insert_with(|| PacedKey::new(now));
        if !is_paced {
            paced.began = now;
        }
        if paced.holders.contains(&member) {
            return Reply::at_once(Answer::Granted);
        }
        let queue = &mut paced.waiting[precedence as usize];
        if !is_new && !queue.contains_key(&member) {
            return Reply::at_once(Answer::Ended);
        }
        let replaced = queue.insert(member, waker.clone());
        paced.update_places(limit, now);
        let granted = paced.fill_places();
        Reply {
            answer: match paced.holders.contains(&member) {
                true => Answer::Granted,
                false => Answer::Waits,
            },
            granted,
            replaced,
        }
    }

    /// Grants a place to a member that waits, whether one is free or not. Its waker is returned, to
    /// be dropped.
    pub(super) fn grant(&mut self, key: &CacheKey, member: u64) -> Option<Waker> {
        let paced = self.get_mut(key)?;
        let waker = paced.remove_waiting(member);
        if waker.is_some() {
            paced.holders.insert(member);
        }
        waker
    }

    /// The time until a key has more places.
    pub(super) fn time_to_more(&self, key: &CacheKey, limit: PlaceLimit, now: Moment) -> Duration {
        let paced = self.get(key).filter(|paced| paced.is_paced());
        limit.time_to_more(paced.map_or(Duration::ZERO, |paced| paced.paced_for(now)))
    }

    /// Passes the place of a request on to the flight that it has opened.
    pub(in crate::flight) fn replace(&mut self, key: &CacheKey, member: u64, flight: u64) {
        if let Some(paced) = self.get_mut(key)
            && paced.holders.remove(&member)
        {
            paced.holders.insert(flight);
        }
    }

    /// Removes a member. If it had a place, another may have it now. The wakers are returned, to be
    /// woken.
    #[must_use]
    pub(in crate::flight) fn leave(&mut self, key: &CacheKey, member: u64) -> Vec<Waker> {
        let Some(paced) = self.get_mut(key) else {
            return Vec::new();
        };
        let wakers = match paced.holders.remove(&member) {
            true => paced.fill_places(),
            false => paced.remove_waiting(member).into_iter().collect(),
        };
        self.remove_unused(key);
        wakers
    }

    /// Ends the pacing of a key, because this flight has a response that may be shared. The wakers
    /// of all that waited are returned, to be woken.
    #[must_use]
    pub(in crate::flight) fn share(&mut self, key: &CacheKey, shared: &T) -> Vec<Waker>
    where
        T: Clone,
    {
        let Some(paced) = self.get_mut(key) else {
            return Vec::new();
        };
        paced.shared = Some(shared.clone());
        paced.holders.clear();
        let waiting = std::mem::take(&mut paced.waiting);
        let wakers = waiting.into_iter().flat_map(BTreeMap::into_values);
        wakers.collect()
    }

    /// Ends the waiting of requests for a key, because a request like these got a response, and the
    /// pacing if no others wait. The wakers are returned, to be woken.
    #[must_use]
    pub(in crate::flight) fn end(&mut self, key: &CacheKey, like: Precedence) -> Vec<Waker> {
        let Some(paced) = self.get_mut(key) else {
            return Vec::new();
        };
        let queues = like.alike().iter();
        let waiting = queues.map(|queue| std::mem::take(&mut paced.waiting[*queue as usize]));
        let wakers = waiting.flat_map(BTreeMap::into_values).collect();
        if !paced.is_waited_for() {
            paced.holders.clear();
        }
        self.remove_unused(key);
        wakers
    }

    fn remove_unused(&mut self, key: &CacheKey) {
        let is_unused = |paced: &PacedKey<T>| !paced.is_paced() && paced.shared.is_none();
        if self.get(key).is_some_and(is_unused) {
            self.0.remove(key);
        }
    }

    /// Forgets a flight that is closed. The caller drops it after it has released the lock.
    pub(in crate::flight) fn forget_shared(
        &mut self,
        key: &CacheKey,
        is_closed: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let shared = &mut self.get_mut(key)?.shared;
        let closed = shared.take_if(|shared| is_closed(shared));
        self.remove_unused(key);
        closed
    }
}

impl<T> PacedKey<T> {
    fn new(now: Moment) -> Self {
        Self {
            began: now,
            places: 0,
            holders: HashSet::new(),
            waiting: Default::default(),
            handed_over: 0,
            shared: None,
        }
    }

    fn is_waited_for(&self) -> bool {
        !self.waiting.iter().all(BTreeMap::is_empty)
    }

    fn is_paced(&self) -> bool {
        !self.holders.is_empty() || self.is_waited_for()
    }

    fn paced_for(&self, now: Moment) -> Duration {
        now.monotonic_since(self.began)
    }

    fn update_places(&mut self, limit: PlaceLimit, now: Moment) {
        self.places = limit.after(self.paced_for(now));
    }

    fn remove_waiting(&mut self, member: u64) -> Option<Waker> {
        let mut queues = self.waiting.iter_mut();
        queues.find_map(|queue| queue.remove(&member))
    }

    /// Hands the free places over to members that wait, whose wakers are returned.
    fn fill_places(&mut self) -> Vec<Waker> {
        let mut granted = Vec::new();
        while self.holders.len() < self.places {
            let Some((member, waker)) = self.next_to_call() else {
                break;
            };
            self.holders.insert(member);
            granted.push(waker);
        }
        granted
    }

    /// Takes the member that has the next place out of its queue.
    ///
    /// It is not the first: many requests that came before would have all places to themselves. It
    /// is the newest of each queue, and one from anywhere in the queue, by turns.
    fn next_to_call(&mut self) -> Option<(u64, Waker)> {
        self.handed_over = self.handed_over.wrapping_add(1);
        let number = self.handed_over;
        let turn = usize::try_from(number % QUEUES as u64).unwrap_or(0);
        let mut in_turn = (0..QUEUES).map(|offset| (turn + offset) % QUEUES);
        let queue = in_turn.find(|queue| !self.waiting[*queue].is_empty())?;
        let queue = &mut self.waiting[queue];
        if (number / QUEUES as u64).is_multiple_of(2) {
            return queue.pop_last();
        }
        queue.remove_entry(&chosen(queue, number)?)
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
