//! The counters behind [`Stats`](super::Stats), in stripes of threads.
//!
//! Each event has one counter. Start with [`Counters::count`].

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::invalidation_counts::{
    InvalidatedTarget, InvalidationCounts, InvalidationMode, InvalidationResult,
};
use super::{
    BodySource, Bypass, CallEnd, Contradiction, FetchReason, OriginRejection, Reason, ReasonCounts,
    Refresh, Refusal, RequestResult, StaleUse, StatusClass, StoredBy, WriteOutcome,
};

/// One event to count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A hit with a stale response, which calls nothing. Its request counts as
    /// [`RequestResult::Stale`].
    StaleHit,
    Validation,
    Repetition,
    Contradiction(Contradiction),
    Stale(StaleUse),
    Refresh(Refresh),
    Fetch(FetchReason),
    Bypass(Bypass),
    Store(StoredBy),
    Refusal(Refusal),
    Write(WriteOutcome),
    Invalidation(InvalidatedTarget, InvalidationMode, InvalidationResult),
    WriteGraceRefused,
    WriteDetached,
    WriteAbandoned,
    RefreshRefused,
    /// A request to whose host nothing was forwarded.
    BadRequest,
    /// The end of a call of the inner service.
    OriginCall(CallEnd),
    /// What the response to such a call, which counts as well, rejects it for.
    OriginRejection(OriginRejection),
    /// A body of the inner service that failed.
    OriginBodyFailed,
}

const SIMPLE: usize = 9;
const REQUESTS: usize = SIMPLE;
const BODY_BYTES: usize = REQUESTS + RequestResult::ALL.len();
const FETCHES: usize = BODY_BYTES + BodySource::ALL.len();
const BYPASSES: usize = FETCHES + FetchReason::ALL.len();
const REFUSALS: usize = BYPASSES + Bypass::ALL.len();
const WRITES: usize = REFUSALS + Refusal::ALL.len();
const STALE: usize = WRITES + WriteOutcome::ALL.len();
const REFRESHES: usize = STALE + StaleUse::ALL.len();
const CONTRADICTIONS: usize = REFRESHES + Refresh::ALL.len();
const STORES: usize = CONTRADICTIONS + Contradiction::ALL.len();
const OUTSIDE: usize = STORES + StoredBy::ALL.len();
const ORIGIN_CALLS: usize = OUTSIDE + StatusClass::ALL.len();
const REJECTIONS: usize = ORIGIN_CALLS + CallEnd::ALL.len();
const INVALIDATIONS: usize = REJECTIONS + OriginRejection::ALL.len();
const COUNTERS: usize = INVALIDATIONS + InvalidationCounts::LEN;

impl Event {
    fn index(self) -> usize {
        match self {
            Self::StaleHit => 0,
            Self::Validation => 1,
            Self::Repetition => 2,
            Self::WriteGraceRefused => 3,
            Self::WriteDetached => 4,
            Self::WriteAbandoned => 5,
            Self::BadRequest => 6,
            Self::OriginBodyFailed => 7,
            Self::RefreshRefused => 8,
            Self::Fetch(reason) => FETCHES + reason.index(),
            Self::Bypass(reason) => BYPASSES + reason.index(),
            Self::Refusal(reason) => REFUSALS + reason.index(),
            Self::Write(outcome) => WRITES + outcome.index(),
            Self::Stale(reason) => STALE + reason.index(),
            Self::Refresh(reason) => REFRESHES + reason.index(),
            Self::Contradiction(reason) => CONTRADICTIONS + reason.index(),
            Self::Store(by) => STORES + by.index(),
            Self::OriginCall(end) => ORIGIN_CALLS + end.index(),
            Self::OriginRejection(reason) => REJECTIONS + reason.index(),
            Self::Invalidation(target, mode, result) => {
                INVALIDATIONS + InvalidationCounts::index(target, mode, result)
            }
        }
    }
}

/// The number of counter stripes that belong to one thread each: those of the first threads.
const OWN_STRIPES: usize = 32;
/// The number of counter stripes that all other threads share.
const SHARED_STRIPES: usize = 16;

const STRIPES: usize = OWN_STRIPES + SHARED_STRIPES;

