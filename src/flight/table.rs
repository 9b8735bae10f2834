//! The table of flights, through which requests join a flight or open one.
//!
//! Knows fences only by the caller's comparison. Start at [`Flights::enter`].

use std::fmt;
use std::sync::Arc;
use std::task::Waker;

use super::flight_maps::{FlightMaps, next_id};
use super::follower::Follower;
use super::hold_ups::others_wait::OthersWait;
use super::join_rules::{Flight, JoinRules};
use super::leader::Leader;
use super::pacing::{Place, Precedence, RefreshLength, RefreshRules, ShortRefresh};
use super::stream::BodyStream;
use super::stripes::FlightStripes;
use crate::backend::JoinDecision;
use crate::key::CacheKey;
use crate::shares::ClientId;
use crate::sync::MutexGuard;

/// All flights of a cache: for each key at most one whose call has begun and that later requests
/// can join. `F` is the backend's fence, `H` the shared response head.
///
/// Its size is bounded by the number of requests: an entry lives as long as its [`Leader`]. Clones
/// are handles of the same table.
pub(crate) struct Flights<F, H> {
    pub(super) stripes: Arc<FlightStripes<F, H>>,
}

/// The part of a request in a flight.
pub(crate) enum Entered<F, H> {
    /// It has opened a flight: call the inner service.
    Leader(Leader<F, H>),
    /// It has joined a flight: wait for the outcome.
    Follower(Follower<F, H>),
    /// There is no flight to join, but others have ended since the request's lookup: look up again.
    LookupOutdated,
    /// The calls of the key are paced: ask for a place first.
    NeedsPlace,
}

/// The part that a request would have in the flights of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreseen {
    /// It would open a flight.
    Leads,
    /// It would join a flight, and wait for its outcome.
    Follows,
    /// It would wait for a place among the paced calls of the key.
    NeedsPlace,
    /// It would join none.
    JoinsNone,
}

impl<F, H> Default for Flights<F, H> {
    fn default() -> Self {
        let stripes = Arc::default();
        Self { stripes }
    }
}

impl<F, H> Clone for Flights<F, H> {
    fn clone(&self) -> Self {
        let stripes = self.stripes.clone();
        Self { stripes }
    }
}

impl<F, H> Flights<F, H> {
    /// Joins the flight of a key, or opens one in its place. A miss calls it after its lookup.
    ///
    /// `decide` tells whether a flight with the given fence may answer this request, which it may
    /// if no write of the resource was answered between the capture of that fence and the request's
    /// start. Followers of a flight that is replaced keep following it.
    ///
    /// Without a `fence` of its own a request joins only a flight whose call has not begun, and a
    /// flight that it opens waits for the current ones, see [`Leader::wait_for_predecessors`].
    ///
    /// While the calls of the key are paced, a request joins only a flight with a response, and
    /// opens one only in the place that it was granted. That concerns no other client where the
    /// requests of one alone have asked for places.
    ///
    /// `new_stream` makes the stream of a flight that is joined for the first time; it is called
    /// under the lock of the table.
    pub(crate) fn enter(
        &self,
        key: CacheKey,
        fence: Option<F>,
        rules: JoinRules,
        decide: impl Fn(&F) -> JoinDecision,
        place: Option<&mut Place<F, H>>,
        new_stream: impl FnOnce() -> BodyStream,
    ) -> Entered<F, H>
    where
        F: Clone,
    {
        let stripe = self.stripes.of_key(&key);
        let mut maps = stripe.lock();
        let is_paced = place.is_some() || maps.paced.contains_for(&key, rules.client);
        if let Some(joinable) = maps.joinable(key, rules, &decide)
            && !(is_paced && joinable.flight.is_unanswered())
        {
            return Entered::Follower(joinable.follow(rules, new_stream));
        }
        let seen = rules.completed_fills;
        if seen.is_some_and(|seen| seen != stripe.completed_fills()) {
            return Entered::LookupOutdated;
        }
        let id = next_id();
        match place {
            Some(place) => maps.paced.replace(&key, place.pass_on(), id),
            None if is_paced => return Entered::NeedsPlace,
            None => {}
        }
        let new = |before: &[&Flight<F, H>]| Flight::new(fence, id, rules, before);
        Entered::Leader(self.open(maps, (key, rules), new))
    }

    /// A place among the paced calls of a key, to be asked for. For a request whose followed calls
    /// have failed.
    pub(crate) fn place(
        &self,
        key: CacheKey,
        precedence: Precedence,
        client: Option<ClientId>,
    ) -> Place<F, H> {
        Place::new(self.stripes.clone(), key, precedence, client)
    }

