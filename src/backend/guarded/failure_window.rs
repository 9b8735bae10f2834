//! The recent outcomes that a circuit breaker judges by.

use std::time::Duration;

use tokio::time::Instant;

/// The number of buckets that the window is divided into.
const BUCKETS: usize = 10;
/// How long a streak of failures must last to open the breaker by itself. Without that rule, a long
/// series of successes would outweigh it for the whole window.
pub(super) const MIN_STREAK: Duration = Duration::from_millis(250);

/// The outcomes of recent operations, counted in buckets by the time they ended.
#[derive(Debug)]
pub(super) struct SampleWindow {
    started: Instant,
    buckets: [(usize, SampleCounts); BUCKETS],
    streak: Option<FailureStreak>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SampleCounts {
    pub(super) total: u32,
    pub(super) failed: u32,
}

/// The failures since the last success.
#[derive(Clone, Copy, Debug)]
struct FailureStreak {
    since: Instant,
    count: u32,
}

impl SampleWindow {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: now,
            buckets: [(0, SampleCounts::default()); BUCKETS],
            streak: None,
        }
    }

    /// Records an outcome and returns the counts of the window that ends now.
    pub(super) fn record(
        &mut self,
        is_failure: bool,
        now: Instant,
        window: Duration,
    ) -> SampleCounts {
        let elapsed = now.saturating_duration_since(self.started).as_nanos();
        let number = (elapsed * BUCKETS as u128 / window.as_nanos().max(1)) as usize;
        let (bucket, counts) = &mut self.buckets[number % BUCKETS];
        if *bucket != number {
            (*bucket, *counts) = (number, SampleCounts::default());
        }
        counts.total += 1;
        counts.failed += u32::from(is_failure);
        self.streak = is_failure.then(|| match self.streak {
            Some(FailureStreak { since, count }) => FailureStreak {
                since,
                count: count.saturating_add(1),
            },
            None => FailureStreak {
                since: now,
                count: 1,
            },
        });
        let recent = self
            .buckets
            .iter()
            .filter(|(bucket, _)| bucket + BUCKETS > number);
        recent.fold(SampleCounts::default(), |sum, (_, counts)| SampleCounts {
            total: sum.total + counts.total,
            failed: sum.failed + counts.failed,
        })
    }

    /// Whether at least `min_samples` operations in a row have failed, for some time.
    pub(super) fn has_only_failures(&self, min_samples: u32, now: Instant) -> bool {
        self.streak.is_some_and(|streak| {
            streak.count >= min_samples && now.saturating_duration_since(streak.since) >= MIN_STREAK
        })
    }
}
