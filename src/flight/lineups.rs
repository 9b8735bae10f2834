//! The open flights of each key in their order: the latest one, and those that go on behind it.
//!
//! A flight goes on behind another one whose client waits for no calls of its own. Those who do
//! wait for them find it there, and it is the latest again when the other one has ended. Else every
//! short call of a client that waits for nobody would hide a long one that all others share.
//!
//! Data under the lock of the table. Start at [`Lineups::put`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::join_rules::Flight;
use crate::key::{CacheKey, DigestHash};

/// The number of flights behind the latest one. Each was avoided by the client of the next one,
/// which has held up others less: there are seldom two.
const MAX_HIDDEN: usize = 4;

/// The open flights of each key.
pub(super) struct Lineups<F, H>(HashMap<CacheKey, Lineup<F, H>, DigestHash>);

struct Lineup<F, H> {
    latest: Arc<Flight<F, H>>,
    /// In their order.
    hidden: Vec<Arc<Flight<F, H>>>,
}

impl<F, H> Default for Lineups<F, H> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<F, H> Lineups<F, H> {
    pub(super) fn latest(&self, key: &CacheKey) -> Option<&Arc<Flight<F, H>>> {
        self.0.get(key).map(|lineup| &lineup.latest)
    }

    /// Those of a key, the latest first.
    pub(super) fn of_key(&self, key: &CacheKey) -> impl Iterator<Item = &Arc<Flight<F, H>>> {
        self.0.get(key).into_iter().flat_map(|lineup| {
            let hidden = lineup.hidden.iter().rev();
            std::iter::once(&lineup.latest).chain(hidden)
        })
    }

    /// Makes a flight the latest one of a key. The one before goes on behind it, or makes way.
    ///
    /// Returns the one that has no place any more: that which made way, or the first of those behind,
    /// where there are too many. Its followers stay, and nobody else finds it.
    pub(super) fn put(
        &mut self,
        key: CacheKey,
        flight: Arc<Flight<F, H>>,
        goes_on: impl FnOnce(&Flight<F, H>) -> bool,
    ) -> Option<Arc<Flight<F, H>>> {
        let lineup = match self.0.entry(key) {
            Entry::Occupied(lineup) => lineup.into_mut(),
            Entry::Vacant(place) => {
                let (latest, hidden) = (flight, Vec::new());
                place.insert(Lineup { latest, hidden });
                return None;
            }
        };
        let before = std::mem::replace(&mut lineup.latest, flight);
        if !goes_on(&before) {
            return Some(before);
        }
        lineup.hidden.push(before);
        (lineup.hidden.len() > MAX_HIDDEN).then(|| lineup.hidden.remove(0))
    }

    /// Removes a flight, if it is one of a key. The one behind the latest has the place of that.
    pub(super) fn remove(
        &mut self,
        key: &CacheKey,
        flight: &Arc<Flight<F, H>>,
    ) -> Option<Arc<Flight<F, H>>> {
        let lineup = self.0.get_mut(key)?;
        let is_this = |other: &Arc<Flight<F, H>>| Arc::ptr_eq(other, flight);
        if !is_this(&lineup.latest) {
            let at = lineup.hidden.iter().position(is_this)?;
            return Some(lineup.hidden.remove(at));
        }
        match lineup.hidden.pop() {
            Some(before) => Some(std::mem::replace(&mut lineup.latest, before)),
            None => self.0.remove(key).map(|lineup| lineup.latest),
        }
    }

    /// The number of flights.
    pub(super) fn len(&self) -> usize {
        let hidden = self.0.values().map(|lineup| lineup.hidden.len());
        self.0.len() + hidden.sum::<usize>()
    }
}
