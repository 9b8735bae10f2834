//! One request among the flights of its key.

mod approach;
mod notes;

use std::future::poll_fn;
use std::time::Duration;

use http::Method;

use crate::backend::Backend;
use crate::flight::{
    BodyStream, Entered, FlightOutcome, Flights, JoinRules, Leader, LetDowns, Place,
};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::reason::WaitedFor;
use crate::service::fill_data::Fill;
use crate::service::request::outgoing::OutgoingRequest;
use crate::shares::ClientId;
use crate::state::LayerState;
use crate::state::shared_head::SharedHead;
use crate::timeout::with_timeout;

use crate::service::coalesce::followed_flights::{FlightEnd, FollowedFlights};

/// Flights without a usable response that a request takes part in before it goes alone.
const MAX_FLIGHTS: usize = 3;
/// Failed calls that a request follows before it believes that one of its own would fail. One may
/// fail for a field of its request.
const ENOUGH_FAILURES: usize = 2;
/// Flights whose leaders an inner layer exempted that a request takes part in before it goes alone.
const MAX_EXEMPT_FLIGHTS: usize = 4;
/// Times that a request looks up again before it calls, because other fills have ended meanwhile.
const MAX_LOOKUPS: usize = 5;
/// Responses that a request looks at, in place of its own call, once it has a place for that.
const MAX_LOOKS: usize = 3;

/// A request that leads or follows flights of its key, and how many more it will try.
pub(crate) struct FlightMember<F> {
    pub(super) key: CacheKey,
    /// The client of the request, if it is known.
    pub(super) client: Option<ClientId>,
    began: Moment,
    /// Whether it takes no response of a call that began before it.
    pub(super) requires_newer: bool,
    flights_left: usize,
    /// Calls that it followed and that failed.
    failed_calls: usize,
    /// Whether a call that it followed has taken too long.
    pub(super) was_slow: bool,
    /// Whether it has waited for as long as it may.
    pub(super) is_time_up: bool,
    /// Whether it has waited enough for bodies that may have no end.
    is_impatient: bool,
    /// Its place among the paced calls of the key, once it has one.
    pub(super) place: Option<Box<Place<F, SharedHead>>>,
    /// Whether others wait to learn if the response that it was woken for is of use.
    looks_for_others: bool,
    lookups_left: usize,
    looks_left: usize,
    exempt_left: usize,
    /// The other kinds whose responses were refused, a bit for each.
    refused_kinds: u8,
    /// The clients whose flights it has followed in vain.
    pub(super) let_downs: LetDowns,
    pub(super) followed: FollowedFlights<F>,
}

/// The part a request has in the flights of its key.
pub(crate) enum Joined<F> {
    /// None: no response can be shared with it.
    Neither,
    Leader(Leader<F, SharedHead>),
    /// It waits for this long, unless there is an outcome before.
    Follower(Duration),
    /// The calls that it followed have failed: it calls when it has a place.
    NeedsPlace,
    /// It would lead, but the response may be stored by now.
    RetryLookup,
}

/// How a request comes to the flights of its key.
struct Approach<F> {
    /// Its own fence. Without one nothing tells of the writes that concern those who share the
    /// response.
    own: Option<F>,
    /// Whether it opens no flight: the response to conditions or to a range is for its client
    /// alone, as is one that will be refused, but a whole one of another request will do for it.
    is_alone: bool,
    /// The time that it waits for another request at most.
    patience: Duration,
}

/// The end of a request's wait.
pub(crate) enum Waited<F> {
    /// A flight that it follows has ended.
    Outcome(FlightEnd<F>),
    /// It has a place, or there is a response to share.
    CanJoin,
    /// A call has succeeded, and its response may be stored by now.
    RetryLookup,
    /// It has waited for as long as the flights may be joined: it is time to call as well.
    TimedOut,
}

