//! A request whose calls to follow have failed waits for a place among the paced calls of its key.
//!
//! Knows the place (`crate::flight`) and the request's fields, not the call. Start at
//! [`FlightMember::wait_for_place`].

use std::future::poll_fn;
use std::task::Poll;

use crate::backend::Backend;
use crate::flight::Precedence;
use crate::service::fill_data::{Fill, Miss};
use crate::service::request::outgoing::OutgoingRequest;
use crate::state::LayerState;
use crate::timeout::with_timeout;

use super::member::{FlightMember, FlightResult, Waited, join_rules};

/// The first event for a request that waits for a place.
enum First {
    Granted(bool),
    Outcome(FlightResult),
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
    ) -> Waited {
        let flights = &state.shared.coalescing.flights;
        let mut place = Box::new(flights.place(self.key, self.precedence(outgoing)));
        loop {
            let now = state.now();
            let limit = join_rules(state, now).place_limit;
            let time_left = self.time_left_for_place(state);
            let timeout = time_left.min(place.time_to_more(limit, now));
            let first = poll_fn(|cx| {
                if let Poll::Ready(outcome) = self.poll_followed(cx) {
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
                None if self.time_left_for_place(state).is_zero() => place.grant(),
                // There are more places now.
                None => continue,
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
                Precedence::ForAll if !self.has_failed && !self.is_time_up => Precedence::NotTried,
                precedence => precedence,
            },
        }
    }
}
