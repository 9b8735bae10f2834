//! One counter for each reason of a set. Start with [`ReasonCounts`].

use std::fmt;
use std::marker::PhantomData;

use super::Reason;

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
    /// The counts of all reasons, in their order.
    pub(super) fn new(counts: impl Iterator<Item = u64>) -> Self {
        Self {
            counts: counts.collect(),
            set: PhantomData,
        }
    }

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

#[cfg(feature = "serde")]
impl<R: Reason> serde::Serialize for ReasonCounts<R> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(reason, count)| (reason.as_str(), count)))
    }
}
