//! One request among the flights of its key.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use http::Method;

use crate::backend::Backend;
use crate::flight::{BodyReader, BodyStream, Entered, FlightOutcome, JoinRules, Leader};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::RequestKind;
use crate::service::fill_data::Fill;
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::storing_permission::storage_fence;
use crate::state::LayerState;
use crate::state::shared_head::SharedHead;
use crate::timeout::with_timeout;

/// Flights without a usable response that a request takes part in before it goes alone.
const MAX_FLIGHTS: usize = 3;
/// Times that a request looks up again before it calls, because other fills have ended meanwhile.
const MAX_LOOKUPS: usize = 5;

type Outcome =
    Pin<Box<dyn Future<Output = (FlightOutcome<SharedHead>, Option<BodyReader>)> + Send>>;

/// A request that leads or follows flights of its key, and how many more it will try.
pub(crate) struct FlightMember {
    key: CacheKey,
    kind: RequestKind,
    began: Moment,
    /// Whether it takes no response of a call that began before it.
    requires_newer: bool,
    flights_left: usize,
    lookups_left: usize,
    /// Flights of its own kind whose response may have been refused for their leader's own sake.
    declined: usize,
    /// The other kinds whose responses were refused, a bit for each.
    refused_kinds: u8,
    /// The flights it follows, each by its number. The first outcome counts.
    followed: Vec<(u64, Outcome)>,
}

/// The part a request has in the flights of its key.
pub(crate) enum Joined<F> {
    /// None: no response can be shared with it.
    Neither,
    Leader(Leader<F, SharedHead>),
    Follower,
    /// It would lead, but the response may be stored by now.
    RetryLookup,
}

impl FlightMember {
    /// A request that is about to join flights. One that may not share responses (HEAD, `no-store`,
    /// a cache that shuts down, a refused fill) will join none.
    pub(crate) fn new<B: Backend>(
        state: &LayerState<B>,
        fill: &Fill<B::Fence>,
        outgoing: &OutgoingRequest,
    ) -> Self {
        let directives = &fill.key.directives;
        let is_shareable = outgoing.method == Method::GET
            && !directives.no_store
            && !state.shared.background.is_closing()
            && fill.miss.refusal.is_none();
        Self {
            key: fill.miss.lookup_key,
            kind: outgoing.kind,
            began: outgoing.at,
            requires_newer: directives.no_cache
                || directives.max_age.is_some_and(|age| age.is_zero()),
            flights_left: if is_shareable { MAX_FLIGHTS } else { 0 },
            lookups_left: MAX_LOOKUPS,
            declined: 0,
            refused_kinds: 0,
            followed: Vec::new(),
        }
    }

    /// Joins a flight of its key, or begins one.
    pub(crate) fn join<B: Backend>(
        &mut self,
        state: &LayerState<B>,
        fill: &Fill<B::Fence>,
        outgoing: &OutgoingRequest,
    ) -> Joined<B::Fence> {
        let (coalescing, now) = (&state.shared.coalescing, state.now());
        let uncacheable = &coalescing.uncacheable;
        if self.flights_left == 0 || uncacheable.contains(&self.key, outgoing.kind, now) {
            return Joined::Neither;
        }
        let resource = *self.key.resource();
        // Without a fence nothing tells of the writes that concern those who share the response.
        let own = storage_fence(state, fill, outgoing.at).ok();
        let backend = &state.shared.store.backend;
        let can_join = |flight: &B::Fence| {
            let can_join = |own| backend.can_join(&resource, flight, own);
            own.as_ref().is_some_and(can_join)
        };
        let retries_lookup = own.is_some() && self.lookups_left > 0;
        let rules = JoinRules {
            not_before: self.requires_newer.then_some(self.began),
            completed_fills: retries_lookup.then_some(fill.miss.completed_fills),
            ..join_rules(state, now)
        };
        // The response to conditions or to a range is for this client alone, but a whole one of
        // another request will do for it.
        let entered = if outgoing.is_partial() {
            match coalescing.flights.join(self.key, rules, can_join) {
                Some(follower) => Entered::Follower(follower),
                None => return Joined::Neither,
            }
        } else {
            let (fence, stream) = (own.clone(), || BodyStream::new(state.buffer_share()));
            coalescing
                .flights
                .enter(self.key, fence, rules, can_join, stream)
        };
        match entered {
            Entered::Leader(leader) => Joined::Leader(leader),
            Entered::LookupOutdated => {
                self.lookups_left -= 1;
                Joined::RetryLookup
            }
            Entered::Follower(follower) => {
                let number = follower.flight_id();
                if self.followed.iter().all(|(known, _)| *known != number) {
                    follower.detach_call();
                    self.followed.push((number, Box::pin(follower.wait())));
                }
                Joined::Follower
            }
        }
    }

    /// The time for which it may still wait.
    pub(crate) fn time_left<B: Backend>(&self, state: &LayerState<B>) -> Duration {
        let waited = state.now().since(self.began);
        state
            .config
            .coalesce
            .coalesce_timeout
            .saturating_sub(waited)
    }

    /// Waits for the first outcome of the flights it follows; `None` when it is time to call the
    /// inner service as well.
    pub(crate) async fn wait<B: Backend>(
        &mut self,
        state: &LayerState<B>,
    ) -> Option<(FlightOutcome<SharedHead>, Option<BodyReader>)> {
        let timeout = state
            .config
            .coalesce
            .coalesce_takeover_timeout
            .min(self.time_left(state));
        let first = poll_fn(|cx| {
            for index in 0..self.followed.len() {
                if let Poll::Ready(outcome) = self.followed[index].1.as_mut().poll(cx) {
                    drop(self.followed.swap_remove(index));
                    return Poll::Ready(outcome);
                }
            }
            Poll::Pending
        });
        with_timeout(timeout, first).await
    }

    /// Notes a flight without a response for this request.
    pub(crate) fn note_lost_flight(&mut self) {
        self.flights_left -= 1;
    }

    /// Notes a response that may have been refused for its leader's own sake. If all flights end
    /// so, the key is uncacheable for this kind of request.
    pub(crate) fn note_declined_flight<B: Backend>(&mut self, state: &LayerState<B>) {
        self.declined += 1;
        self.note_lost_flight();
        if self.declined == MAX_FLIGHTS {
            let ttl = state.config.coalesce.uncacheable_ttl;
            let uncacheable = &state.shared.coalescing.uncacheable;
            uncacheable.remember(&self.key, self.kind, state.now(), ttl);
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

/// The rules for joining a flight at `now`.
pub(crate) fn join_rules<B: Backend>(state: &LayerState<B>, now: Moment) -> JoinRules {
    JoinRules {
        now,
        not_before: None,
        completed_fills: None,
        takeover_timeout: state.config.coalesce.coalesce_takeover_timeout,
        fill_timeout: state.config.coalesce.fill_timeout,
    }
}
