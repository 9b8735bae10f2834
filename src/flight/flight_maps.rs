//! The maps from cache keys to open flights, which one lock protects.
//!
//! Knows flights, not leaders or requests. Start at [`FlightMaps::joinable`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use super::avoided::AvoidedFlights;
use super::hold_ups::many_keys::ManyKeys;
use super::hold_ups::patience::is_long;
use super::hold_ups::{HoldUps, SlowCall};
use super::join_rules::{ByKey, Flight, JoinRules, Joinable, find_joinable};
use super::pacing::paced_keys::PacedKeys;
use super::pacing::refreshes::RefreshesUnderWay;
use super::rivals::Rivals;
use crate::backend::JoinDecision;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::shares::ClientId;

/// Flights that were taken out of the maps. The caller drops them after it has released the lock,
/// because dropping a flight may wake tasks.
pub(super) type Removed<F, H> = [Option<Arc<Flight<F, H>>>; 8];

/// A number that no other flight of this process has, nor a request that waits for a place.
pub(super) fn next_id() -> u64 {
    // That of std even under loom, whose atomics cannot be static: no decision depends on the
    // order in which it is incremented.
    static NEXT_ID: AtomicU64 = AtomicU64::new(0);
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

/// What one lock protects: for each key at most one current and one next flight.
pub(super) struct FlightMaps<F, H> {
    current: ByKey<F, H>,
    /// Flights that go on while the current one is of a client that avoids them.
    avoided: AvoidedFlights<F, H>,
    /// Flights without a fence whose call begins when the current one has an outcome, and the
    /// latest for requests that the current one has begun too early for.
    next: ByKey<F, H>,
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
            current: ByKey::default(),
            avoided: AvoidedFlights::default(),
            next: ByKey::default(),
            of_variants: ByKey::default(),
            paced: PacedKeys::default(),
            refreshes: RefreshesUnderWay::default(),
            hold_ups: HoldUps::new(many_keys),
            rivals: Rivals::default(),
        }
    }
}

