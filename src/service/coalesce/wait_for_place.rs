//! A request whose calls to follow have failed waits for a place among the paced calls of its key.
//!
//! Knows the place (`crate::flight`) and the request's fields, not the call. Start at
//! [`FlightMember::wait_for_place`].

use std::future::poll_fn;
use std::task::Poll;

use crate::backend::Backend;
use crate::flight::{PlaceLimit, Precedence};
use crate::service::fill_data::{Fill, Miss};
use crate::service::request::outgoing::OutgoingRequest;
use crate::state::LayerState;
use crate::timeout::with_timeout;

use super::followed_flights::FlightEnd;
use super::member::{FlightMember, Waited};

/// The first event for a request that waits for a place.
enum First<F> {
    Granted(bool),
    Outcome(FlightEnd<F>),
}

impl<F: Clone> FlightMember<F> {
    /// Waits for a place, for a response to share, or for an outcome of the flights it follows.
    ///
    /// A request that has waited for as long as it may has a place, however many others have one.
    /// Dropping the future leaves the queue.
    pub(crate) async fn wait_for_place<B: Backend<Fence = F>>(
        &mut self,
        state: &LayerState<B>,
        fill: &mut Fill<F>,
        outgoing: &OutgoingRequest,
    ) -> Waited<F> {
        let flights = &state.shared.coalescing.flights;
        let place = flights.place(self.key, self.precedence(outgoing), self.client);
        let mut place = Box::new(place);
        let limit = PlaceLimit {
            at_first: state.config.coalesce.max_parallel_retries,
            doubling_time: state.config.coalesce.coalesce_takeover_timeout,
        };
        loop {
            let now = state.now();
            let time_left = self.time_left_for_place(state, now);
            let timeout = time_left.min(place.time_to_more(limit, now));
            let first = poll_fn(|cx| {
                if let Poll::Ready(outcome) = self.followed.poll(cx) {
                    return Poll::Ready(First::Outcome(outcome));
                }
                place.poll(limit, state.now(), cx).map(First::Granted)
            });
            match with_timeout(timeout, first).await {
                Some(First::Granted(true)) => {}
                Some(First::Granted(false)) => {
                    self.allow_one_flight();
                    let seen = fill.miss.completed_fills;
                    return match flights.completed_fills(&self.key) == seen {
                        true => Waited::CanJoin,
                        // Before it follows another call, which may fail.
                        false => Waited::RetryLookup,
                    };
                }
                Some(First::Outcome(outcome)) => return Waited::Outcome(outcome),
                None => {
                    let now = state.now();
                    if !self.time_left_for_place(state, now).is_zero() {
                        // There are more places now.
                        continue;
                    }
                    place.grant(now);
                }
            }
            if self.time_left(state).is_zero() {
                // Its own lookup is too long ago.
                fill.miss.completed_fills = Miss::<F>::OUTDATED;
            }
            self.place = Some(place);
            return Waited::CanJoin;
        }
    }

    /// Whether others are likely to have something of the response.
    fn precedence(&self, outgoing: &OutgoingRequest) -> Precedence {
        match self.requires_newer || outgoing.is_partial() {
            true => Precedence::ForItself,
            false => match Precedence::from(outgoing.kind) {
                Precedence::ForAll if !self.has_failed() && !self.was_slow => Precedence::NotTried,
                precedence => precedence,
            },
        }
    }
}
