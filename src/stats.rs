//! Statistics: how often the cache did what, and for which reason.
//!
//! Each event has one counter, and each reason one more. This file may not name `service` or
//! anything above it. Start with [`Stats`].

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::backend::{Health, Usage};
pub use crate::semantics::reason::{
    Bypass, Contradiction, FetchReason, Reason, Refresh, Refusal, StaleUse, WriteOutcome,
};

/// One event to count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Hit,
    Collapsed,
    GatewayTimeout,
    BadRequest,
    Overload,
    Validation,
    Repetition,
    Contradiction(Contradiction),
    Stale(StaleUse),
    Refresh(Refresh),
    Fetch(FetchReason),
    Bypass(Bypass),
    Store,
    Refusal(Refusal),
    Write(WriteOutcome),
    Invalidation,
    InvalidationFailed,
    WriteGraceRefused,
    WriteDetached,
    WriteAbandoned,
}

const FETCHES: usize = 13;
const BYPASSES: usize = FETCHES + FetchReason::ALL.len();
const REFUSALS: usize = BYPASSES + Bypass::ALL.len();
const WRITES: usize = REFUSALS + Refusal::ALL.len();
const STALE: usize = WRITES + WriteOutcome::ALL.len();
const REFRESHES: usize = STALE + StaleUse::ALL.len();
const CONTRADICTIONS: usize = REFRESHES + Refresh::ALL.len();
const COUNTERS: usize = CONTRADICTIONS + Contradiction::ALL.len();

impl Event {
    fn index(self) -> usize {
        match self {
            Self::Hit => 0,
            Self::GatewayTimeout => 1,
            Self::Store => 2,
            Self::Invalidation => 3,
            Self::InvalidationFailed => 4,
            Self::Collapsed => 5,
            Self::Overload => 6,
            Self::Validation => 7,
            Self::Repetition => 8,
            Self::WriteGraceRefused => 9,
            Self::WriteDetached => 10,
            Self::WriteAbandoned => 11,
            Self::BadRequest => 12,
            Self::Fetch(reason) => FETCHES + reason.index(),
            Self::Bypass(reason) => BYPASSES + reason.index(),
            Self::Refusal(reason) => REFUSALS + reason.index(),
            Self::Write(outcome) => WRITES + outcome.index(),
            Self::Stale(reason) => STALE + reason.index(),
            Self::Refresh(reason) => REFRESHES + reason.index(),
            Self::Contradiction(reason) => CONTRADICTIONS + reason.index(),
        }
    }
}

/// The number of counter stripes that belong to one thread each: those of the first threads.
const OWN_STRIPES: usize = 32;
/// The number of counter stripes that all other threads share.
const SHARED_STRIPES: usize = 16;

/// Counters in stripes. A thread writes to one stripe only, so that hits on different cores share
/// no cache line.
#[derive(Debug)]
pub(crate) struct Counters {
    stripes: Box<[CounterStripe]>,
}

#[derive(Debug)]
#[repr(align(128))]
struct CounterStripe([AtomicU64; COUNTERS]);

impl Default for Counters {
    fn default() -> Self {
        let stripe = || CounterStripe([const { AtomicU64::new(0) }; COUNTERS]);
        Self {
            stripes: (0..OWN_STRIPES + SHARED_STRIPES)
                .map(|_| stripe())
                .collect(),
        }
    }
}

