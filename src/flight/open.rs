//! The flights that are open near a key: which of them is on, and whose call comes next. All of it is touched under one lock.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::follower::{Follower, HandOver};
use super::news::News;
use super::stream::Stream;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;

/// From then on patience does not grow any more.
const MOST_TAKEOVERS: u32 = 10;

/// How old a flight may be that one joins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) now: Moment,
    /// When its call must not have begun before.
    pub(crate) not_before: Option<Moment>,
    /// How many flights must have been closed near the key, if one is to be led.
    pub(crate) closed: Option<u64>,
    /// As long as it has no head: beyond this somebody else calls, too. Twice as long for each that has no head either.
    pub(crate) patience: Duration,
    /// In any case: beyond this it is taken for dead.
    pub(crate) longest: Duration,
}

type ByKey<F, H> = HashMap<CacheKey, Arc<Flight<F, H>>>;

/// What was taken out, to be dropped when the lock is released.
pub(super) type Removed<F, H> = [Option<Arc<Flight<F, H>>>; 3];

pub(super) struct Open<F, H> {
    on: ByKey<F, H>,
    /// Those that have no fence, and whose call begins when the flight that is on has told something.
    next: ByKey<F, H>,
}

pub(super) struct Flight<F, H> {
    /// Without it nobody can tell whether a write came after the call began.
    fence: Option<F>,
    opened: Moment,
    pub(super) turn: Option<Turn<H>>,
    /// How many without a head it has taken over from, if its turn does not come before.
    takeovers: u32,
    called: OnceLock<Called>,
    pub(super) number: u64,
    pub(super) news: Arc<News<H>>,
    pub(super) stream: Stream,
    pub(super) call: OnceLock<Weak<dyn HandOver>>,
    /// The key that it got later.
    pub(super) variant: OnceLock<CacheKey>,
}

struct Called {
    at: Moment,
    takeovers: u32,
}

/// What a flight waits for before its call begins.
pub(super) struct Turn<H> {
    pub(super) before: Follower<H>,
    /// For no longer than this.
    pub(super) patience: Duration,
}

impl<F, H> Default for Open<F, H> {
    fn default() -> Self {
        Self {
            on: HashMap::new(),
            next: HashMap::new(),
        }
    }
}

impl<F, H> Flight<F, H> {
    fn takeovers(&self) -> u32 {
        let called = self.called.get();
        called.map_or(self.takeovers, |called| called.takeovers)
    }

    /// For how long it is still believed to bring something.
    fn left(&self, terms: Terms) -> Duration {
        let since = self.called.get().map_or(self.opened, |called| called.at);
        let patience = terms.patience.saturating_mul(1 << self.takeovers());
        let limit = if self.news.is_out() {
            terms.longest
        } else {
            terms.longest.min(patience)
        };
        limit.saturating_sub(terms.now.since(since))
    }

    pub(super) fn is_alive(&self, terms: Terms) -> bool {
        !self.left(terms).is_zero()
    }

    /// Whoever comes before the call has begun gets nothing that is older than himself, whatever was written until then.
    fn may_be_joined(&self, terms: Terms, may_join: &impl Fn(&F) -> bool) -> bool {
        let Some(called) = self.called.get() else {
            return true;
        };
        let is_older = |than: Moment| called.at.monotonic() < than.monotonic();
        !terms.not_before.is_some_and(is_older) && self.fence.as_ref().is_some_and(may_join)
    }

    pub(super) fn follower(&self) -> Follower<H> {
        Follower {
            number: self.number,
            listener: self.news.listen(),
            reader: self.stream.reader(),
            call: self.call.get().cloned(),
        }
    }

    /// Somebody who waits for the end of the call, and for nothing that it brings.
    fn watcher(&self) -> Follower<H> {
        Follower {
            number: self.number,
            listener: self.news.watch(),
            reader: None,
            call: self.call.get().cloned(),
        }
    }
}

