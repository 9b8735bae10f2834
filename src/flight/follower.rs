//! A follower: a request that waits for the response of another request's call.
//!
//! Knows the announcement and the body stream, not the table. Start at [`Follower::wait`].

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::announcement::{FlightOutcome, Listener};
use super::hold_ups::others_wait::OthersWait;
use super::stream::BodyReader;

/// The task or client that polls a leader's call. The service implements it.
pub(crate) trait CallDriver: Send + Sync {
    /// Moves the call into a task of its own, unless it is in one already, so that it goes on when
    /// the leader's client stops polling it or leaves.
    ///
    /// Followers call it. Outside of a runtime it does nothing.
    fn detach(self: Arc<Self>);
}

/// Waits for the outcome of a flight, and a reader of its body.
pub(crate) type FlightResult<H> =
    Pin<Box<dyn Future<Output = (FlightOutcome<H>, Option<BodyReader>)> + Send>>;

/// A follower's place in a flight. Dropping it, or the future of [`wait`](Self::wait), leaves the
/// flight: a call that has lost its client and its last follower is cancelled.
pub(crate) struct Follower<F, H> {
    pub(super) flight_id: u64,
    /// The wait for the flight, if that is of another client than this request.
    pub(super) others_wait: Option<Arc<OthersWait>>,
    pub(super) time_left: Duration,
    /// The fence of the flight, if the groups of its response are to be compared.
    pub(super) flight_fence: Option<F>,
    pub(super) listener: Listener<H>,
    /// `None` if the body can no longer be read from its start, and for observers.
    pub(super) reader: Option<BodyReader>,
    pub(super) driver: Option<Weak<dyn CallDriver>>,
}

impl<F, H> Follower<F, H> {
    /// A number that no other flight of this process has.
    pub(crate) fn flight_id(&self) -> u64 {
        self.flight_id
    }

    /// The wait for the flight, to be [noted](super::Flights::note_in_vain) if it is in vain. `None`
    /// if the flight is of its own client, or one that is not known.
    pub(crate) fn others_wait(&self) -> Option<Arc<OthersWait>> {
        self.others_wait.clone()
    }

    /// The time until the flight counts as dead, unless its call begins or its head comes before:
    /// it is joined until then, so there is no sooner time to look for another one.
    pub(crate) fn time_left(&self) -> Duration {
        self.time_left
    }

    /// The fence of the flight, if it was joined under
    /// [`JoinDecision::CheckGroups`](crate::backend::JoinDecision::CheckGroups): the groups of its
    /// response are to be compared.
    pub(crate) fn take_flight_fence(&mut self) -> Option<F> {
        self.flight_fence.take()
    }

    /// Moves the leader's call into a task of its own, so that it does not depend on its client.
    ///
    /// A request calls it right after it has joined.
    pub(crate) fn detach_call(&self) {
        if let Some(driver) = self.driver.as_ref().and_then(Weak::upgrade) {
            driver.detach();
        }
    }

    /// Waits for the outcome, without a time limit. Returns it with a reader of the body; `None`
    /// instead of the reader if the body can no longer be read from its start.
    pub(crate) fn wait(self) -> FlightResult<H>
    where
        H: Send + Sync + 'static,
    {
        let (listener, reader) = (self.listener, self.reader);
        Box::pin(async move { (listener.wait().await, reader) })
    }

    /// Whether [`wait`](Self::wait) would return at once.
    pub(super) fn has_outcome(&self) -> bool {
        self.listener.is_published()
    }

    /// Waits for the outcome and keeps the place in the flight.
    pub(super) async fn wait_for_outcome(&self) -> FlightOutcome<H> {
        self.listener.wait().await
    }
}
