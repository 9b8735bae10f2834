//! A request's place among the paced calls of its key, or in the queue for one.
//!
//! Knows the stripes, whose lock protects the keys that are paced. Start at [`Place::poll`].

use std::sync::Arc;
use std::task::{Context, Poll};

use super::paced_keys::{Answer, Precedence};
use crate::flight::flight_maps::{FlightStripes, next_id};
use crate::key::CacheKey;

/// A place, or the wish to have one. Dropping it hands the place over to another request, or leaves
/// the queue.
pub(crate) struct Place<F, H> {
    stripes: Arc<FlightStripes<F, H>>,
    key: CacheKey,
    member: u64,
    precedence: Precedence,
    /// Whether the table knows of it.
    is_listed: bool,
}

impl<F, H> Place<F, H> {
    pub(in crate::flight) fn new(
        stripes: Arc<FlightStripes<F, H>>,
        key: CacheKey,
        precedence: Precedence,
    ) -> Self {
        Self {
            stripes,
            key,
            member: next_id(),
            precedence,
            is_listed: false,
        }
    }

    /// The key whose calls it is one of.
    pub(crate) fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Asks for one of `max` places. Ready with `true` once the request may call, and with `false`
    /// once it is worth looking for a response to share.
    pub(crate) fn poll(&mut self, max: usize, cx: &mut Context<'_>) -> Poll<bool> {
        let mut maps = self.stripes.of_key(&self.key).lock();
        let member = (self.member, !self.is_listed);
        let (answer, replaced) =
            maps.paced
                .ask(&self.key, member, self.precedence, max, cx.waker());
        drop(maps);
        drop(replaced);
        self.is_listed = true;
        match answer {
            Answer::Granted => Poll::Ready(true),
            Answer::Ended => Poll::Ready(false),
            Answer::Waits => Poll::Pending,
        }
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
        self.member
    }
}

impl<F, H> Drop for Place<F, H> {
    fn drop(&mut self) {
        // It was never asked for, or a flight has it.
        if !self.is_listed {
            return;
        }
        let mut maps = self.stripes.of_key(&self.key).lock();
        let waker = maps.paced.leave(&self.key, self.member);
        drop(maps);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