impl Counters {
    pub(crate) fn count(&self, event: Event) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        // The number is gone while the thread is torn down; any shared stripe will do then.
        let thread = THREAD.try_with(|number| *number).unwrap_or(OWN_STRIPES);
        let stripe = match thread < OWN_STRIPES {
            true => thread,
            false => OWN_STRIPES + thread % SHARED_STRIPES,
        };
        let counter = &self.stripes[stripe].0[event.index()];
        if stripe < OWN_STRIPES {
            // No other thread ever writes to it: an atomic addition would take four times as long.
            counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sum(&self, index: usize) -> u64 {
        self.stripes
            .iter()
            .map(|stripe| stripe.0[index].load(Ordering::Relaxed))
            .sum()
    }

    pub(crate) fn snapshot(
        &self,
        in_flight: InFlight,
        usage: Option<Usage>,
        health: Option<Health>,
    ) -> Stats {
        let sum = |event: Event| self.sum(event.index());
        Stats {
            hits: sum(Event::Hit),
            collapsed: sum(Event::Collapsed),
            gateway_timeouts: sum(Event::GatewayTimeout),
            bad_requests: sum(Event::BadRequest),
            overloads: sum(Event::Overload),
            validations: sum(Event::Validation),
            contradictions: self.reasons(CONTRADICTIONS),
            repetitions: sum(Event::Repetition),
            stale: self.reasons(STALE),
            refreshes: self.reasons(REFRESHES),
            fetches: self.reasons(FETCHES),
            bypasses: self.reasons(BYPASSES),
            stores: sum(Event::Store),
            refusals: self.reasons(REFUSALS),
            writes: self.reasons(WRITES),
            detached_writes: sum(Event::WriteDetached),
            abandoned_writes: sum(Event::WriteAbandoned),
            invalidations: sum(Event::Invalidation),
            failed_invalidations: sum(Event::InvalidationFailed),
            refused_write_graces: sum(Event::WriteGraceRefused),
            in_flight,
            usage,
            health,
        }
    }

    fn reasons<R: Reason>(&self, first: usize) -> ReasonCounts<R> {
        let counts = (first..first + R::ALL.len()).map(|index| self.sum(index));
        ReasonCounts {
            counts: counts.collect(),
            set: PhantomData,
        }
    }
}

/// One counter for each reason of a set.
///
/// ```
/// use tower_response_cache::stats::Refusal;
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// let stats = CacheLayer::new(MemoryBackend::default()).handle().stats();
/// assert_eq!(stats.refusals.get(Refusal::NoStore), 0);
/// for (reason, count) in stats.refusals.iter() {
///     println!("{reason}: {count}");
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ReasonCounts<R> {
    counts: Box<[u64]>,
    set: PhantomData<R>,
}

impl<R: Reason> ReasonCounts<R> {
    /// Returns how often `reason` applied.
    #[must_use]
    pub fn get(&self, reason: R) -> u64 {
        self.counts[reason.index()]
    }

    /// Returns the sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Iterates over all reasons of the set and their counts, including zeros.
    pub fn iter(&self) -> impl Iterator<Item = (R, u64)> {
        R::ALL.iter().map(|reason| (*reason, self.get(*reason)))
    }
}

impl<R: Reason> Default for ReasonCounts<R> {
    fn default() -> Self {
        Self {
            counts: vec![0; R::ALL.len()].into(),
            set: PhantomData,
        }
    }
}

impl<R: Reason> fmt::Debug for ReasonCounts<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let applied = self.iter().filter(|(_, count)| *count > 0);
        f.debug_map().entries(applied).finish()
    }
}

/// The work of a cache at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InFlight {
    /// Fills that other requests can join.
    pub fills: usize,
    /// Background tasks: refreshes, captures of bodies, writes whose client left.
    pub tasks: usize,
    /// Writes that run on although their client has left; also counted in `tasks`.
    pub detached_writes: usize,
    /// Bytes of bodies that are buffered and not stored yet, reservations included. They are
    /// bounded by [`max_buffered_bytes`](crate::CacheLayer::max_buffered_bytes), and 0 once all
    /// fills have ended, which takes [`fill_timeout`](crate::CacheLayer::fill_timeout) at most.
    pub bytes: u64,
    /// Bytes of bodies that are not stored and that clients have yet to read.
    pub unread_bytes: u64,
    /// Bytes of responses that were removed from the store, and that bodies under way still hold.
    /// See [`max_lingering_bytes`](crate::CacheLayer::max_lingering_bytes).
    pub lingering_bytes: u64,
    /// Bytes of responses from a backend outside of this process, such as Redis, that bodies under
    /// way hold: each has a copy of its own. Bodies below 4 KiB are not counted.
    pub copied_bytes: u64,
}

