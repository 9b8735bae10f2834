//! Counters: what the cache did and why.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::backend::{Health, Usage};
pub use crate::semantics::reason::{
    Bypass, FetchReason, Reason, Refresh, Refusal, StaleUse, WriteOutcome,
};

/// What happened, once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Hit,
    Collapsed,
    GatewayTimeout,
    Overload,
    Validation,
    Contradiction,
    Stale(StaleUse),
    Refresh(Refresh),
    Fetch(FetchReason),
    Bypass(Bypass),
    Store,
    Refusal(Refusal),
    Write(WriteOutcome),
    Invalidation,
    InvalidationFailed,
}

const FETCHES: usize = 9;
const BYPASSES: usize = FETCHES + FetchReason::ALL.len();
const REFUSALS: usize = BYPASSES + Bypass::ALL.len();
const WRITES: usize = REFUSALS + Refusal::ALL.len();
const STALE: usize = WRITES + WriteOutcome::ALL.len();
const REFRESHES: usize = STALE + StaleUse::ALL.len();
const COUNTERS: usize = REFRESHES + Refresh::ALL.len();

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
            Self::Contradiction => 8,
            Self::Fetch(reason) => FETCHES + reason.index(),
            Self::Bypass(reason) => BYPASSES + reason.index(),
            Self::Refusal(reason) => REFUSALS + reason.index(),
            Self::Write(outcome) => WRITES + outcome.index(),
            Self::Stale(of) => STALE + of.index(),
            Self::Refresh(why) => REFRESHES + why.index(),
        }
    }
}

/// Enough that the threads of a large machine rarely meet in one.
const STRIPES: usize = 32;

/// Counters in stripes: a thread writes to one of them only, so that hits on different cores share no line.
#[derive(Debug)]
pub(crate) struct Counters {
    stripes: Box<[Stripe]>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Stripe([AtomicU64; COUNTERS]);

impl Default for Counters {
    fn default() -> Self {
        let stripe = || Stripe([const { AtomicU64::new(0) }; COUNTERS]);
        Self {
            stripes: (0..STRIPES).map(|_| stripe()).collect(),
        }
    }
}

impl Counters {
    pub(crate) fn count(&self, event: Event) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
        }
        // A thread that is being torn down has no number any more; any stripe will do.
        let stripe = MINE.try_with(|mine| *mine).unwrap_or(0);
        self.stripes[stripe].0[event.index()].fetch_add(1, Ordering::Relaxed);
    }

    fn sum(&self, index: usize) -> u64 {
        self.stripes
            .iter()
            .map(|stripe| stripe.0[index].load(Ordering::Relaxed))
            .sum()
    }

    pub(crate) fn snapshot(
        &self,
        under_way: UnderWay,
        usage: Option<Usage>,
        health: Option<Health>,
    ) -> Stats {
        let sum = |event: Event| self.sum(event.index());
        Stats {
            hits: sum(Event::Hit),
            collapsed: sum(Event::Collapsed),
            gateway_timeouts: sum(Event::GatewayTimeout),
            overloads: sum(Event::Overload),
            validations: sum(Event::Validation),
            contradictions: sum(Event::Contradiction),
            stale: self.tally(STALE),
            refreshes: self.tally(REFRESHES),
            fetches: self.tally(FETCHES),
            bypasses: self.tally(BYPASSES),
            stores: sum(Event::Store),
            refusals: self.tally(REFUSALS),
            writes: self.tally(WRITES),
            invalidations: sum(Event::Invalidation),
            failed_invalidations: sum(Event::InvalidationFailed),
            under_way,
            usage,
            health,
        }
    }

    fn tally<R: Reason>(&self, first: usize) -> Tally<R> {
        let counts = (first..first + R::ALL.len()).map(|index| self.sum(index));
        Tally {
            counts: counts.collect(),
            of: PhantomData,
        }
    }
}

/// How often each reason of a set applied.
#[derive(Clone, PartialEq, Eq)]
pub struct Tally<R> {
    counts: Box<[u64]>,
    of: PhantomData<R>,
}