impl<F> Waited<F> {
    /// Whether the response of the flight is for its leader's client alone.
    pub(super) fn is_private(&self) -> bool {
        let private = |outcome: &FlightOutcome<_>| matches!(outcome, FlightOutcome::Refused { is_private, .. } if *is_private);
        matches!(self, Self::Outcome(end) if private(&end.outcome))
    }
}

impl<F: Clone> FlightMember<F> {
    /// A request that is about to join flights. One that may not share responses (HEAD, `no-store`,
    /// a cache that shuts down, a refused fill) will join none.
    pub(crate) fn new<B: Backend<Fence = F>>(
        state: &LayerState<B>,
        fill: &Fill<F>,
        outgoing: &OutgoingRequest,
    ) -> Self {
        let directives = &fill.key.directives;
        let is_shareable = outgoing.method == Method::GET
            && !directives.no_store
            && !state.shared.background.is_closing()
            && fill.miss.refusal.is_none();
        Self {
            key: fill.miss.lookup_key,
            client: outgoing.client,
            began: outgoing.at,
            requires_newer: directives.no_cache
                || directives.max_age.is_some_and(|age| age.is_zero()),
            flights_left: if is_shareable { MAX_FLIGHTS } else { 0 },
            failed_calls: 0,
            was_slow: false,
            is_time_up: false,
            is_impatient: false,
            place: None,
            looks_for_others: false,
            lookups_left: MAX_LOOKUPS,
            looks_left: MAX_LOOKS,
            exempt_left: MAX_EXEMPT_FLIGHTS,
            refused_kinds: 0,
            let_downs: LetDowns::default(),
            followed: FollowedFlights::new(),
        }
    }

    /// Lets a request for which there is no public response go on in its partition, if it has one.
    /// Returns whether it does: it has to be looked up there, because another request of its client
    /// may have brought the response.
    pub(crate) fn turn_private<B: Backend<Fence = F>>(
        &mut self,
        state: &LayerState<B>,
        fill: &mut Fill<F>,
        outgoing: &OutgoingRequest,
    ) -> bool {
        let turns = fill.key.can_enter_partition() && outgoing.method == Method::GET;
        if turns {
            fill.key.enter_partition();
            fill.miss.lookup_key = fill.key.key;
            *self = Self::new(state, fill, outgoing);
        }
        turns
    }

    /// Joins a flight of its key at this moment, or begins one.
    ///
    /// A request joins in a loop, which must come to an end, and must not be busy. This is where
    /// that is decided. Without a place a request waits for a flight, for a place, or uses up one
    /// of its flights. With a place it waits for nothing any more: it keeps the place, looks at
    /// [`MAX_LOOKS`] responses that are there already, and calls.
    pub(crate) fn join<B: Backend<Fence = F>>(
        &mut self,
        state: &LayerState<B>,
        fill: &Fill<F>,
        outgoing: &OutgoingRequest,
        now: Moment,
    ) -> Joined<F> {
        self.place.take_if(|place| *place.key() != self.key);
        let Approach {
            own,
            is_alone,
            patience,
        } = match self.approach(state, fill, outgoing, now) {
            Ok(approach) => approach,
            Err(without) => return without,
        };
        let flights = &state.shared.coalescing.flights;
        let (has_place, has_failed) = (self.place.is_some(), self.has_failed());
        let rules = self.join_rules(state, fill, now, own.is_some());
        let decide = self.join_decision(state, own.as_ref());
        let place = self.place.as_deref_mut();
        let new_stream = || BodyStream::new(state.buffer_share());
        let entered = if is_alone {
            match flights.join(self.key, rules, decide, new_stream) {
                Some(follower) => Entered::Follower(follower),
                None if has_failed && place.is_none() => return Joined::NeedsPlace,
                None => return Joined::Neither,
            }
        } else {
            let fence = own.clone();
            flights.enter(self.key, fence, rules, decide, place, new_stream)
        };
        match self.joined(flights, entered, own, has_place) {
            Joined::Follower(time_left) => Joined::Follower(time_left.min(patience)),
            joined => joined,
        }
    }