    /// Ends the pacing of a key, because a request that waited for a place has use for a shared
    /// response.
    pub(crate) fn end_pacing(&self, key: &CacheKey) {
        let waiting = self.stripes.of_key(key).lock().paced.end_all(key);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Notes that a request has waited in vain for calls of others, which are of that key's resource.
    pub(crate) fn note_in_vain<'w>(
        &self,
        key: &CacheKey,
        waits: impl Iterator<Item = &'w OthersWait>,
    ) {
        for waited in waits.filter_map(OthersWait::take) {
            let mut maps = self.stripes.of_key(key).lock();
            maps.hold_ups.note_in_vain(key, waited);
        }
    }

    /// Wakes one more request that waits for a place, to look at the response that is shared.
    pub(crate) fn let_another_look(&self, key: &CacheKey) {
        let waiting = self.stripes.of_key(key).lock().paced.next_to_look(key);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Joins the flight of a key if there is one, and never opens one. For requests whose own
    /// response could not be shared, such as one for a range.
    pub(crate) fn join(
        &self,
        key: CacheKey,
        rules: JoinRules,
        decide: impl Fn(&F) -> JoinDecision,
        new_stream: impl FnOnce() -> BodyStream,
    ) -> Option<Follower<F, H>>
    where
        F: Clone,
    {
        let maps = self.stripes.of_key(&key).lock();
        let joinable = maps.joinable(key, rules, &decide)?;
        Some(joinable.follow(rules, new_stream))
    }

    /// The part that a request would have, if it were to [enter](Self::enter) a flight; or to
    /// [join](Self::join) one, unless it `may_open` one itself. Nothing changes.
    pub(crate) fn foresee(
        &self,
        key: CacheKey,
        rules: JoinRules,
        decide: impl Fn(&F) -> JoinDecision,
        may_open: bool,
    ) -> Foreseen {
        let maps = self.stripes.of_key(&key).lock();
        let is_paced = may_open && maps.paced.contains_for(&key, rules.client);
        match maps.joinable(key, rules, &decide) {
            Some(joinable) if !(is_paced && joinable.flight.is_unanswered()) => Foreseen::Follows,
            _ if is_paced => Foreseen::NeedsPlace,
            _ if may_open => Foreseen::Leads,
            _ => Foreseen::JoinsNone,
        }
    }

    /// Whether `rules` would let another refresh of a key begin. Nothing changes.
    pub(crate) fn may_lead_refresh(
        &self,
        key: &CacheKey,
        rules: RefreshRules,
        short: impl FnOnce() -> Option<ShortRefresh>,
    ) -> bool {
        let maps = self.stripes.of_key(key).lock();
        let refreshes = &maps.refreshes;
        let avoids = maps.avoids(key, rules.join_rules);
        let length = refreshes.choose_length(key, rules, avoids, short);
        length.is_some()
    }

    /// Opens a flight for a background refresh of a key, unless `rules` let no other refresh begin.
    ///
    /// It takes the place of the current flight, and has the takeover timeout as it is: it is for
    /// no request that has waited for others.
    /// The functions in `others` are called under the lock of the table.
    pub(crate) fn lead_refresh(
        &self,
        key: CacheKey,
        fence: F,
        rules: RefreshRules,
        short: impl FnOnce() -> Option<ShortRefresh>,
    ) -> Option<(Leader<F, H>, RefreshLength)> {
        let mut maps = self.stripes.of_key(&key).lock();
        let join_rules = rules.join_rules;
        let avoids = maps.avoids(&key, join_rules);
        let begun = (maps.refreshes).choose_length(&key, rules, avoids, short)?;
        let id = next_id();
        maps.refreshes.begin(key, id, begun, join_rules);
        let flight = Flight::new(Some(fence), id, join_rules, &[]);
        Some((self.open(maps, (key, join_rules), |_| flight), begun.1))
    }

    fn open(
        &self,
        mut maps: MutexGuard<'_, FlightMaps<F, H>>,
        (key, rules): (CacheKey, JoinRules),
        new: impl FnOnce(&[&Flight<F, H>]) -> Flight<F, H>,
    ) -> Leader<F, H> {
        let (flight, replaced) = maps.insert(key, rules, new);
        drop(maps);
        drop(replaced);
        Leader::new(self.stripes.clone(), key, flight)
    }

    /// The number of closed flights in the stripe of a key. A request reads it before its lookup:
    /// if it is the same afterwards, the lookup has missed no fill.
    pub(crate) fn completed_fills(&self, key: &CacheKey) -> u64 {
        self.stripes.of_key(key).completed_fills()
    }

    /// The number of open flights, for statistics. One that is listed under a variant's key too
    /// counts twice.
    pub(crate) fn len(&self) -> usize {
        self.stripes.len()
    }
}

impl<F, H> fmt::Debug for Flights<F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}
