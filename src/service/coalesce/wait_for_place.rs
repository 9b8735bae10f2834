//! A request whose calls to follow have failed waits for a place among the paced calls of its key.
//!
//! Knows the place (`crate::flight`) and the request's fields, not the call. Start at
//! [`FlightMember::wait_for_place`].

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use crate::backend::Backend;
use crate::flight::Precedence;
use crate::service::fill_data::{Fill, Miss};
use crate::service::request::outgoing::OutgoingRequest;
use crate::state::LayerState;
use crate::timeout::with_timeout;

use super::member::{FlightMember, FlightResult};

/// The end of the wait for a place.
pub(crate) enum WaitedForPlace {
    /// The request has a place, or there is a response to share.
    CanJoin,
    /// A flight that it follows has ended.
    Outcome(FlightResult),
    /// It has waited for as long as it may.
    TimeUp,
}

/// The first event for a request that waits for a place.
enum First {
    Granted(bool),
    Outcome(FlightResult),
}

impl<F: Clone> FlightMember<F> {
    /// Waits for a place, for a response to share, or for an outcome of the flights it follows.
    ///
    /// Dropping the future leaves the queue. At most `max_parallel_retries` requests of a key have
    /// a place at once; with 0 none gets one.
    pub(crate) async fn wait_for_place<B: Backend<Fence = F>>(
        &mut self,
        state: &LayerState<B>,
        fill: &mut Fill<F>,
        outgoing: &OutgoingRequest,
    ) -> WaitedForPlace {
        let max = state.config.coalesce.max_parallel_retries;
        let limit = match max {
            0 => Duration::ZERO,
            _ => self.time_left_for_place(state),
        };
        let flights = &state.shared.coalescing.flights;
        let mut place = Box::new(flights.place(self.key, self.precedence(outgoing)));
        let first = poll_fn(|cx| {
            if let Poll::Ready(outcome) = self.poll_followed(cx) {
                return Poll::Ready(First::Outcome(outcome));
            }
            place.poll(max, cx).map(First::Granted)
        });
        match with_timeout(limit, first).await {
            Some(First::Granted(true)) => {
                if self.time_left(state).is_zero() {
                    // Its own lookup is too long ago.
                    fill.miss.completed_fills = Miss::<F>::OUTDATED;
                }
                self.place = Some(place);
                WaitedForPlace::CanJoin
            }
            Some(First::Granted(false)) => {
                self.allow_one_flight();
                WaitedForPlace::CanJoin
            }
            Some(First::Outcome(outcome)) => WaitedForPlace::Outcome(outcome),
            None => WaitedForPlace::TimeUp,
        }
    }

    /// Whether others are likely to have something of the response.
    fn precedence(&self, outgoing: &OutgoingRequest) -> Precedence {
        match self.requires_newer || outgoing.is_partial() {
            true => Precedence::ForItself,
            false => match Precedence::from(outgoing.kind) {
                Precedence::ForAll if !self.has_failed => Precedence::NotTried,
                precedence => precedence,
            },
        }
    }
}
