//! The leader of a flight: the request that calls the inner service for all who follow.
//!
//! Knows the stripes, through which it moves its flight; the call itself is made by the service.
//! That uses a [`Leader`] in the order of its methods: `wait_for_predecessors`, `begin_call`,
//! `set_driver` once it has to wait for one of these or for the response, then `add_variant_key` and
//! `publish` or `close_with`, at last `close`.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::announcement::FlightOutcome;
use super::follower::CallDriver;
use super::hold_ups::SlowCall;
use super::hold_ups::others_wait::OthersWait;
use super::join_rules::{Flight, JoinRules, Predecessor};
use super::stream::BodyStream;
use super::stripes::FlightStripes;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::timeout::with_timeout;

/// The leader's end of a flight.
///
/// Dropping it closes the flight. If no outcome was published until then, it is
/// [`FlightOutcome::Vacant`]: a cancelled leader is replaced by one of its followers.
pub(crate) struct Leader<F, H> {
    stripes: Arc<FlightStripes<F, H>>,
    key: CacheKey,
    pub(super) flight: Arc<Flight<F, H>>,
    is_closed: AtomicBool,
}

impl<F, H> Leader<F, H> {
    /// The leader of a flight that is in the table, under this key.
    pub(super) fn new(
        stripes: Arc<FlightStripes<F, H>>,
        key: CacheKey,
        flight: Arc<Flight<F, H>>,
    ) -> Self {
        Self {
            stripes,
            key,
            flight,
            is_closed: AtomicBool::new(false),
        }
    }

    /// The key under which the flight was opened.
    pub(crate) fn key(&self) -> CacheKey {
        self.key
    }

    /// The time until the flight counts as dead, so that others call, too.
    pub(crate) fn time_left(&self, rules: JoinRules) -> Duration {
        self.flight.time_left(rules)
    }

    /// The stream that the leader and all followers read the body from, and that the service fills.
    /// `new_stream` makes it, unless a follower has joined.
    pub(crate) fn stream(&self, new_stream: impl FnOnce() -> BodyStream) -> &BodyStream {
        self.flight.stream(new_stream)
    }

    /// Sets the driver that followers detach. Returns whether a follower came before this call:
    /// the caller detaches the driver itself then.
    pub(crate) fn set_driver(&self, driver: Weak<dyn CallDriver>) -> bool {
        let _ = self.flight.driver.set(driver);
        self.flight.announcement.had_listeners()
    }

    /// Whether the call has to wait, see [`wait_for_predecessors`](Self::wait_for_predecessors).
    pub(crate) fn has_predecessors(&self) -> bool {
        !self.flight.predecessors.is_empty()
    }

    /// Waits for the outcomes of the flights before this one, where it has no fence, and returns
    /// them.
    ///
    /// The service calls it before [`begin_call`](Self::begin_call), so that N concurrent misses
    /// without a fence make at most two calls. It waits for each until its takeover timeout: the
    /// client of that has held up this one then. Dropping the future has no effect on any flight.
    pub(crate) async fn wait_for_predecessors(&self) -> Vec<FlightOutcome<H>> {
        let (began, mut outcomes) = (Instant::now(), Vec::new());
        let predecessors = &self.flight.predecessors;
        (predecessors.iter()).for_each(|predecessor| predecessor.observer.detach_call());
        for predecessor in predecessors {
            let left = predecessor.max_wait.saturating_sub(began.elapsed());
            let outcome = predecessor.observer.wait_for_outcome();
            match with_timeout(left, outcome).await {
                Some(outcome) => outcomes.push(outcome),
                None => self.note_waited_for(predecessor),
            }
        }
        outcomes
    }

    /// Notes that this flight has waited for another one in vain. Where both are of one client,
    /// others have waited for this one.
    fn note_waited_for(&self, predecessor: &Predecessor<F, H>) {
        let of_predecessor = predecessor.observer.others_wait.as_ref();
        let of_both = [of_predecessor, self.flight.others_wait.get()];
        let noted = of_both.into_iter().flatten();
        noted.for_each(|wait| self.note(wait));
    }

