//! A request's place among the paced calls of its key, or in the queue for one.
//!
//! Knows the stripes, whose lock protects the keys that are paced. Start at [`Place::poll`].

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::member::{Answer, Member, Reply};
use super::paced_keys::Question;
use super::place_limit::PlaceLimit;
use super::queue::Precedence;
use crate::flight::flight_maps::next_id;
use crate::flight::stripes::FlightStripes;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::shares::ClientId;

/// A place, or the wish to have one. Dropping it hands the place over to another request, or leaves
/// the queue.
pub(crate) struct Place<F, H> {
    stripes: Arc<FlightStripes<F, H>>,
    key: CacheKey,
    member: Member,
    precedence: Precedence,
    /// Whether the table knows of it.
    is_listed: bool,
}

impl<F, H> Place<F, H> {
    pub(in crate::flight) fn new(
        stripes: Arc<FlightStripes<F, H>>,
        key: CacheKey,
        precedence: Precedence,
        client: Option<ClientId>,
    ) -> Self {
        let number = next_id();
        Self {
            stripes,
            key,
            member: Member { number, client },
            precedence,
            is_listed: false,
        }
    }

    /// The key whose calls it is one of.
    pub(crate) fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Asks for a place at this time. Ready with `true` once the request may call, and with `false`
    /// once it is worth looking for a response to share.
    ///
    /// The time wakes no request: the caller asks again after [`time_to_more`](Self::time_to_more).
    pub(crate) fn poll(
        &mut self,
        limit: PlaceLimit,
        now: Moment,
        cx: &mut Context<'_>,
    ) -> Poll<bool> {
        let question = Question {
            member: self.member,
            is_new: !self.is_listed,
            precedence: self.precedence,
        };
        let mut maps = self.stripes.of_key(&self.key).lock();
        let reply = maps
            .paced
            .ask(&self.key, question, (limit, now), cx.waker());
        drop(maps);
        self.is_listed = true;
        let Reply {
            answer,
            granted,
            replaced,
        } = reply;
        drop(replaced);
        granted.into_iter().for_each(Waker::wake);
        match answer {
            Answer::Granted => Poll::Ready(true),
            Answer::Ended => Poll::Ready(false),
            Answer::Waits => Poll::Pending,
        }
    }

    /// The time until there are more places, so that it is worth asking again.
    pub(crate) fn time_to_more(&self, limit: PlaceLimit, now: Moment) -> Duration {
        let maps = self.stripes.of_key(&self.key).lock();
        let paced = &maps.paced;
        paced.time_to_more(&self.key, self.precedence, (limit, now))
    }

    /// Takes a place, although none may be free: the request has waited for as long as it may.
    pub(crate) fn grant(&self, now: Moment) {
        let mut maps = self.stripes.of_key(&self.key).lock();
        let waker = maps
            .paced
            .grant(&self.key, (self.member, self.precedence), now);
        drop(maps);
        drop(waker);
    }

    /// Ends the waiting of others like this request: its call, without a flight, has brought a
    /// response.
    pub(crate) fn end_pacing(&self) {
        let stripe = self.stripes.of_key(&self.key);
        stripe.end_pacing(&self.key, self.precedence);
    }

    /// Forgets the place, which a flight has now.
    pub(in crate::flight) fn pass_on(&mut self) -> u64 {
        self.is_listed = false;
        self.member.number
    }
}

impl<F, H> Drop for Place<F, H> {
    fn drop(&mut self) {
        // It was never asked for, or a flight has it.
        if !self.is_listed {
            return;
        }
        let mut maps = self.stripes.of_key(&self.key).lock();
        let wakers = maps.paced.leave(&self.key, self.member);
        drop(maps);
        wakers.into_iter().for_each(Waker::wake);
    }
}
