//! The table of flights in stripes, with a lock each.
//!
//! All keys of one resource share a stripe, so a flight can be listed under two of them at once.
//! Start at [`FlightStripes::of_key`].

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::flight_maps::FlightMaps;
use super::join_rules::Flight;
use super::pacing::Precedence;
use crate::key::CacheKey;
use crate::sync::{AtomicU64, Mutex, MutexGuard};

/// Few under loom, which creates each of them anew for every interleaving.
const STRIPES: usize = if cfg!(trc_loom) { 2 } else { 64 };

/// All open flights.
pub(super) struct FlightStripes<F, H>(Box<[FlightStripe<F, H>]>);

/// The open flights of some resources.
pub(super) struct FlightStripe<F, H> {
    maps: Mutex<FlightMaps<F, H>>,
    completed_fills: AtomicU64,
}

impl<F, H> Default for FlightStripes<F, H> {
    fn default() -> Self {
        let many_keys = Arc::default();
        let stripe = || FlightStripe {
            maps: Mutex::new(FlightMaps::new(Arc::clone(&many_keys))),
            completed_fills: AtomicU64::new(0),
        };
        Self((0..STRIPES).map(|_| stripe()).collect())
    }
}

impl<F, H> FlightStripes<F, H> {
    /// The stripe of a key: that of its resource.
    pub(super) fn of_key(&self, key: &CacheKey) -> &FlightStripe<F, H> {
        &self.0[key.resource().digest() as usize % STRIPES]
    }

    /// The number of entries; a flight that is listed under two keys counts twice.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|stripe| stripe.lock().len()).sum()
    }
}

impl<F, H> FlightStripe<F, H> {
    pub(super) fn lock(&self) -> MutexGuard<'_, FlightMaps<F, H>> {
        // No critical section panics between two steps that belong together.
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of flights of this stripe that have been closed so far.
    pub(super) fn completed_fills(&self) -> u64 {
        self.completed_fills.load(Ordering::Acquire)
    }

    /// Removes a flight and counts it as completed. If its key is paced, another request may call;
    /// all of them stop waiting if its response was shared and `is_whole`. The time that it `took` is
    /// noted.
    pub(super) fn close(
        &self,
        key: CacheKey,
        flight: &Arc<Flight<F, H>>,
        (is_whole, took): (bool, Option<Duration>),
    ) {
        let mut maps = self.lock();
        if let Some(took) = took {
            maps.note_time(&key, flight, took);
        }
        let ended = match is_whole {
            true => maps.end_pacing(key, flight),
            false => Vec::new(),
        };
        let removed = maps.remove(key, flight);
        let next_to_call = maps.paced.give_back(&key, flight.id);
        self.completed_fills.fetch_add(1, Ordering::Release);
        drop(maps);
        drop(removed);
        ended.into_iter().chain(next_to_call).for_each(Waker::wake);
    }

    /// Like [`close`](Self::close), unless a request has joined the flight, or one of the keys, the
    /// first of which is its own, is paced. Returns whether the flight is closed.
    pub(super) fn close_unfollowed(
        &self,
        keys: [&CacheKey; 2],
        flight: &Arc<Flight<F, H>>,
        took: Duration,
    ) -> bool {
        let mut maps = self.lock();
        let is_paced = keys.into_iter().any(|key| maps.paced.has_entry(key));
        if is_paced || flight.announcement.had_listeners() {
            return false;
        }
        maps.note_time(keys[0], flight, took);
        let removed = maps.remove(*keys[0], flight);
        self.completed_fills.fetch_add(1, Ordering::Release);
        drop(maps);
        drop(removed);
        true
    }

    /// Wakes the requests that wait for a place, where calls like theirs no longer fail.
    pub(super) fn end_pacing(&self, key: &CacheKey, precedence: Precedence) {
        let waiting = self.lock().paced.end(key, precedence);
        waiting.into_iter().for_each(Waker::wake);
    }
}