impl<F, H> FlightMaps<F, H> {
    /// The flight that a request for a key may join, see [`find_joinable`]. One with a response
    /// comes first while the key is paced.
    pub(super) fn joinable(
        &self,
        key: CacheKey,
        rules: JoinRules,
        decide: impl Fn(&F) -> JoinDecision,
    ) -> Option<Joinable<'_, F, H>> {
        // One that has held up others waits for those that are like it, so that these call once.
        let avoids = self.avoids(&key, rules);
        let rules = (rules, &avoids);
        let shared = self.paced.shared(&key);
        shared
            .and_then(|flight| flight.joinable(rules, &decide))
            .or_else(|| find_joinable(&self.current, &self.next, key, rules, &decide))
            .or_else(|| {
                let mut avoided = self.avoided.of_key(&key);
                avoided.find_map(|flight| flight.joinable(rules, &decide))
            })
            .or_else(|| self.of_variants.get(&key)?.joinable(rules, &decide))
    }

    /// Whether a request waits for no calls of a client, because that has held up others.
    pub(super) fn avoids<'m>(
        &'m self,
        key: &'m CacheKey,
        rules: JoinRules,
    ) -> impl Fn(ClientId) -> bool + 'm {
        let notes = &self.hold_ups;
        move |client| notes.avoids(key, (rules.client, client), rules.now)
    }

    /// Adds a flight: as the next one if it has to wait, else in the place of the current one.
    ///
    /// `new` gets the current flight of the key.
    pub(super) fn insert(
        &mut self,
        key: CacheKey,
        rules: JoinRules,
        new: impl FnOnce(Option<&Flight<F, H>>) -> Flight<F, H>,
    ) -> (Arc<Flight<F, H>>, Removed<F, H>) {
        self.note_overdue(&key, rules);
        let (flight, avoids_current) = {
            let avoids = self.avoids(&key, rules);
            let current = self.current.get(&key).map(|current| &**current);
            let is_avoided = |current: &&Flight<F, H>| current.client.is_some_and(&avoids);
            let avoided = current.filter(is_avoided);
            let flight = Arc::new(new(current.filter(|_| avoided.is_none())));
            (
                flight,
                avoided.is_some_and(|avoided| avoided.is_alive(rules)),
            )
        };
        self.note_makes_way(&key, &flight);
        self.note_rivals(key, &flight);
        let replaced = match flight.predecessor.is_some() || flight.is_beside {
            true => self.next.insert(key, flight.clone()),
            false => {
                let replaced = self.current.insert(key, flight.clone());
                match (replaced, avoids_current) {
                    (Some(avoided), true) => self.avoided.add(key, avoided),
                    (replaced, _) => replaced,
                }
            }
        };
        let primary_key = key.primary();
        let is_of_variant = key != primary_key && !flight.is_beside;
        let replaced_variant = is_of_variant
            .then(|| self.of_variants.insert(primary_key, flight.clone()))
            .flatten();
        let mut removed = Removed::default();
        (removed[0], removed[1]) = (replaced, replaced_variant);
        (flight, removed)
    }

    /// Notes the clients of flights of a page for which others wait though their time is over, whatever
    /// variant they are of.
    fn note_overdue(&mut self, key: &CacheKey, rules: JoinRules) {
        let primary_key = key.primary();
        let of_page = [
            self.current.get(key),
            self.current.get(&primary_key),
            self.of_variants.get(&primary_key),
        ];
        let is_overdue = |flight: &&Arc<Flight<F, H>>| flight.is_overdue(rules);
        let overdue = of_page.map(|flight| flight.filter(is_overdue)?.take_wait());
        for waited in overdue.into_iter().flatten() {
            self.hold_ups.note_in_vain(key, waited);
        }
    }

    /// Notes the client of the current flight, for which others wait, if a request of its own takes the
    /// place of it: those who come find that one.
    fn note_makes_way(&mut self, key: &CacheKey, new: &Flight<F, H>) {
        let stays = new.is_beside || new.predecessor.is_some() || self.refreshes.has(key, new.id);
        let current = self.current.get(key).filter(|_| !stays);
        let current = current.filter(|current| current.is_of_client(new.client));
        let makes_way = current.filter(|current| current.keeps_waiting());
        if let Some(waited) = makes_way.and_then(|current| current.take_wait()) {
            self.hold_ups.note_in_vain(key, waited);
        }
    }

    /// Makes a flight the current one, since its call begins.
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
        let next = remove_from(&mut self.next, &key, flight);
        let replaced = next.and_then(|next| self.current.insert(key, next));
        only(replaced)
    }

    /// Lists a flight under another key of its resource too, unless that has a later flight.
    pub(super) fn add_key(&mut self, key: CacheKey, flight: &Arc<Flight<F, H>>) -> Removed<F, H> {
        let is_later = |other: &Arc<Flight<F, H>>| other.id > flight.id;
        let replaced = if self.current.get(&key).is_some_and(is_later) {
            None
        } else {
            self.current.insert(key, flight.clone())
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
            self.remove_current(&key, flight),
            variant_key.and_then(|key| self.remove_current(key, flight)),
            self.avoided.remove(&key, flight),
            variant_key.and_then(|key| self.avoided.remove(key, flight)),
            remove_from(&mut self.next, &key, flight),
            remove_from(&mut self.of_variants, &key.primary(), flight),
            self.paced.forget_shared(&key, is_this),
            variant_key.and_then(|key| self.paced.forget_shared(key, is_this)),
        ]
    }

    /// Removes the current flight of a key, if it is this one. An earlier one that still goes on has
    /// the place again.
    fn remove_current(
        &mut self,
        key: &CacheKey,
        flight: &Arc<Flight<F, H>>,
    ) -> Option<Arc<Flight<F, H>>> {
        let removed = remove_from(&mut self.current, key, flight)?;
        if let Some(earlier) = self.avoided.take_latest(key) {
            self.current.insert(*key, earlier);
        }
        Some(removed)
    }

    /// Notes the flights of a page that are open when another one is opened, of whatever variant:
    /// which one a response is of is known once it is there.
    fn note_rivals(&mut self, key: CacheKey, flight: &Flight<F, H>) {
        let primary_key = key.primary();
        let open = [
            self.current.get(&key),
            self.next.get(&key),
            self.current.get(&primary_key),
            self.next.get(&primary_key),
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
        self.current.len() + self.avoided.len() + self.next.len()
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
