//! What a request learns from the flights that it has taken part in.

use crate::backend::Backend;
use crate::key::CacheKey;
use crate::semantics::request_kind::RequestKind;
use crate::service::coalesce::share_with_follower::Followed;
use crate::shares::ClientId;
use crate::state::LayerState;

use super::{ENOUGH_FAILURES, FlightMember};

impl<F: Clone> FlightMember<F> {
    /// Notes a flight without a response for this request.
    pub(crate) fn note_lost_flight(&mut self) {
        self.flights_left = self.flights_left.saturating_sub(1);
    }

    /// Notes that a flight of another client, if that is known, has brought nothing for this
    /// request.
    pub(crate) fn note_let_down(&mut self, client: Option<ClientId>) {
        if let Some(client) = client {
            self.let_downs.add(client);
        }
    }

    /// Notes a flight that has failed.
    pub(crate) fn note_failed_flight(&mut self) {
        self.failed_calls += 1;
        self.note_lost_flight();
    }

    /// Whether a call that it followed has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed_calls > 0
    }

    /// Whether it has seen enough calls fail to use a stale response without a call of its own.
    pub(crate) fn has_seen_failures(&self) -> bool {
        self.failed_calls >= ENOUGH_FAILURES
    }

    /// Notes that the flights it follows take too long, and whether its own time is up.
    pub(crate) fn note_slow_flight<B: Backend<Fence = F>>(&mut self, state: &LayerState<B>) {
        self.was_slow = true;
        self.followed.note_given_up();
        self.is_time_up |= self.time_left(state).is_zero();
    }

    /// Lets it join one more flight, because there is one with a response.
    pub(crate) fn allow_one_flight(&mut self) {
        self.looks_for_others = true;
        self.flights_left = self.flights_left.max(1);
        self.is_time_up = false;
    }

    /// Tells those that wait for places what this request has found out about a shared response, if
    /// it was woken to look: all of them share it, or another one looks.
    pub(crate) fn note_look<B: Backend<Fence = F>, Res>(
        &mut self,
        state: &LayerState<B>,
        followed: &Followed<Res>,
    ) {
        if !std::mem::take(&mut self.looks_for_others) {
            return;
        }
        let flights = &state.shared.coalescing.flights;
        match followed {
            Followed::Hit(_) | Followed::Collapsed(_) => flights.end_pacing(&self.key),
            // They are wanted again when the next response is there.
            Followed::Lost => {}
            Followed::OtherVariant(_) | Followed::TooOld | Followed::NotShareable => {
                flights.let_another_look(&self.key);
            }
        }
    }

    /// Notes a flight whose leader's request is none of the cache's. It uses up no try, but a
    /// follower waits for a few of them only.
    pub(crate) fn note_exempt_flight(&mut self) {
        self.exempt_left = self.exempt_left.saturating_sub(1);
        if self.exempt_left == 0 {
            self.flights_left = 0;
        }
    }

    /// Notes a response that was refused for another kind of request. The first one of each kind
    /// says nothing of this request; more of them are bounded as all flights are.
    pub(crate) fn note_refused_kind(&mut self, kind: RequestKind) {
        let bit = 1 << kind as u8;
        if self.refused_kinds & bit != 0 {
            self.note_lost_flight();
        }
        self.refused_kinds |= bit;
    }

    /// Notes the key that a later lookup ended at.
    pub(crate) fn set_key_looked_up(&mut self, key: CacheKey) {
        // A flight may know a `Vary` that is not stored yet.
        if key != self.key.primary() {
            self.key = key;
        }
    }

    /// Turns to the flights of this request's own variant.
    pub(crate) fn set_variant(&mut self, variant: CacheKey) {
        self.key = variant;
        self.note_lost_flight();
    }

    /// Refuses responses of calls that began before this request.
    pub(crate) fn require_newer(&mut self) {
        self.requires_newer = true;
        self.note_lost_flight();
    }
}
