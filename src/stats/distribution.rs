//! How values are distributed: histograms with fixed buckets.
//!
//! [`Histogram`] counts, [`Distribution`] is what it has counted. Neither is on the way of a hit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::counters::thread_number;

/// The number of stripes of a histogram. Threads share them, because a value comes with a call or
/// a store, which takes far longer than to count it.
const STRIPES: usize = 8;

/// The unit of a histogram's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Unit {
    /// Values are counted in microseconds, and shown in seconds.
    #[default]
    Seconds,
    Bytes,
}

/// The buckets of a histogram: their upper bounds, in ascending order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Buckets {
    bounds: &'static [u64],
    unit: Unit,
}

// Few: each bucket is a series for each value of a label, and those of a cache are bounded.
/// 1 ms to 30 s.
pub(super) const CALLS: Buckets = Buckets {
    bounds: &[1_000, 10_000, 100_000, 1_000_000, 10_000_000, 30_000_000],
    unit: Unit::Seconds,
};
/// 10 ms to 10 s, for what takes as long as a call and longer.
pub(super) const WAITS: Buckets = Buckets {
    bounds: &[10_000, 100_000, 1_000_000, 10_000_000],
    unit: Unit::Seconds,
};
/// 100 us to 1 s.
pub(super) const OPERATIONS: Buckets = Buckets {
    bounds: &[100, 1_000, 5_000, 50_000, 1_000_000],
    unit: Unit::Seconds,
};
/// 1 KiB to 4 MiB.
pub(super) const SIZES: Buckets = Buckets {
    bounds: &[1 << 10, 1 << 14, 1 << 18, 1 << 22],
    unit: Unit::Bytes,
};

/// Counts values by buckets.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Buckets,
    /// For each stripe the counts of the buckets, that of the values beyond, and the sum.
    cells: Box<[AtomicU64]>,
}

impl Histogram {
    pub(super) fn new(buckets: Buckets) -> Self {
        let cells = STRIPES * (buckets.bounds.len() + 2);
        Self {
            buckets,
            cells: (0..cells).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    pub(super) fn observe_time(&self, time: Duration) {
        let whole = time.as_secs().saturating_mul(1_000_000);
        self.observe(whole.saturating_add(u64::from(time.subsec_micros())));
    }

    pub(super) fn observe(&self, value: u64) {
        let bounds = self.buckets.bounds;
        let beyond = bounds.len();
        let bucket = bounds.iter().position(|bound| value <= *bound);
        let stripe = thread_number() % STRIPES * (beyond + 2);
        self.cells[stripe + bucket.unwrap_or(beyond)].fetch_add(1, Ordering::Relaxed);
        self.cells[stripe + beyond + 1].fetch_add(value, Ordering::Relaxed);
    }

    pub(super) fn distribution(&self) -> Distribution {
        let width = self.buckets.bounds.len() + 2;
        let mut cells = vec![0_u64; width];
        for (index, cell) in self.cells.iter().enumerate() {
            let total = &mut cells[index % width];
            *total = total.wrapping_add(cell.load(Ordering::Relaxed));
        }
        let sum = cells.pop().unwrap_or_default();
        Distribution {
            buckets: self.buckets,
            counts: cells,
            sum,
        }
    }
}

/// How values are distributed over the buckets of a histogram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    buckets: Buckets,
    /// One count for each bucket, and one for the values beyond.
    counts: Vec<u64>,
    sum: u64,
}

impl Distribution {
    /// Returns the number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the sum of all values, in seconds or bytes.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.shown(self.sum)
    }

    /// Iterates over the buckets: the upper bound of each in seconds or bytes, and the number of
    /// values up to there. The last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.buckets.bounds.iter().map(|bound| self.shown(*bound));
        let mut so_far = 0;
        bounds
            .chain([f64::INFINITY])
            .zip(&self.counts)
            .map(move |(bound, count)| {
                so_far += count;
                (bound, so_far)
            })
    }

    /// The distribution of the values of several, which have the same buckets.
    pub(super) fn merged<'d>(distributions: impl Iterator<Item = &'d Self>) -> Self {
        let mut merged = Self::default();
        for one in distributions.filter(|one| one.count() > 0) {
            merged.buckets = one.buckets;
            merged.counts.resize(one.counts.len(), 0);
            for (sum, count) in merged.counts.iter_mut().zip(&one.counts) {
                *sum += count;
            }
            merged.sum = merged.sum.wrapping_add(one.sum);
        }
        merged
    }

    fn shown(&self, value: u64) -> f64 {
        match self.buckets.unit {
            Unit::Seconds => value as f64 / 1e6,
            Unit::Bytes => value as f64,
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Distribution {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        // JSON has no infinite number: the last bucket is `count`.
        let mut buckets: Vec<_> = self.buckets().collect();
        buckets.pop();
        let mut fields = serializer.serialize_struct("Distribution", 3)?;
        fields.serialize_field("count", &self.count())?;
        fields.serialize_field("sum", &self.sum())?;
        fields.serialize_field("buckets", &buckets)?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_count_in_the_first_bucket_that_has_room_for_them() {
        for buckets in [CALLS, WAITS, OPERATIONS, SIZES] {
            assert!(buckets.bounds.is_sorted());
        }
        let histogram = Histogram::new(OPERATIONS);
        for micros in [0, 100, 101, 1_000_000, 1_000_001] {
            histogram.observe_time(Duration::from_micros(micros));
        }
        let distribution = histogram.distribution();
        let counts: Vec<_> = distribution.buckets().collect();
        assert_eq!(counts[..2], [(100e-6, 2), (1e-3, 3)]);
        assert_eq!(counts[4..], [(1.0, 4), (f64::INFINITY, 5)]);
        assert_eq!((distribution.count(), distribution.sum()), (5, 2.000_202));
    }

    #[test]
    fn merged_distributions_have_the_values_of_each() {
        let histograms = [Histogram::new(WAITS), Histogram::new(WAITS)];
        for (histogram, values) in histograms
            .iter()
            .zip([[5_000, 50_000], [7_000, 60_000_000]])
        {
            for value in values {
                histogram.observe(value);
            }
        }
        let distributions = histograms.map(|histogram| histogram.distribution());
        let merged = Distribution::merged(distributions.iter());
        let counts: Vec<_> = merged.buckets().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 4]);
        assert_eq!((merged.count(), merged.sum()), (4, 60.062));
        assert_eq!(Distribution::merged([].iter()), Distribution::default());
    }

    #[test]
    fn values_of_all_threads_add_up() {
        let histogram = Histogram::new(SIZES);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| (0..100).for_each(|_| histogram.observe(1 << 10)));
            }
        });
        let distribution = histogram.distribution();
        assert_eq!(
            (distribution.count(), distribution.sum()),
            (2000, 2_048_000.0)
        );
    }
}