    /// Notes the part that the request has in a flight.
    fn joined(
        &mut self,
        flights: &Flights<F, SharedHead>,
        entered: Entered<F, SharedHead>,
        own: Option<F>,
        has_place: bool,
    ) -> Joined<F> {
        match entered {
            Entered::Leader(leader) => Joined::Leader(leader),
            Entered::NeedsPlace => Joined::NeedsPlace,
            Entered::LookupOutdated => {
                self.lookups_left -= 1;
                Joined::RetryLookup
            }
            Entered::Follower(follower) => {
                self.looks_left -= usize::from(has_place);
                let time_left = follower.time_left();
                self.followed.add(follower, own, (flights, &self.key));
                Joined::Follower(time_left)
            }
        }
    }

    /// Whether it calls only in a place among the paced calls of its key.
    fn needs_place(&self) -> bool {
        self.is_time_up || (self.flights_left == 0 && self.has_failed())
    }

    /// The time for which it may still wait.
    pub(crate) fn time_left<B: Backend>(&self, state: &LayerState<B>) -> Duration {
        let waited = state.now().since(self.began);
        let limits = &state.config.coalesce;
        limits.coalesce_timeout.saturating_sub(waited)
    }

    /// The time for which it may still wait for a place. A call of another request may be as slow
    /// as one of its own.
    pub(super) fn time_left_for_place<B: Backend>(
        &self,
        state: &LayerState<B>,
        now: Moment,
    ) -> Duration {
        let limits = &state.config.coalesce;
        let limit = limits.coalesce_timeout.saturating_add(limits.fill_timeout);
        limit.saturating_sub(now.since(self.began))
    }

    /// Waits for the first outcome of the flights it follows, for `timeout` at most, and no longer
    /// than it may.
    pub(crate) async fn wait<B: Backend<Fence = F>>(
        &mut self,
        state: &LayerState<B>,
        timeout: Duration,
    ) -> Waited<F> {
        let timeout = timeout.min(self.time_left(state));
        let began = state.now();
        let followed = with_timeout(timeout, poll_fn(|cx| self.followed.poll(cx))).await;
        state.observe_wait(WaitedFor::Flight, began);
        followed.map_or(Waited::TimedOut, Waited::Outcome)
    }

    /// [Waits](Self::wait); if the response turns out to be for its leader's client alone, as the one
    /// before was, the request goes on in its partition. One alone may be due to an odd request.
    pub(super) async fn wait_or_turn<B: Backend<Fence = F>>(
        &mut self,
        state: &LayerState<B>,
        timeout: Duration,
        fill: &mut Fill<F>,
        outgoing: &OutgoingRequest,
    ) -> Waited<F> {
        let waited = self.wait(state, timeout).await;
        let is_second = self.flights_left < MAX_FLIGHTS;
        let turns = is_second && waited.is_private();
        match turns && self.turn_private(state, fill, outgoing) {
            true => Waited::RetryLookup,
            false => waited,
        }
    }
}

/// Whether a response is stored that others may use, or could a moment ago.
pub(super) fn is_known<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    now: Moment,
) -> bool {
    fill.miss
        .is_known(now, state.config.coalesce.uncacheable_ttl)
}

/// The rules for the request of a client, if that is known, that joins a flight at `now`.
pub(crate) fn join_rules<B: Backend>(
    state: &LayerState<B>,
    client: Option<ClientId>,
    now: Moment,
) -> JoinRules {
    JoinRules {
        now,
        not_before: None,
        completed_fills: None,
        takeover_timeout: state.config.coalesce.coalesce_takeover_timeout,
        fill_timeout: state.config.coalesce.fill_timeout,
        only_answered: false,
        client,
        let_downs: LetDowns::default(),
    }
}
