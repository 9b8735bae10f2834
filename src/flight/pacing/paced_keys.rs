//! The keys that are paced: who has a place, and who waits for one.
//!
//! Data under the lock of the table. Wakers run foreign code, so each of them is handed to the
//! caller, who has to release the lock first. Start at [`PacedKeys::ask`].

use std::collections::HashMap;
use std::task::Waker;
use std::time::Duration;

use super::holders::Holders;
use super::member::{Answer, AskedBy, Member, Reply};
use super::place_limit::PlaceLimit;
use super::queue::{Precedence, QUEUES, Queue};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::shares::ClientId;

/// The number of requests that look at a response at first: one of them may have left by then.
const LOOKS: usize = 2;

/// A request for a place: who asks, for the first time or once more.
#[derive(Clone, Copy)]
pub(super) struct Question {
    pub(super) member: Member,
    pub(super) is_new: bool,
    pub(super) precedence: Precedence,
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
    /// The time at which it was last updated.
    updated: Moment,
    /// The limit at that time.
    limit: PlaceLimit,
    holders: Holders,
    asked_by: AskedBy,
    /// The members that wait, for each [`Precedence`].
    queues: [Queue; QUEUES],
    /// How often a place was handed over.
    handed_over: u64,
    /// The latest flight with a response that may be shared. Its leader lives, so that no flight is
    /// dropped with this one, under the lock.
    shared: Option<T>,
}

impl<T> PacedKeys<T> {
    /// The entry of a key. The usual case, in which no key is paced, costs no hash.
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

    /// Whether anything is known of the calls of a key: they are paced, or were until a moment ago.
    pub(in crate::flight) fn has_entry(&self, key: &CacheKey) -> bool {
        self.get(key).is_some()
    }

    /// Whether the calls of a key are paced.
    fn contains(&self, key: &CacheKey) -> bool {
        self.get(key).is_some_and(PacedKey::is_paced)
    }

    /// Whether they are for requests of a client, if it is known: not where all that have asked for
    /// places are of one other client. Its calls may fail for what it sends.
    pub(in crate::flight) fn contains_for(&self, key: &CacheKey, client: Option<ClientId>) -> bool {
        let paced = self.get(key).filter(|paced| paced.is_paced());
        paced.is_some_and(|paced| paced.asked_by.may_include(client))
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
        if !is_new && !self.contains(key) {
            return Reply::at_once(Answer::Ended);
        }
        let paced = self
            .0
            .entry(*key)
            .or_insert_with(|| PacedKey::new(limit, now, member.client));
        paced.update(limit, now);
        paced.asked_by = paced.asked_by.and(member.client);
        if paced.holders.take(member.number, now.monotonic()) {
            return Reply::at_once(Answer::Granted);
        }
        let queue = &mut paced.queues[precedence as usize];
        if !is_new && !queue.contains(member) {
            return Reply::at_once(Answer::Ended);
        }
        let replaced = queue.insert(member, waker.clone());
        let granted = paced.fill_places();
        paced.queues.iter_mut().for_each(Queue::count_time);
        Reply {
            answer: match paced.holders.take(member.number, now.monotonic()) {
                true => Answer::Granted,
                false => Answer::Waits,
            },
            granted,
            replaced,
        }
    }

    /// Grants a place to a member that waits, whether one is free or not, and beside those of others:
    /// who sends many that wait so long would have all of them. Its waker is returned, to be dropped.
    pub(super) fn grant(
        &mut self,
        key: &CacheKey,
        (member, precedence): (Member, Precedence),
        now: Moment,
    ) -> Option<Waker> {
        let paced = self.get_mut(key)?;
        let waker = paced.queues[precedence as usize].remove(member);
        if waker.is_some() {
            paced.holders.insert_beside(member, precedence);
            paced.holders.take(member.number, now.monotonic());
        }
        waker
    }

    /// The time until a queue of a key has more places.
    pub(super) fn time_to_more(
        &self,
        key: &CacheKey,
        precedence: Precedence,
        (limit, now): (PlaceLimit, Moment),
    ) -> Duration {
        match self.get(key) {
            None => limit.time_to_more(Duration::ZERO),
            Some(paced) => {
                let passed = now.monotonic_since(paced.updated);
                paced.queues[precedence as usize].time_to_more(limit, passed)
            }
        }
    }

    /// Passes the place of a request on to the flight that it has opened.
    pub(in crate::flight) fn replace(&mut self, key: &CacheKey, member: u64, flight: u64) {
        if let Some(paced) = self.get_mut(key) {
            paced.holders.replace(member, flight);
        }
    }

    /// Removes a member. If it had a place, another may have it now. The wakers are returned, to be
    /// woken.
    #[must_use]
    pub(super) fn leave(&mut self, key: &CacheKey, member: Member) -> Vec<Waker> {
        let left = self
            .get_mut(key)
            .and_then(|paced| paced.remove_waiting(member));
        let granted = self.give_back(key, member.number);
        left.into_iter().chain(granted).collect()
    }

    /// Gives the place of a request, or of a flight that has ended, back, if it has one. Others may
    /// have it now, whose wakers are returned, to be woken.
    #[must_use]
    pub(in crate::flight) fn give_back(&mut self, key: &CacheKey, member: u64) -> Vec<Waker> {
        let Some(paced) = self.get_mut(key) else {
            return Vec::new();
        };
        let wakers = match paced.holders.remove(member) {
            true => paced.fill_places(),
            false => Vec::new(),
        };
        self.remove_unused(key);
        wakers
    }