impl<F, H> Open<F, H> {
    /// The flight of a key; for a variant's also the one under its primary key, as long as it may turn out to be the
    /// variant's: whoever leads it did not know yet that the responses vary.
    pub(super) fn joinable(
        &self,
        key: CacheKey,
        terms: Terms,
        may_join: impl Fn(&F) -> bool,
    ) -> Option<&Flight<F, H>> {
        let fits = |flight: &&Arc<Flight<F, H>>| {
            flight.is_alive(terms) && flight.may_be_joined(terms, &may_join)
        };
        let primary = key.primary();
        let of_primary = || {
            let flight = self.on.get(&primary).filter(fits)?;
            (primary != key && !flight.news.is_out()).then_some(flight)
        };
        let next = || self.next.get(&key).filter(fits);
        let flight = self.on.get(&key).filter(fits);
        Some(flight.or_else(of_primary).or_else(next)?)
    }

    pub(super) fn is_on(&self, key: &CacheKey, terms: Terms) -> bool {
        self.on
            .get(key)
            .is_some_and(|flight| flight.is_alive(terms))
    }

    /// Opens a flight in the place of the one that is on; or as the next one, if it has no fence and that may still tell
    /// something.
    pub(super) fn open(
        &mut self,
        key: CacheKey,
        fence: Option<F>,
        number: u64,
        terms: Terms,
        stream: Stream,
    ) -> (Arc<Flight<F, H>>, Removed<F, H>) {
        let before = self.on.get(&key).filter(|before| !before.news.is_out());
        let turn = before
            .filter(|before| fence.is_none() && before.is_alive(terms))
            .map(|before| Turn {
                before: before.watcher(),
                patience: before.left(terms),
            });
        let takeovers = before.map_or(0, |before| before.takeovers() + 1);
        let place = match turn {
            Some(_) => &mut self.next,
            None => &mut self.on,
        };
        let flight = Arc::new(Flight {
            fence,
            opened: terms.now,
            turn,
            takeovers: takeovers.min(MOST_TAKEOVERS),
            called: OnceLock::new(),
            number,
            news: Arc::default(),
            stream,
            call: OnceLock::new(),
            variant: OnceLock::new(),
        });
        let replaced = place.insert(key, flight.clone());
        (flight, [replaced, None, None])
    }

    /// A flight's call is about to begin: it is on.
    pub(super) fn begins(
        &mut self,
        key: CacheKey,
        flight: &Arc<Flight<F, H>>,
        now: Moment,
    ) -> Removed<F, H> {
        let turn = flight.turn.as_ref();
        let is_in_turn = turn.is_some_and(|turn| turn.before.listener.is_told());
        let takeovers = if is_in_turn { 0 } else { flight.takeovers };
        let called = Called { at: now, takeovers };
        let _ = flight.called.set(called);
        let next = take(&mut self.next, &key, flight);
        let replaced = next.and_then(|next| self.on.insert(key, next));
        [replaced, None, None]
    }

    /// Opens a flight under another key, too, unless there is a later one.
    pub(super) fn is_also(&mut self, key: CacheKey, flight: &Arc<Flight<F, H>>) -> Removed<F, H> {
        let is_later = |other: &Arc<Flight<F, H>>| other.number > flight.number;
        let replaced = if self.on.get(&key).is_some_and(is_later) {
            None
        } else {
            self.on.insert(key, flight.clone())
        };
        [replaced, None, None]
    }

    pub(super) fn remove(&mut self, key: CacheKey, flight: &Arc<Flight<F, H>>) -> Removed<F, H> {
        let variant = flight.variant.get();
        [
            take(&mut self.on, &key, flight),
            variant.and_then(|variant| take(&mut self.on, variant, flight)),
            take(&mut self.next, &key, flight),
        ]
    }

    pub(super) fn len(&self) -> usize {
        self.on.len() + self.next.len()
    }
}

/// Takes a flight out of its place, unless another has that by now.
fn take<F, H>(
    flights: &mut ByKey<F, H>,
    key: &CacheKey,
    flight: &Arc<Flight<F, H>>,
) -> Option<Arc<Flight<F, H>>> {
    let is_there = Arc::ptr_eq(flights.get(key)?, flight);
    if is_there { flights.remove(key) } else { None }
}
