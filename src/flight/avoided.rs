//! Flights that still go on while a later one has their place, because its client waits for no calls
//! of theirs.
//!
//! Those who do wait for them find them behind the later one, and they have their place again when
//! that has ended. Else every short call of a client that waits for nobody would hide a long one that
//! all others share.
//!
//! Data under the lock of the table. Start at [`AvoidedFlights::add`].

use std::collections::HashMap;
use std::sync::Arc;

use super::join_rules::Flight;
use crate::key::{CacheKey, DigestHash};

/// The number of flights that are kept for each key. Each was avoided by the client of the next one,
/// which has held up others less: there are seldom two.
const MAX: usize = 4;

/// The flights of each key whose place a later one has, in their order.
pub(super) struct AvoidedFlights<F, H>(HashMap<CacheKey, Vec<Arc<Flight<F, H>>>, DigestHash>);

impl<F, H> Default for AvoidedFlights<F, H> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<F, H> AvoidedFlights<F, H> {
    /// Adds the flight that had the place of a key until now. Returns the first one where there are too
    /// many: its followers stay, and nobody else finds it.
    pub(super) fn add(
        &mut self,
        key: CacheKey,
        flight: Arc<Flight<F, H>>,
    ) -> Option<Arc<Flight<F, H>>> {
        let flights = self.0.entry(key).or_default();
        flights.push(flight);
        (flights.len() > MAX).then(|| flights.remove(0))
    }

    /// Those of a key, the latest first.
    pub(super) fn of_key(&self, key: &CacheKey) -> impl Iterator<Item = &Arc<Flight<F, H>>> {
        let flights = (!self.0.is_empty()).then(|| self.0.get(key)).flatten();
        flights.into_iter().flatten().rev()
    }

    /// Takes the latest one of a key, as the place is free.
    pub(super) fn take_latest(&mut self, key: &CacheKey) -> Option<Arc<Flight<F, H>>> {
        self.take(key, Vec::pop)
    }

    /// Removes a flight, if it is one of them.
    pub(super) fn remove(
        &mut self,
        key: &CacheKey,
        flight: &Arc<Flight<F, H>>,
    ) -> Option<Arc<Flight<F, H>>> {
        self.take(key, |flights| {
            let at = flights.iter().position(|other| Arc::ptr_eq(other, flight));
            at.map(|at| flights.remove(at))
        })
    }

    /// The number of flights.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    fn take<R>(
        &mut self,
        key: &CacheKey,
        take: impl FnOnce(&mut Vec<Arc<Flight<F, H>>>) -> Option<R>,
    ) -> Option<R> {
        if self.0.is_empty() {
            return None;
        }
        let flights = self.0.get_mut(key)?;
        let taken = take(flights);
        if flights.is_empty() {
            self.0.remove(key);
        }
        taken
    }
}
