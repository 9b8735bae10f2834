//! How a request comes to the flights of its key: whether it may open one, and join one, and which.

use std::time::Duration;

use super::{Approach, FlightMember, Joined, is_known, join_rules};
use crate::backend::{Backend, JoinDecision};
use crate::flight::{Foreseen, JoinRules};
use crate::semantics::moment::Moment;
use crate::service::fill_data::Fill;
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::storing_permission::storage_fence;
use crate::state::LayerState;
use crate::state::noted_requests::NotedKey;
use crate::state::uncacheable::ExpectedRefusal;

impl<F: Clone> FlightMember<F> {
    /// What the request would do, if it were to [join](Self::join) a flight. Nothing changes but
    /// the request.
    pub(crate) fn foresee<B: Backend<Fence = F>>(
        &mut self,
        state: &LayerState<B>,
        fill: &Fill<F>,
        outgoing: &OutgoingRequest,
        now: Moment,
    ) -> Foreseen {
        let Approach { own, is_alone, .. } = match self.approach(state, fill, outgoing, now) {
            Ok(approach) => approach,
            Err(Joined::NeedsPlace) => return Foreseen::NeedsPlace,
            Err(_) => return Foreseen::JoinsNone,
        };
        let flights = &state.shared.coalescing.flights;
        let rules = self.join_rules(state, fill, now, own.is_some());
        let decide = self.join_decision(state, own.as_ref());
        flights.foresee(self.key, rules, decide, !is_alone)
    }

    /// How a request comes to the flights of its key; an error says that it joins none.
    pub(super) fn approach<B: Backend<Fence = F>>(
        &mut self,
        state: &LayerState<B>,
        fill: &Fill<F>,
        outgoing: &OutgoingRequest,
        now: Moment,
    ) -> Result<Approach<F>, Joined<F>> {
        let patience = self.patience_with_endless(state, outgoing, now);
        if patience.is_zero() {
            self.place = None;
            return Err(Joined::Neither);
        }
        let is_known = is_known(state, fill, now);
        let is_refused = self.expects_refusal(state, fill, outgoing, (now, is_known));
        if is_refused && !is_known {
            self.place = None;
            return Err(Joined::Neither);
        }
        if let Some(without) = self.joins_none() {
            return Err(without);
        }
        let own = storage_fence(state, fill, outgoing.at).ok();
        let is_alone = outgoing.is_partial() || is_refused;
        // No other request could join its call once that has begun.
        if !is_alone && self.place.is_some() && own.is_none() {
            return Err(Joined::Neither);
        }
        Ok(Approach {
            own,
            is_alone,
            patience,
        })
    }

    pub(super) fn join_rules<B: Backend<Fence = F>>(
        &self,
        state: &LayerState<B>,
        fill: &Fill<F>,
        now: Moment,
        has_fence: bool,
    ) -> JoinRules {
        let retries_lookup = has_fence && self.lookups_left > 0;
        JoinRules {
            not_before: self.requires_newer.then_some(self.began),
            completed_fills: retries_lookup.then_some(fill.miss.completed_fills),
            only_answered: self.place.is_some(),
            let_downs: self.let_downs,
            ..join_rules(state, self.client, now)
        }
    }

    /// The decision about a flight, by its fence and the request's own.
    pub(super) fn join_decision<'r, B: Backend<Fence = F>>(
        &self,
        state: &'r LayerState<B>,
        own: Option<&'r F>,
    ) -> impl Fn(&F) -> JoinDecision + use<'r, F, B> {
        let may_look = self.place.is_none() || self.looks_left > 0;
        let resource = *self.key.resource();
        let backend = &state.shared.store.backend;
        move |flight: &F| match own {
            Some(own) if may_look => backend.join_decision(&resource, flight, own),
            _ => JoinDecision::Refuse,
        }
    }

    /// The time that it still waits for responses of others, whose bodies may have no end.
    ///
    /// None where that of a request with the same fields had none. Where those of many different
    /// requests had none, which a single client may have sent, the time of one call: from then on it
    /// waits for a place, and calls in turn.
    fn patience_with_endless<B: Backend>(
        &mut self,
        state: &LayerState<B>,
        outgoing: &OutgoingRequest,
        now: Moment,
    ) -> Duration {
        let uncacheable = &state.shared.coalescing.uncacheable;
        let request = || outgoing.digest(state);
        let key = NotedKey::new(&self.key, outgoing.kind);
        match uncacheable.expected_endless(key, now, request) {
            ExpectedRefusal::Alike => Duration::ZERO,
            ExpectedRefusal::OfMany if !self.is_impatient => {
                let limits = &state.config.coalesce;
                let waited = now.since(self.began);
                let left = limits.coalesce_takeover_timeout.saturating_sub(waited);
                if left.is_zero() {
                    (self.is_impatient, self.is_time_up) = (true, true);
                    return Duration::MAX;
                }
                left
            }
            ExpectedRefusal::No | ExpectedRefusal::OfMany => Duration::MAX,
        }
    }

    /// Whether the response will be refused, as far as is known. Where it may well be, the request
    /// follows one flight at most: a response for all that comes from that is no refused one.
    fn expects_refusal<B: Backend<Fence = F>>(
        &mut self,
        state: &LayerState<B>,
        fill: &Fill<F>,
        outgoing: &OutgoingRequest,
        (now, is_known): (Moment, bool),
    ) -> bool {
        let uncacheable = &state.shared.coalescing.uncacheable;
        let request = || outgoing.digest(state);
        let asked = (&self.key, outgoing.kind);
        match uncacheable.expected(asked, now, request, is_known) {
            ExpectedRefusal::No => false,
            ExpectedRefusal::OfMany if is_known => false,
            ExpectedRefusal::OfMany if !fill.miss.needs_validation() => {
                self.flights_left = self.flights_left.min(1);
                false
            }
            ExpectedRefusal::Alike | ExpectedRefusal::OfMany => true,
        }
    }

    /// Where the request joins no flight: it calls alone, or waits for a place first.
    fn joins_none(&self) -> Option<Joined<F>> {
        if self.place.is_some() {
            return None;
        }
        if self.needs_place() {
            return Some(Joined::NeedsPlace);
        }
        (self.flights_left == 0).then_some(Joined::Neither)
    }
}