impl<R: Reason> Tally<R> {
    /// How often `reason` applied.
    #[must_use]
    pub fn get(&self, reason: R) -> u64 {
        self.counts[reason.index()]
    }

    /// How often any did.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All reasons with their counts, those that never applied included.
    pub fn iter(&self) -> impl Iterator<Item = (R, u64)> {
        R::ALL.iter().map(|reason| (*reason, self.get(*reason)))
    }
}

impl<R: Reason> fmt::Debug for Tally<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let applied = self.iter().filter(|(_, count)| *count > 0);
        f.debug_map().entries(applied).finish()
    }
}

/// What a cache is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnderWay {
    /// Fills that others can join.
    pub fills: usize,
    /// Tasks in the background: refreshes, bodies on their way into the store, writes whose client left.
    pub tasks: usize,
    /// Bytes of bodies in memory that are being read or collected, and are not stored yet.
    pub bytes: u64,
}

/// What a cache did since its layer was made.
///
/// Counters are read one by one while requests go on: sums may be off by what is happening at that moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Answers from the store.
    pub hits: u64,
    /// Answers that came from a call which another request had made. They are among the `fetches`.
    pub collapsed: u64,
    /// 504 answers to `only-if-cached`.
    pub gateway_timeouts: u64,
    /// 503 answers because too many fills were waiting for the inner service.
    pub overloads: u64,
    /// Stored responses that the inner service said, by 304, are still right.
    pub validations: u64,
    /// Answers of 304 that were about something else than what is stored.
    pub contradictions: u64,
    /// Answers from the store that were stale, by why they were used. Those for which the inner service was asked first
    /// are among the `fetches`, the others among the `hits`.
    pub stale: Tally<StaleUse>,
    /// Fills in the background, by why.
    pub refreshes: Tally<Refresh>,
    /// GET and HEAD requests that the store did not answer, by reason; [`FetchReason::Stale`] counts those for which
    /// something stored was too old.
    pub fetches: Tally<FetchReason>,
    /// Requests that went past the cache, by reason.
    pub bypasses: Tally<Bypass>,
    /// Responses stored, by fills and by write-through.
    pub stores: u64,
    /// Responses not stored, by reason.
    pub refusals: Tally<Refusal>,
    /// Writes, by how they ended.
    pub writes: Tally<WriteOutcome>,
    /// Resources invalidated.
    pub invalidations: u64,
    /// Invalidations that the backend did not acknowledge.
    pub failed_invalidations: u64,
    /// What goes on at this moment.
    pub under_way: UnderWay,
    /// What the backend holds, where it tells.
    pub usage: Option<Usage>,
    /// How the backend is doing, where it can fail and is guarded.
    pub health: Option<Health>,
}

impl Stats {
    /// Hits among all GET and HEAD requests that the cache was asked for, 0 to 1; 0 before the first.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        match self.hits + self.fetches.total() {
            0 => 0.0,
            asked => self.hits as f64 / asked as f64,
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
            Event::Overload,
            Event::Validation,
            Event::Contradiction,
            Event::Store,
            Event::Invalidation,
            Event::InvalidationFailed,
        ];
        let indices: std::collections::BTreeSet<usize> = simple
            .into_iter()
            .chain(FetchReason::ALL.iter().map(|r| Event::Fetch(*r)))
            .chain(Bypass::ALL.iter().map(|r| Event::Bypass(*r)))
            .chain(Refusal::ALL.iter().map(|r| Event::Refusal(*r)))
            .chain(WriteOutcome::ALL.iter().map(|o| Event::Write(*o)))
            .chain(StaleUse::ALL.iter().map(|of| Event::Stale(*of)))
            .chain(Refresh::ALL.iter().map(|why| Event::Refresh(*why)))
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
        let stats = counters.snapshot(UnderWay::default(), None, None);
        assert_eq!(stats.hits, 8000);
        assert_eq!(stats.fetches.get(FetchReason::Stale), 1);
        assert!((stats.hit_ratio() - 8000.0 / 8001.0).abs() < 1e-9);
    }
}
