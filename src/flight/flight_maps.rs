//! The maps from cache keys to open flights, which one lock protects.
//!
//! Knows flights, not leaders or requests. Start at [`FlightMaps::joinable`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use super::hold_ups::many_keys::ManyKeys;
use super::hold_ups::patience::is_long;
use super::hold_ups::{HoldUps, SlowCall};
use super::join_rules::{Flight, JoinRules, Joinable};
use super::lineups::Lineups;
use super::pacing::paced_keys::PacedKeys;
use super::pacing::refreshes::RefreshesUnderWay;
use super::rivals::Rivals;
use crate::backend::JoinDecision;
use crate::key::{CacheKey, DigestHash};
use crate::semantics::moment::Moment;
use crate::shares::ClientId;

/// Flights that were taken out of the maps. The caller drops them after it has released the lock,
/// because dropping a flight may wake tasks.
pub(super) type Removed<F, H> = [Option<Arc<Flight<F, H>>>; 6];

/// Flights by their cache key.
type ByKey<F, H> = HashMap<CacheKey, Arc<Flight<F, H>>, DigestHash>;

/// A number that no other flight of this process has, nor a request that waits for a place.
pub(super) fn next_id() -> u64 {
    // That of std even under loom, whose atomics cannot be static: no decision depends on the
    // order in which it is incremented.
    static NEXT_ID: AtomicU64 = AtomicU64::new(0);
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// What one lock protects: for each key one current and one next flight, and those that clients of
/// these avoid.
pub(super) struct FlightMaps<F, H> {
    current: Lineups<F, H>,
    /// Flights without a fence whose call begins when the current ones have an outcome, and the
    /// latest for requests that the current one has begun too early for.
    next: Lineups<F, H>,
    /// The latest flight of a variant, by the primary key. Requests find it there as long as no
    /// rule is stored that names their variant.
    of_variants: ByKey<F, H>,
    /// The keys whose calls fail.
    pub(super) paced: PacedKeys<Arc<Flight<F, H>>>,
    pub(super) refreshes: RefreshesUnderWay,
    /// The clients whose flights others have followed in vain, or for too long.
    pub(super) hold_ups: HoldUps,
    /// The flights that had others of their page beside them.
    pub(super) rivals: Rivals,
}

impl<F, H> FlightMaps<F, H> {
    /// Without flights. `many_keys` is that of all stripes.
    pub(super) fn new(many_keys: Arc<ManyKeys>) -> Self {
        Self {
            current: Lineups::default(),
            next: Lineups::default(),
            of_variants: ByKey::default(),
            paced: PacedKeys::default(),
            refreshes: RefreshesUnderWay::default(),
            hold_ups: HoldUps::new(many_keys),
            rivals: Rivals::default(),
        }
    }
}

impl<F, H> FlightMaps<F, H> {
    /// The flight that a request for a key may join: one with a response while the key is paced, one
    /// of the current ones of the key, that of the primary key, or a next one of the key.
    ///
    /// For a variant's key that may be a flight under the primary key, as long as that has no
    /// outcome: its leader does not know yet that the responses vary.
    pub(super) fn joinable(
        &self,
        key: CacheKey,
        rules: JoinRules,
        decide: impl Fn(&F) -> JoinDecision,
    ) -> Option<Joinable<'_, F, H>> {
        // One that has held up others waits for those that are like it, so that these call once.
        let avoids = self.avoids(&key, rules);
        let joinable = |flight| Flight::joinable(flight, (rules, &avoids), &decide);
        let primary_key = key.primary();
        let may_vary = |flight: &&Arc<Flight<F, H>>| !flight.announcement.is_published();
        let of_primary_key = || {
            let mut flights = self.current.of_key(&primary_key).filter(may_vary);
            flights.find_map(|flight| joinable(flight))
        };
        let shared = self.paced.shared(&key);
        shared
            .and_then(|flight| joinable(flight))
            .or_else(|| {
                self.current
                    .of_key(&key)
                    .find_map(|flight| joinable(flight))
            })
            .or_else(|| (primary_key != key).then(of_primary_key).flatten())
            .or_else(|| self.next.of_key(&key).find_map(|flight| joinable(flight)))
            .or_else(|| joinable(self.of_variants.get(&key)?))
    }

    /// Whether a request waits for no calls of a client, because that has held up others, or let
    /// down the request.
    pub(super) fn avoids<'m>(
        &'m self,
        key: &'m CacheKey,
        rules: JoinRules,
    ) -> impl Fn(ClientId) -> bool + 'm {
        avoids(&self.hold_ups, key, rules)
    }

    /// Adds a flight: as the next one if it has to wait, else as the current one.
    ///
    /// `new` gets the current flights of the key that the request does not avoid, the latest first.
    pub(super) fn insert(
        &mut self,
        key: CacheKey,
        rules: JoinRules,
        new: impl FnOnce(&[&Flight<F, H>]) -> Flight<F, H>,
    ) -> (Arc<Flight<F, H>>, Removed<F, H>) {
        self.note_overdue(&key, rules);
        let flight = Arc::new(new(&self.before(&key, rules)));
        self.note_makes_way(&key, &flight);
        self.note_rivals(key, &flight);
        let avoids = avoids(&self.hold_ups, &key, rules);
        let goes_on =
            |before: &Flight<F, H>| before.client.is_some_and(avoids) && before.is_alive(rules);
        let flights = match flight.predecessors.is_empty() && !flight.is_beside {
            true => &mut self.current,
            false => &mut self.next,
        };
        let replaced = flights.put(key, flight.clone(), goes_on);
        let primary_key = key.primary();
        let is_of_variant = key != primary_key && !flight.is_beside;
        let replaced_variant = is_of_variant
            .then(|| self.of_variants.insert(primary_key, flight.clone()))
            .flatten();
        let mut removed = Removed::default();
        (removed[0], removed[1]) = (replaced, replaced_variant);
        (flight, removed)
    }

    /// The current flights of a key that a request does not avoid, the latest first.
    fn before(&self, key: &CacheKey, rules: JoinRules) -> Vec<&Flight<F, H>> {
        let avoids = self.avoids(key, rules);
        let current = self.current.of_key(key).map(|flight| &**flight);
        let before = current.filter(|flight| !flight.client.is_some_and(&avoids));
        before.collect()
    }

    /// Notes the clients of flights of a page for which others wait though their time is over, whatever
    /// variant they are of.
    fn note_overdue(&mut self, key: &CacheKey, rules: JoinRules) {
        let primary_key = key.primary();
        let of_key = self.current.of_key(key);
        let of_primary_key = (primary_key != *key).then(|| self.current.of_key(&primary_key));
        let of_variants = self.of_variants.get(&primary_key);
        let of_page = of_key.chain(of_primary_key.into_iter().flatten());
        let overdue = (of_page.chain(of_variants)).filter(|flight| flight.is_overdue(rules));
        for waited in overdue.filter_map(|flight| flight.take_wait()) {
            self.hold_ups.note_in_vain(key, waited);
        }
    }

    /// Notes the client of the current flight, for which others wait, if a request of its own takes the
    /// place of it: those who come find that one.
    fn note_makes_way(&mut self, key: &CacheKey, new: &Flight<F, H>) {
        let stays =
            new.is_beside || !new.predecessors.is_empty() || self.refreshes.has(key, new.id);
        let current = self.current.latest(key).filter(|_| !stays);
        let current = current.filter(|current| current.is_of_client(new.client));
        let makes_way = current.filter(|current| current.keeps_waiting());
        if let Some(waited) = makes_way.and_then(|current| current.take_wait()) {
            self.hold_ups.note_in_vain(key, waited);
        }
    }

    /// Makes a flight the current one, since its call begins. One that it has not waited for goes on
    /// behind it.
    pub(super) fn begin_call(
        &mut self,
        key: CacheKey,
        flight: &Arc<Flight<F, H>>,
        now: Moment,
    ) -> Removed<F, H> {
        flight.begin_call(now);
        if flight.is_beside {
            return Removed::default();
        }
        let Some(next) = self.next.remove(&key, flight) else {
            return Removed::default();
        };
        let goes_on = |before: &Flight<F, H>| before.is_unanswered() && !flight.comes_after(before);
        only(self.current.put(key, next, goes_on))
    }

    /// Lists a flight under another key of its resource too, unless that has a later flight.
    pub(super) fn add_key(&mut self, key: CacheKey, flight: &Arc<Flight<F, H>>) -> Removed<F, H> {
        let is_later = |other: &Arc<Flight<F, H>>| other.id > flight.id;
        let replaced = if self.current.latest(&key).is_some_and(is_later) {
            None
        } else {
            self.current.put(key, flight.clone(), |_| false)
        };
        only(replaced)
    }

    /// Removes a flight wherever it is still listed; other flights stay.
    pub(super) fn remove(&mut self, key: CacheKey, flight: &Arc<Flight<F, H>>) -> Removed<F, H> {
        let variant_key = flight.variant_key.get();
        let is_this = |other: &Arc<Flight<F, H>>| Arc::ptr_eq(other, flight);
        self.refreshes.end(&key, flight.id);
        if flight.has_rivals.get().is_some() {
            self.rivals.end(&key.primary(), flight.id);
        }
        [
            self.current.remove(&key, flight),
            variant_key.and_then(|key| self.current.remove(key, flight)),
            self.next.remove(&key, flight),
            remove_from(&mut self.of_variants, &key.primary(), flight),
            self.paced.forget_shared(&key, is_this),
            variant_key.and_then(|key| self.paced.forget_shared(key, is_this)),
        ]
    }

    /// Notes the flights of a page that are open when another one is opened, of whatever variant:
    /// which one a response is of is known once it is there.
    fn note_rivals(&mut self, key: CacheKey, flight: &Flight<F, H>) {
        let primary_key = key.primary();
        let open = [
            self.current.latest(&key),
            self.next.latest(&key),
            self.current.latest(&primary_key),
            self.next.latest(&primary_key),
            self.of_variants.get(&primary_key),
        ];
        let mut has_rivals = self.rivals.has(&primary_key);
        for other in open.into_iter().flatten() {
            self.rivals.add(primary_key, other.id);
            let _ = other.has_rivals.set(());
            has_rivals = true;
        }
        if has_rivals {
            self.rivals.add(primary_key, flight.id);
            let _ = flight.has_rivals.set(());
        }
    }

    /// Whether the response of a flight may be stored under a key: that of no later call was.
    pub(super) fn claim_store(&mut self, flight: &Flight<F, H>, stored_key: CacheKey) -> bool {
        let call = flight.call.get();
        call.is_none_or(|call| self.rivals.claim_store(stored_key, call.at.monotonic()))
    }

    /// Notes how long the call of a flight took whose response is whole: as a hold-up, if it took long
    /// and has kept others waiting so long, or a stale response in use.
    pub(super) fn note_time(&mut self, key: &CacheKey, flight: &Flight<F, H>, took: Duration) {
        let Some(client) = flight.client else { return };
        let wait = flight.others_wait.get();
        let has_held_up = is_long(took)
            && (self.refreshes.has(key, flight.id) || wait.is_some_and(|wait| wait.is_long()));
        if !has_held_up {
            return self.hold_ups.note_usual(key, client, took);
        }
        let noted = wait.map_or(Duration::ZERO, |wait| wait.noted());
        // Those who have waited note nothing any more.
        let _ = wait.and_then(|wait| wait.take());
        let call = SlowCall {
            client,
            took,
            until: flight.opened.monotonic().saturating_add(took),
        };
        self.hold_ups.note_slow(key, call, noted);
    }

    /// Ends the pacing of a flight's keys, where it is the one with a response.
    pub(super) fn end_pacing(&mut self, key: CacheKey, flight: &Arc<Flight<F, H>>) -> Vec<Waker> {
        let is_this = |other: &Arc<Flight<F, H>>| Arc::ptr_eq(other, flight);
        let mut waiting = Vec::new();
        for key in [Some(&key), flight.variant_key.get()].into_iter().flatten() {
            if self.paced.shared(key).is_some_and(is_this) {
                waiting.extend(self.paced.end_all(key));
            }
        }
        waiting
    }

    pub(super) fn len(&self) -> usize {
        self.current.len() + self.next.len()
    }
}

/// [`FlightMaps::avoids`], by the notes alone.
fn avoids(notes: &HoldUps, key: &CacheKey, rules: JoinRules) -> impl Fn(ClientId) -> bool {
    move |client| {
        rules.let_downs.contains(client) || notes.avoids(key, (rules.client, client), rules.now)
    }
}

fn only<F, H>(removed: Option<Arc<Flight<F, H>>>) -> Removed<F, H> {
    let mut all = Removed::default();
    all[0] = removed;
    all
}

/// Removes the entry of a key if it is this very flight.
fn remove_from<F, H>(
    flights: &mut ByKey<F, H>,
    key: &CacheKey,
    flight: &Arc<Flight<F, H>>,
) -> Option<Arc<Flight<F, H>>> {
    let is_listed = Arc::ptr_eq(flights.get(key)?, flight);
    if is_listed { flights.remove(key) } else { None }
}