/// The counters of a cache since its layer was created.
///
/// [`CacheHandle::stats`](crate::CacheHandle::stats) returns them. Counters are read one by one
/// while requests are served, so that sums may be off by the requests of that moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Responses that were in the cache before the request, which called nothing and waited for no
    /// call. [`CacheLayer`](crate::CacheLayer#cache-status) has the definition.
    pub hits: u64,
    /// Responses from the call of another request, of which some was still to come. They are also
    /// counted in `fetches`.
    pub collapsed: u64,
    /// 504 responses to requests with `only-if-cached`.
    pub gateway_timeouts: u64,
    /// 400 responses to requests with an invalid host, which the inner service did not get.
    pub bad_requests: u64,
    /// 503 responses because too many fills were waiting for the inner service.
    pub overloads: u64,
    /// Stored responses that a 304 of the inner service confirmed.
    pub validations: u64,
    /// Responses of the inner service that were of no use for the request they answered, by reason.
    pub contradictions: ReasonCounts<Contradiction>,
    /// Requests that were sent to the inner service once more, as the client sent them, after a
    /// response that was of no use.
    pub repetitions: u64,
    /// Stale responses from the store, by the rule that allowed them. They are also counted in
    /// `fetches` if the inner service was called first, and in `hits` otherwise.
    pub stale: ReasonCounts<StaleUse>,
    /// Fills in the background, by reason.
    pub refreshes: ReasonCounts<Refresh>,
    /// GET and HEAD requests that the store could not answer, by reason. [`FetchReason::Stale`]
    /// counts those that found a response which was too old.
    pub fetches: ReasonCounts<FetchReason>,
    /// Requests that bypassed the cache, by reason.
    pub bypasses: ReasonCounts<Bypass>,
    /// Responses that were stored, by fills and by write-through.
    pub stores: u64,
    /// Responses that were not stored, by reason.
    pub refusals: ReasonCounts<Refusal>,
    /// Writes, by outcome.
    pub writes: ReasonCounts<WriteOutcome>,
    /// Writes that ran on although their client had left. Their outcome is counted in `writes` when
    /// they end.
    pub detached_writes: u64,
    /// Writes whose client had left and that were dropped before their end: outside of a tokio
    /// runtime, beyond [`max_detached_writes`](crate::CacheLayer::max_detached_writes) or
    /// [`detached_write_timeout`](crate::CacheLayer::detached_write_timeout), in a shutdown, or in
    /// a panic. Their outcome is unknown.
    pub abandoned_writes: u64,
    /// Invalidations that the backend acknowledged, one for each resource or group.
    pub invalidations: u64,
    /// Invalidations that the backend did not acknowledge.
    pub failed_invalidations: u64,
    /// Invalidations after writes of unknown outcome for which the backend had no memory left to
    /// refuse stores at other instances, too.
    pub refused_write_graces: u64,
    /// The work that is in flight now.
    pub in_flight: InFlight,
    /// The usage of the backend; `None` if it does not report it.
    pub usage: Option<Usage>,
    /// The condition of the backend; `None` if it cannot fail or is not guarded.
    pub health: Option<Health>,
}

impl Stats {
    /// Returns the fraction of GET and HEAD requests that were hits, 0 to 1.
    ///
    /// Requests that bypassed the cache are not counted. It is 0 before the first request.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        match self.hits + self.fetches.total() {
            0 => 0.0,
            lookups => self.hits as f64 / lookups as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_counter_of_its_own() {
        let simple = [
            Event::Hit,
            Event::Collapsed,
            Event::GatewayTimeout,
            Event::BadRequest,
            Event::Overload,
            Event::Validation,
            Event::Repetition,
            Event::Store,
            Event::Invalidation,
            Event::InvalidationFailed,
            Event::WriteGraceRefused,
            Event::WriteDetached,
            Event::WriteAbandoned,
        ];
        let indices: std::collections::BTreeSet<usize> = simple
            .into_iter()
            .chain(FetchReason::ALL.iter().map(|r| Event::Fetch(*r)))
            .chain(Bypass::ALL.iter().map(|r| Event::Bypass(*r)))
            .chain(Refusal::ALL.iter().map(|r| Event::Refusal(*r)))
            .chain(WriteOutcome::ALL.iter().map(|o| Event::Write(*o)))
            .chain(StaleUse::ALL.iter().map(|r| Event::Stale(*r)))
            .chain(Refresh::ALL.iter().map(|r| Event::Refresh(*r)))
            .chain(Contradiction::ALL.iter().map(|r| Event::Contradiction(*r)))
            .map(Event::index)
            .collect();
        assert_eq!(indices, (0..COUNTERS).collect());
    }

    #[test]
    fn counts_of_all_threads_add_up() {
        let counters = Counters::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|_| counters.count(Event::Hit)));
            }
        });
        counters.count(Event::Fetch(FetchReason::Stale));
        let stats = counters.snapshot(InFlight::default(), None, None);
        assert_eq!(stats.hits, 8000);
        assert_eq!(stats.fetches.get(FetchReason::Stale), 1);
        assert!((stats.hit_ratio() - 8000.0 / 8001.0).abs() < 1e-9);
    }
}
