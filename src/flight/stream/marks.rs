//! Which readers the source has waited for since a moment, by the chunk that they read next.

use std::collections::VecDeque;

/// The readers that were before some chunk at a moment, and have not lost their mark since.
///
/// A reader keeps the number of the last marking whose mark it has lost.
#[derive(Debug, Default)]
pub(super) struct Marks {
    number: u32,
    /// For each chunk that there was at that moment, the marked readers that read it next.
    counts: VecDeque<usize>,
    /// The readers that were dropped last: those marked by this number and before this chunk.
    dropped: Option<(u32, u64)>,
}

impl Marks {
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Marks readers anew, by these counts.
    pub(super) fn begin(&mut self, counts: VecDeque<usize>) {
        self.number = self.number.saturating_add(1);
        self.counts = counts;
    }

    /// Notes that the first chunk was freed.
    pub(super) fn trim(&mut self) {
        self.counts.pop_front();
    }

    /// Whether a reader before the chunk at `index`, which has lost this mark, is marked.
    pub(super) fn has(&self, index: usize, lost: u32) -> bool {
        lost < self.number && index < self.counts.len()
    }

    /// Takes a marked reader out.
    pub(super) fn remove(&mut self, index: usize) {
        self.counts[index] -= 1;
    }

    /// Drops all marked readers. Returns their counts.
    pub(super) fn drop_all(&mut self, first: u64) -> VecDeque<usize> {
        let counts = std::mem::take(&mut self.counts);
        if counts.iter().any(|count| *count > 0) {
            self.dropped = Some((self.number, first + counts.len() as u64));
        }
        counts
    }

    /// Whether the reader before this chunk, which has lost this mark, was dropped.
    pub(super) fn has_dropped(&self, next: u64, lost: u32) -> bool {
        let is_marked = |(number, end): (u32, u64)| lost < number && next < end;
        self.dropped.is_some_and(is_marked)
    }
}
