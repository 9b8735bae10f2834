//! All histograms of one cache, and the operations of its backend. Start with [`Histograms`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::distribution::{Buckets, CALLS, Distribution, Histogram, OPERATIONS, SIZES, WAITS};
use super::{BackendOperation, FillOutcome, OperationResult, Reason, StatusClass, WaitedFor};
use crate::backend::ObserveOperations;

/// One histogram for each value of a label.
#[derive(Debug)]
struct HistogramsBy<R> {
    histograms: Box<[Histogram]>,
    label: std::marker::PhantomData<R>,
}

impl<R: Reason> HistogramsBy<R> {
    fn new(buckets: Buckets) -> Self {
        Self {
            histograms: R::ALL.iter().map(|_| Histogram::new(buckets)).collect(),
            label: std::marker::PhantomData,
        }
    }

    fn of(&self, label: R) -> &Histogram {
        &self.histograms[label.index()]
    }

    fn distributions(&self) -> Distributions<R> {
        Distributions {
            distributions: self
                .histograms
                .iter()
                .map(Histogram::distribution)
                .collect(),
            label: std::marker::PhantomData,
        }
    }
}

/// One distribution for each value of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distributions<R> {
    distributions: Box<[Distribution]>,
    label: std::marker::PhantomData<R>,
}

impl<R: Reason> Distributions<R> {
    /// Returns the distribution of a label.
    #[must_use]
    pub fn get(&self, label: R) -> &Distribution {
        &self.distributions[label.index()]
    }

    /// Iterates over all labels and their distributions, empty ones included.
    pub fn iter(&self) -> impl Iterator<Item = (R, &Distribution)> {
        R::ALL.iter().map(|label| (*label, self.get(*label)))
    }
}

impl<R: Reason> Default for Distributions<R> {
    fn default() -> Self {
        Self {
            distributions: R::ALL.iter().map(|_| Distribution::default()).collect(),
            label: std::marker::PhantomData,
        }
    }
}

#[cfg(feature = "serde")]
impl<R: Reason> serde::Serialize for Distributions<R> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(label, it)| (label.as_str(), it)))
    }
}

/// Counts calls, fills and waiting by how long they took. No hit comes here.
#[derive(Debug)]
pub(crate) struct Histograms {
    fetches: HistogramsBy<StatusClass>,
    fills: HistogramsBy<FillOutcome>,
    waits: HistogramsBy<WaitedFor>,
    stored_bytes: Histogram,
}

impl Default for Histograms {
    fn default() -> Self {
        Self {
            fetches: HistogramsBy::new(CALLS),
            fills: HistogramsBy::new(WAITS),
            waits: HistogramsBy::new(WAITS),
            stored_bytes: Histogram::new(SIZES),
        }
    }
}

impl Histograms {
    /// Counts a call of the inner service, from the call to the head.
    pub(crate) fn observe_fetch(&self, class: StatusClass, time: Duration) {
        self.fetches.of(class).observe_time(time);
    }

    /// Counts a fill, from its call to its end.
    pub(crate) fn observe_fill(&self, outcome: FillOutcome, time: Duration) {
        self.fills.of(outcome).observe_time(time);
    }

    /// Counts the waiting of a request.
    pub(crate) fn observe_wait(&self, waited_for: WaitedFor, time: Duration) {
        self.waits.of(waited_for).observe_time(time);
    }

    /// Counts the body of a response that is stored.
    pub(crate) fn observe_stored(&self, bytes: u64) {
        self.stored_bytes.observe(bytes);
    }

    pub(super) fn fetch_durations(&self) -> Distributions<StatusClass> {
        self.fetches.distributions()
    }

    pub(super) fn fill_durations(&self) -> Distributions<FillOutcome> {
        self.fills.distributions()
    }

    pub(super) fn wait_durations(&self) -> Distributions<WaitedFor> {
        self.waits.distributions()
    }

    pub(super) fn stored_bytes(&self) -> Distribution {
        self.stored_bytes.distribution()
    }
}

/// The number of results of each operation.
const RESULTS: usize = OperationResult::ALL.len();
const OPERATION_RESULTS: usize = BackendOperation::ALL.len() * RESULTS;

/// Counts the operations of a backend outside of this process, by how they ended and how long they
/// took.
#[derive(Debug)]
pub(crate) struct BackendOperations {
    counts: [AtomicU64; OPERATION_RESULTS],
    durations: HistogramsBy<BackendOperation>,
}

impl Default for BackendOperations {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; OPERATION_RESULTS],
            durations: HistogramsBy::new(OPERATIONS),
        }
    }
}

impl ObserveOperations for BackendOperations {
    fn observe(&self, operation: BackendOperation, result: OperationResult, time: Duration) {
        let index = operation.index() * RESULTS + result.index();
        self.counts[index].fetch_add(1, Ordering::Relaxed);
        // What was not attempted took no time.
        if result != OperationResult::Rejected {
            self.durations.of(operation).observe_time(time);
        }
    }
}

impl BackendOperations {
    pub(super) fn counts(&self) -> OperationCounts {
        OperationCounts {
            counts: std::array::from_fn(|index| self.counts[index].load(Ordering::Relaxed)),
        }
    }

    pub(super) fn durations(&self) -> Distributions<BackendOperation> {
        self.durations.distributions()
    }
}

/// The number of operations of a backend outside of this process, by operation and result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationCounts {
    counts: [u64; OPERATION_RESULTS],
}

impl OperationCounts {
    /// Returns how often an operation ended with a result.
    #[must_use]
    pub fn get(&self, operation: BackendOperation, result: OperationResult) -> u64 {
        self.counts[operation.index() * RESULTS + result.index()]
    }

    /// Iterates over all operations, results and counts, including zeros.
    pub fn iter(&self) -> impl Iterator<Item = ((BackendOperation, OperationResult), u64)> {
        BackendOperation::ALL.iter().flat_map(|operation| {
            let results = OperationResult::ALL.iter();
            results.map(|result| ((*operation, *result), self.get(*operation, *result)))
        })
    }
}

/// An element of the list that the counts serialize to.
#[cfg(feature = "serde")]
#[derive(serde::Serialize)]
struct OperationCount {
    op: BackendOperation,
    result: OperationResult,
    count: u64,
}

#[cfg(feature = "serde")]
impl serde::Serialize for OperationCounts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|((op, result), count)| OperationCount {
            op,
            result,
            count,
        }))
    }
}