    /// Notes that this flight has a response that may be shared, and no longer needs its place. A
    /// few of the requests that wait look whether it is of use: its body may have broken off. Their
    /// wakers are returned, to be woken.
    #[must_use]
    pub(in crate::flight) fn share(
        &mut self,
        key: &CacheKey,
        (flight, shared): (u64, &T),
    ) -> Vec<Waker>
    where
        T: Clone,
    {
        let Some(paced) = self.get_mut(key) else {
            return Vec::new();
        };
        paced.shared = Some(shared.clone());
        paced.holders.remove(flight);
        let wakers = (0..LOOKS).map_while(|_| paced.next_to_look());
        wakers.collect()
    }

    /// Takes one more member out of its queue, to look at the response that is there.
    pub(in crate::flight) fn next_to_look(&mut self, key: &CacheKey) -> Option<Waker> {
        let paced = self.get_mut(key)?;
        paced.shared.as_ref()?;
        paced.next_to_look()
    }

    /// Ends the pacing of a key, because a shared response is of use. The wakers of all that waited
    /// are returned, to be woken.
    #[must_use]
    pub(in crate::flight) fn end_all(&mut self, key: &CacheKey) -> Vec<Waker> {
        let Some(paced) = self.get_mut(key) else {
            return Vec::new();
        };
        paced.holders.clear();
        let wakers = paced.queues.iter_mut().flat_map(Queue::end).collect();
        self.remove_unused(key);
        wakers
    }

    /// Ends the waiting of requests for a key, because a request like these got a response, and the
    /// pacing if no others wait. The wakers are returned, to be woken.
    #[must_use]
    pub(in crate::flight) fn end(&mut self, key: &CacheKey, like: Precedence) -> Vec<Waker> {
        let Some(paced) = self.get_mut(key) else {
            return Vec::new();
        };
        let mut wakers = Vec::new();
        for queue in like.alike() {
            wakers.extend(paced.queues[*queue as usize].end());
        }
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
    fn new(limit: PlaceLimit, now: Moment, client: Option<ClientId>) -> Self {
        Self {
            asked_by: AskedBy::new(client),
            updated: now,
            limit,
            holders: Holders::default(),
            queues: Default::default(),
            handed_over: 0,
            shared: None,
        }
    }

    fn is_waited_for(&self) -> bool {
        !self.queues.iter().all(Queue::is_empty)
    }

    fn is_paced(&self) -> bool {
        !self.holders.is_empty() || self.is_waited_for()
    }

    /// Takes account of the time that has passed.
    fn update(&mut self, limit: PlaceLimit, now: Moment) {
        let passed = now.monotonic_since(self.updated);
        for queue in &mut self.queues {
            queue.update(limit, passed);
        }
        self.holders.update(limit.doubling_time, now.monotonic());
        self.limit = limit;
        if !passed.is_zero() {
            self.updated = now;
        }
    }

    /// The number of places: as many as the queue has that was waited in for the longest time, and
    /// no less than at first beside the calls that are overdue.
    fn places(&self) -> usize {
        let beside_overdue = self
            .limit
            .after(Duration::ZERO)
            .saturating_add(self.holders.overdue());
        let places = self.queues.iter().map(|queue| queue.places);
        places.fold(beside_overdue, usize::max)
    }

    fn remove_waiting(&mut self, member: Member) -> Option<Waker> {
        let mut queues = self.queues.iter_mut();
        queues.find_map(|queue| queue.remove(member))
    }

    /// Hands the free places over to members that wait, whose wakers are returned. No client has
    /// more than its share.
    fn fill_places(&mut self) -> Vec<Waker> {
        let mut granted = Vec::new();
        while self.holders.len() < self.places() {
            let Some((member, precedence, waker)) = self.next_to_call() else {
                break;
            };
            self.holders.insert(member, precedence);
            granted.push(waker);
        }
        granted
    }

    /// Takes a member that may look at a response out of its queue.
    fn next_to_look(&mut self) -> Option<Waker> {
        let (_, _, waker) = self.take_next(|_, _| true, |_, _, _| true)?;
        Some(waker)
    }

    /// Takes the member that has the next place out of its queue. The queues have their turns, and
    /// each has at most its own number of places: one that was just joined by many requests does
    /// not have all that others have waited for. Of each number a client has its share.
    fn next_to_call(&mut self) -> Option<(Member, Precedence, Waker)> {
        let places = self.places();
        self.take_next(
            |holders, (precedence, queue)| holders.timely(precedence) < queue.places,
            |holders, client, of_queue| {
                holders.has_room(client, places) && holders.has_timely_room(client, of_queue)
            },
        )
    }

    /// Takes a member of one of these clients out of one of these queues, which have their turns.
    fn take_next(
        &mut self,
        may_be: impl Fn(&Holders, (Precedence, &Queue)) -> bool,
        may_be_of: impl Fn(&Holders, Option<ClientId>, (Precedence, usize)) -> bool,
    ) -> Option<(Member, Precedence, Waker)> {
        self.handed_over = self.handed_over.wrapping_add(1);
        let number = self.handed_over;
        let turn = usize::try_from(number % QUEUES as u64).unwrap_or(0);
        let mut in_turn = (0..QUEUES).map(|offset| Precedence::ALL[(turn + offset) % QUEUES]);
        let holders = &self.holders;
        in_turn.find_map(|precedence| {
            let queue = &mut self.queues[precedence as usize];
            if queue.is_empty() || !may_be(holders, (precedence, queue)) {
                return None;
            }
            let of_queue = (precedence, queue.places);
            let may_be = |client| may_be_of(holders, client, of_queue);
            let (member, waker) = queue.take(number, may_be)?;
            Some((member, precedence, waker))
        })
    }
}