/// The number of the current thread among those that have counted anything.
#[inline]
pub(super) fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static THREAD: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // The number is gone while the thread is torn down; that of any shared stripe will do then.
    THREAD.try_with(|number| *number).unwrap_or(OWN_STRIPES)
}

/// Counters in stripes. A thread writes to one stripe only, so that hits on different cores share
/// no cache line.
#[derive(Debug)]
pub(crate) struct Counters {
    stripes: Box<[CounterStripe; STRIPES]>,
}

#[derive(Debug)]
#[repr(align(128))]
struct CounterStripe([AtomicU64; COUNTERS]);

impl Default for CounterStripe {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; COUNTERS])
    }
}

impl Default for Counters {
    fn default() -> Self {
        let stripes: Box<[CounterStripe]> = (0..STRIPES).map(|_| Default::default()).collect();
        Self {
            stripes: stripes.try_into().expect("as many as there are"),
        }
    }
}

/// Counts what is known of bodies only as they are read.
pub(crate) trait CountBodies: Send + Sync + 'static {
    /// Counts bytes of a response body of which some was still to come when its head was.
    fn count_body_bytes(&self, source: BodySource, bytes: u64);

    /// Counts a body of the inner service that has failed.
    fn count_failed_body(&self);
}

impl CountBodies for Counters {
    fn count_body_bytes(&self, source: BodySource, bytes: u64) {
        self.add([(BODY_BYTES + source.index(), bytes)]);
    }

    fn count_failed_body(&self) {
        self.count(Event::OriginBodyFailed);
    }
}

impl Counters {
    /// Counts an event.
    pub(crate) fn count(&self, event: Event) {
        self.add([(event.index(), 1)]);
    }

    /// Counts a request by its result, and the bytes of its response body that are here.
    #[inline]
    pub(crate) fn count_request(&self, result: RequestResult, body_bytes: u64) {
        let request = (REQUESTS + result.index(), 1);
        match result.body_source() {
            Some(source) => self.add([request, (BODY_BYTES + source.index(), body_bytes)]),
            None => self.add([request]),
        }
    }

    /// Counts a request that was answered outside of the cache.
    pub(crate) fn count_outside(&self, class: StatusClass) {
        let request = REQUESTS + RequestResult::Outside.index();
        self.add([(request, 1), (OUTSIDE + class.index(), 1)]);
    }

    /// Adds to counters of the current thread's stripe.
    #[inline]
    fn add<const N: usize>(&self, amounts: [(usize, u64); N]) {
        let thread = thread_number();
        if thread >= OWN_STRIPES {
            return self.add_to_shared(thread, &amounts);
        }
        let stripe = &self.stripes[thread];
        for (index, amount) in amounts {
            let counter = &stripe.0[index];
            // No other thread ever writes to it: an atomic addition would take four times as long.
            let sum = counter.load(Ordering::Relaxed).wrapping_add(amount);
            counter.store(sum, Ordering::Relaxed);
        }
    }

    #[cold]
    fn add_to_shared(&self, thread: usize, amounts: &[(usize, u64)]) {
        let stripe = &self.stripes[OWN_STRIPES + thread % SHARED_STRIPES];
        for (index, amount) in amounts {
            stripe.0[*index].fetch_add(*amount, Ordering::Relaxed);
        }
    }

    /// The sum of an event over all threads.
    pub(super) fn total(&self, event: Event) -> u64 {
        self.sum(event.index())
    }

    fn sum(&self, index: usize) -> u64 {
        self.stripes
            .iter()
            .map(|stripe| stripe.0[index].load(Ordering::Relaxed))
            .sum()
    }

    pub(super) fn requests(&self) -> ReasonCounts<RequestResult> {
        self.reasons(REQUESTS)
    }

    pub(super) fn body_bytes(&self) -> ReasonCounts<BodySource> {
        self.reasons(BODY_BYTES)
    }

    pub(super) fn fetches(&self) -> ReasonCounts<FetchReason> {
        self.reasons(FETCHES)
    }

    pub(super) fn bypasses(&self) -> ReasonCounts<Bypass> {
        self.reasons(BYPASSES)
    }

    pub(super) fn refusals(&self) -> ReasonCounts<Refusal> {
        self.reasons(REFUSALS)
    }