    /// Tells the table that the call begins: from now on requests that need a later call, or that
    /// have no fence, do not join any more.
    ///
    /// The service calls it right before it calls the inner service.
    ///
    /// Returns whether all followers so far have joined under the flight's fence. If not, one of
    /// them may have begun after a write that removed what the leader had looked up: the response
    /// must not contain any of that. Later followers need the fence anyway.
    #[must_use]
    pub(crate) fn begin_call(&self, now: Moment) -> bool {
        let mut maps = self.stripes.of_key(&self.key).lock();
        let replaced = maps.begin_call(self.key, &self.flight, now);
        let is_under_fence = self.flight.is_followed_under_its_fence();
        drop(maps);
        drop(replaced);
        is_under_fence
    }

    /// Whether the call has begun.
    pub(crate) fn has_called(&self) -> bool {
        self.flight.call.get().is_some()
    }

    /// Lists the flight under the key of a variant too, once the response head has a `Vary` field:
    /// later requests look for it there. A later flight of that key is left in its place.
    ///
    /// A few of the requests that wait for a place of these keys can join this flight: if it is of
    /// use for one of them, or ends [whole](Self::close_whole), the pacing is over. Only the first
    /// call has an effect, and none if the flight is closed.
    pub(crate) fn add_variant_key(&self, key: CacheKey) {
        if self.is_closed.load(Ordering::Relaxed) {
            return;
        }
        let mut maps = self.stripes.of_key(&self.key).lock();
        if self.flight.variant_key.set(key).is_ok() {
            let replaced = maps.add_key(key, &self.flight);
            let own = Some(&self.key).filter(|own| **own != key);
            let waiting = [own, Some(&key)].into_iter().flatten().map(|key| {
                let shared = (self.flight.id, &self.flight);
                maps.paced.share(key, shared)
            });
            let waiting: Vec<_> = waiting.flatten().collect();
            drop(maps);
            drop(replaced);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Whether there are followers at this moment.
    pub(crate) fn has_followers(&self) -> bool {
        self.flight.announcement.has_followers()
    }

    /// Whether an outcome has been published.
    pub(crate) fn has_outcome(&self) -> bool {
        self.flight.announcement.is_published()
    }

    /// Publishes the outcome to all followers, and to those that join until the flight is closed.
    /// Only the first outcome counts.
    pub(crate) fn publish(&self, outcome: FlightOutcome<H>) {
        self.flight.announcement.publish(outcome);
    }

    /// Closes the flight and publishes the outcome. Does nothing if one was published before.
    ///
    /// A refusal ends the pacing of the key for that kind of request: the service is well.
    pub(crate) fn close_with(&self, outcome: FlightOutcome<H>) {
        if self.has_outcome() {
            return;
        }
        match outcome {
            FlightOutcome::Shared(_) | FlightOutcome::Exempt => {}
            FlightOutcome::Refused { .. } => self.note_if_in_vain(Self::note_answered),
            FlightOutcome::Vacant => self.note_if_in_vain(Self::note),
        }
        let recovered = match outcome {
            FlightOutcome::Refused { kind, .. } => Some(kind),
            _ => None,
        };
        self.close();
        self.publish(outcome);
        if let Some(kind) = recovered {
            let stripe = self.stripes.of_key(&self.key);
            stripe.end_pacing(&self.key, kind.into());
        }
    }

    /// Notes that the flight has brought nothing, if others still wait for it or some have waited
    /// long: they may have left because of that.
    fn note_if_in_vain(&self, note: impl FnOnce(&Self, &OthersWait)) {
        // Asked first, as it takes no lock.
        let Some(wait) = self.flight.others_wait.get() else {
            return;
        };
        if !self.has_outcome() && wait.is_in_vain(self.has_followers()) {
            note(self, wait);
        }
    }

    /// Notes how long others have waited in vain.
    fn note(&self, wait: &OthersWait) {
        if let Some(waited) = wait.take() {
            let mut maps = self.stripes.of_key(&self.key).lock();
            maps.hold_ups.note_in_vain(&self.key, waited);
        }
    }

    /// Notes what the call took whose response is refused to those who have waited.
    fn note_answered(&self, wait: &OthersWait) {
        let Some(waited) = wait.take() else { return };
        let waits_since = waited.until.saturating_sub(waited.time);
        let start = self.flight.call.get();
        let called = start.map_or(waits_since, |start| start.at.monotonic());
        let call = SlowCall {
            client: waited.client,
            took: waited.until.saturating_sub(called),
            until: waited.until,
        };
        let mut maps = self.stripes.of_key(&self.key).lock();
        (maps.hold_ups).note_slow(&self.key, call, Duration::ZERO);
    }

    /// Leaves the flight to its followers, because the request is none of the cache's. Nothing will
    /// be stored, so that later requests need not look up again.
    pub(crate) fn exempt(&self) {
        if !self.has_outcome() {
            self.note_if_in_vain(Self::note);
            let mut maps = self.stripes.of_key(&self.key).lock();
            let removed = maps.remove(self.key, &self.flight);
            drop(maps);
            drop(removed);
            self.publish(FlightOutcome::Exempt);
        }
    }

    /// Closes the flight: no request joins any more. Its followers keep following.
    pub(crate) fn close(&self) {
        self.close_as(false, None);
    }

    /// Closes the flight, whose body has not broken off, and notes the time that its call took until
    /// the end of that, if it is known. That ends the pacing of its keys.
    pub(crate) fn close_whole(&self, took: Option<Duration>) {
        self.close_as(true, took);
    }

    fn close_as(&self, is_whole: bool, took: Option<Duration>) {
        if !is_whole
            && let Some(wait) = self.flight.others_wait.get()
            && self.has_outcome()
            && !self.flight.is_whole()
        {
            self.note(wait);
        }
        let stripe = self.stripes.of_key(&self.key);
        stripe.close(self.key, &self.flight, (is_whole, took));
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Whether the response may be stored under a key, whose turn it is now: that of no call which
    /// began later was stored meanwhile.
    pub(crate) fn claim_store(&self, stored_key: CacheKey) -> bool {
        self.flight.has_rivals.get().is_none() || {
            let mut maps = self.stripes.of_key(&self.key).lock();
            maps.claim_store(&self.flight, stored_key)
        }
    }

    /// Closes the flight if no request has ever joined it, and neither its key nor that of the
    /// response is paced. Returns whether it is closed. Its outcome is of no use then, because no
    /// request learns it.
    ///
    /// The service calls it once the response is stored, where later requests find it.
    pub(crate) fn close_unfollowed(&self, stored_key: &CacheKey, took: Duration) -> bool {
        let stripe = self.stripes.of_key(&self.key);
        let is_closed = stripe.close_unfollowed([&self.key, stored_key], &self.flight, took);
        self.is_closed.store(is_closed, Ordering::Relaxed);
        is_closed
    }

    /// Waits until the last follower has left, then takes the flight out of the table, so that
    /// the caller can cancel the call without failing a request that joins at that moment.
    ///
    /// Dropping the future leaves the flight as it is.
    pub(crate) async fn wait_until_abandoned(&self) {
        loop {
            poll_fn(|cx| self.flight.announcement.poll_without_followers(cx)).await;
            let mut maps = self.stripes.of_key(&self.key).lock();
            // A request may have joined before the lock was taken.
            if !self.has_followers() {
                let removed = maps.remove(self.key, &self.flight);
                drop(maps);
                drop(removed);
                return;
            }
        }
    }
}

impl<F, H> Drop for Leader<F, H> {
    fn drop(&mut self) {
        self.note_if_in_vain(Self::note);
        if !*self.is_closed.get_mut() {
            self.close();
        }
        self.flight.announcement.publish(FlightOutcome::Vacant);
    }
}
