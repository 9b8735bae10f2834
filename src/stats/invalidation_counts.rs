//! Invalidations by target, mode and result. Start with [`InvalidationCounts`].

use std::fmt;

use super::Reason;
pub use crate::semantics::reason::{InvalidatedTarget, InvalidationMode, InvalidationResult};

/// The number of invalidations, by target, mode and result.
#[derive(Clone, PartialEq, Eq)]
pub struct InvalidationCounts {
    counts: [u64; Self::LEN],
}

type Kind = (InvalidatedTarget, InvalidationMode, InvalidationResult);

impl InvalidationCounts {
    const MODES: usize = InvalidationMode::ALL.len();
    const RESULTS: usize = InvalidationResult::ALL.len();
    pub(super) const LEN: usize = InvalidatedTarget::ALL.len() * Self::MODES * Self::RESULTS;

    pub(super) fn index(
        target: InvalidatedTarget,
        mode: InvalidationMode,
        result: InvalidationResult,
    ) -> usize {
        (target.index() * Self::MODES + mode.index()) * Self::RESULTS + result.index()
    }

    pub(super) fn new(count: impl FnMut(usize) -> u64) -> Self {
        Self {
            counts: std::array::from_fn(count),
        }
    }

    /// Returns the number of invalidations of this kind.
    #[must_use]
    pub fn get(
        &self,
        target: InvalidatedTarget,
        mode: InvalidationMode,
        result: InvalidationResult,
    ) -> u64 {
        self.counts[Self::index(target, mode, result)]
    }

    /// Iterates over all kinds and their counts, including zeros.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, u64)> {
        Self::kinds().zip(self.counts)
    }

    /// All kinds, in the order of their index.
    pub(super) fn kinds() -> impl Iterator<Item = Kind> {
        InvalidatedTarget::ALL.iter().flat_map(|target| {
            InvalidationMode::ALL.iter().flat_map(move |mode| {
                let results = InvalidationResult::ALL.iter();
                results.map(move |result| (*target, *mode, *result))
            })
        })
    }

    /// The sum over the kinds that `matches`.
    pub(super) fn sum_of(&self, matches: impl Fn(Kind) -> bool) -> u64 {
        let matching = self.iter().filter(|(kind, _)| matches(*kind));
        matching.map(|(_, count)| count).sum()
    }
}

impl Default for InvalidationCounts {
    fn default() -> Self {
        Self::new(|_| 0)
    }
}

impl fmt::Debug for InvalidationCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.iter().filter(|(_, count)| *count > 0);
        f.debug_map().entries(counted).finish()
    }
}

/// An element of the list that the counts serialize to.
#[cfg(feature = "serde")]
#[derive(serde::Serialize)]
struct InvalidationCount {
    target: InvalidatedTarget,
    mode: InvalidationMode,
    result: InvalidationResult,
    count: u64,
}

#[cfg(feature = "serde")]
impl serde::Serialize for InvalidationCounts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counts = self
            .iter()
            .map(|((target, mode, result), count)| InvalidationCount {
                target,
                mode,
                result,
                count,
            });
        serializer.collect_seq(counts)
    }
}