    pub(super) fn writes(&self) -> ReasonCounts<WriteOutcome> {
        self.reasons(WRITES)
    }

    pub(super) fn stale(&self) -> ReasonCounts<StaleUse> {
        self.reasons(STALE)
    }

    pub(super) fn refreshes(&self) -> ReasonCounts<Refresh> {
        self.reasons(REFRESHES)
    }

    pub(super) fn contradictions(&self) -> ReasonCounts<Contradiction> {
        self.reasons(CONTRADICTIONS)
    }

    pub(super) fn stores(&self) -> ReasonCounts<StoredBy> {
        self.reasons(STORES)
    }

    pub(super) fn origin_calls(&self) -> ReasonCounts<CallEnd> {
        self.reasons(ORIGIN_CALLS)
    }

    pub(super) fn origin_rejections(&self) -> ReasonCounts<OriginRejection> {
        self.reasons(REJECTIONS)
    }

    pub(super) fn outside(&self) -> ReasonCounts<StatusClass> {
        self.reasons(OUTSIDE)
    }

    pub(super) fn invalidations(&self) -> InvalidationCounts {
        InvalidationCounts::new(|index| self.sum(INVALIDATIONS + index))
    }

    fn reasons<R: Reason>(&self, first: usize) -> ReasonCounts<R> {
        ReasonCounts::new((first..first + R::ALL.len()).map(|index| self.sum(index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_counter_of_its_own() {
        let simple = [
            Event::StaleHit,
            Event::BadRequest,
            Event::Validation,
            Event::Repetition,
            Event::WriteGraceRefused,
            Event::WriteDetached,
            Event::WriteAbandoned,
            Event::OriginBodyFailed,
            Event::RefreshRefused,
        ];
        assert_eq!(simple.len(), SIMPLE);
        let invalidations = InvalidationCounts::kinds()
            .map(|(target, mode, result)| Event::Invalidation(target, mode, result));
        let indices: Vec<usize> = simple
            .into_iter()
            .chain(FetchReason::ALL.iter().map(|r| Event::Fetch(*r)))
            .chain(Bypass::ALL.iter().map(|r| Event::Bypass(*r)))
            .chain(Refusal::ALL.iter().map(|r| Event::Refusal(*r)))
            .chain(WriteOutcome::ALL.iter().map(|o| Event::Write(*o)))
            .chain(StaleUse::ALL.iter().map(|r| Event::Stale(*r)))
            .chain(Refresh::ALL.iter().map(|r| Event::Refresh(*r)))
            .chain(Contradiction::ALL.iter().map(|r| Event::Contradiction(*r)))
            .chain(StoredBy::ALL.iter().map(|by| Event::Store(*by)))
            .chain(CallEnd::ALL.iter().map(|end| Event::OriginCall(*end)))
            .chain(
                OriginRejection::ALL
                    .iter()
                    .map(|r| Event::OriginRejection(*r)),
            )
            .chain(invalidations)
            .map(Event::index)
            .chain(RequestResult::ALL.iter().map(|r| REQUESTS + r.index()))
            .chain(BodySource::ALL.iter().map(|s| BODY_BYTES + s.index()))
            .chain(StatusClass::ALL.iter().map(|c| OUTSIDE + c.index()))
            .collect();
        let different: std::collections::BTreeSet<usize> = indices.iter().copied().collect();
        assert_eq!(indices.len(), COUNTERS);
        assert_eq!(different, (0..COUNTERS).collect());
    }

    #[test]
    fn counts_of_all_threads_add_up() {
        let counters = Counters::default();
        let count = || counters.count_request(RequestResult::Hit, 3);
        std::thread::scope(|scope| {
            for _ in 0..2 * OWN_STRIPES {
                scope.spawn(|| (0..1000).for_each(|_| count()));
            }
        });
        counters.count(Event::Fetch(FetchReason::Stale));
        let requests = 2 * OWN_STRIPES as u64 * 1000;
        assert_eq!(counters.requests().get(RequestResult::Hit), requests);
        assert_eq!(counters.body_bytes().get(BodySource::Store), 3 * requests);
        assert_eq!(counters.fetches().get(FetchReason::Stale), 1);
    }
}
