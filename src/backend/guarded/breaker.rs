//! A circuit breaker: closed, open, or half-open with one probe.
//!
//! ```text
//!            too many failures                   delay over
//!   Closed ──────────────────────> Open ──────────────────────> HalfOpen
//!      ^                             ^  <── probe fails: twice the delay ──┤
//!      └──────────────────── probe succeeds ───────────────────────────────┘
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::BreakerState;
use crate::random::{SeededRandom, uniform};

/// How long to wait for the result of a probe before asking for admission again.
const PROBE_RETRY: Duration = Duration::from_millis(50);

/// When the breaker opens, and when it lets a probe through.
#[derive(Clone, Copy, Debug)]
pub(super) struct BreakerOptions {
    /// The share of operations, above 0 up to 1, that opens the breaker when it failed or was slow.
    pub(super) failure_threshold: f64,
    /// The number of operations below which the breaker never opens.
    pub(super) min_samples: u32,
    /// The length of the past that counts.
    pub(super) window: Duration,
    /// The delay before the first probe; it doubles after each probe that fails.
    pub(super) half_open_after: Duration,
    /// The longest delay. Below `half_open_after` it has no effect.
    pub(super) max_half_open_delay: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            failure_threshold: 0.5,
            min_samples: 10,
            window: Duration::from_secs(10),
            half_open_after: Duration::from_millis(500),
            max_half_open_delay: Duration::from_secs(5),
        }
    }
}

#[derive(Debug)]
pub(super) struct CircuitBreaker {
    /// The name of what it admits, as metrics have it: log lines tell the breakers apart by it.
    name: &'static str,
    options: BreakerOptions,
    phase: Mutex<BreakerPhase>,
    opened: AtomicU64,
    random: SeededRandom,
}

#[derive(Debug)]
enum BreakerPhase {
    Closed(SampleWindow),
    Open { until: Instant, delay: Duration },
    HalfOpen { delay: Duration },
}

/// The permission for one operation.
///
/// Dropped without a result it records nothing; a dropped probe makes room for the next one.
#[derive(Debug)]
pub(super) struct Permit<'b> {
    breaker: &'b CircuitBreaker,
    is_probe: bool,
    /// How often the breaker had opened before: the result of an operation that started before the
    /// last opening says nothing about the present.
    opened: u64,
}

impl CircuitBreaker {
    pub(super) fn new(options: BreakerOptions) -> Self {
        Self {
            name: "lookups",
            options,
            phase: Mutex::new(BreakerPhase::Closed(SampleWindow::new(Instant::now()))),
            opened: AtomicU64::new(0),
            random: SeededRandom::default(),
        }
    }

    /// Gives it the name of what it admits, in place of `lookups`.
    pub(super) fn with_name(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    fn phase(&self) -> MutexGuard<'_, BreakerPhase> {
        // No code under this lock panics between two steps that belong together.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> BreakerState {
        match &*self.phase() {
            BreakerPhase::Closed(_) => BreakerState::Closed,
            BreakerPhase::Open { .. } => BreakerState::Open,
            BreakerPhase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether it is closed, and an operation has succeeded within this time.
    pub(super) fn has_success_within(&self, time: Duration) -> bool {
        let now = Instant::now();
        let is_recent = |at| now.saturating_duration_since(at) <= time;
        match &*self.phase() {
            BreakerPhase::Closed(samples) => samples.last_success.is_some_and(is_recent),
            BreakerPhase::Open { .. } | BreakerPhase::HalfOpen { .. } => false,
        }
    }

    /// How often the breaker has opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Admits an operation, or returns the time after which to try again.
    pub(super) fn admit(&self) -> Result<Permit<'_>, Duration> {
        let mut phase = self.phase();
        let is_probe = match *phase {
            BreakerPhase::Closed(_) => false,
            BreakerPhase::Open { until, delay } => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(left);
                }
                *phase = BreakerPhase::HalfOpen { delay };
                true
            }
            BreakerPhase::HalfOpen { .. } => return Err(PROBE_RETRY),
        };
        Ok(Permit {
            breaker: self,
            is_probe,
            opened: self.opened(),
        })
    }

    /// Admits an operation that is never a probe.
    pub(super) fn admit_if_closed(&self) -> Option<Permit<'_>> {
        let phase = self.phase();
        matches!(*phase, BreakerPhase::Closed(_)).then(|| Permit {
            breaker: self,
            is_probe: false,
            opened: self.opened(),
        })
    }

    /// Admits an operation whatever the state. The first one of an open breaker is its probe.
    pub(super) fn admit_at_once(&self) -> Permit<'_> {
        let mut phase = self.phase();
        let is_probe = matches!(*phase, BreakerPhase::Open { .. });
        if let BreakerPhase::Open { delay, .. } = *phase {
            *phase = BreakerPhase::HalfOpen { delay };
        }
        Permit {
            breaker: self,
            is_probe,
            opened: self.opened(),
        }
    }

    fn record(&self, is_failure: bool, opened: u64, now: Instant) {
        let mut phase = self.phase();
        let samples = match &mut *phase {
            BreakerPhase::Closed(samples) if opened == self.opened() => samples,
            _ => return,
        };
        let options = &self.options;
        samples.record(is_failure, now, options.window);
        if !is_failure {
            return;
        }
        let SampleCounts { total, failed } = samples.recent(now, options.window);
        let is_above_threshold = f64::from(failed) >= options.failure_threshold * f64::from(total);
        // A streak is as telling where operations are rare: the window holds few of them then.
        if total >= options.min_samples && is_above_threshold
            || samples.has_only_failures(options.min_samples, now)
        {
            *phase = self.open_for(options.half_open_after, now);
            self.opened.fetch_add(1, Ordering::Relaxed);
            drop(phase);
            tracing::warn!(breaker = self.name, failed, total, "circuit breaker opened");
        }
    }

    /// Opens for a random time of up to a quarter more or less than `delay`, so that instances do
    /// not probe at the same moment.
    fn open_for(&self, delay: Duration, now: Instant) -> BreakerPhase {
        let until = now + delay.mul_f64(0.75 + uniform(&self.random) / 2.0);
        BreakerPhase::Open { until, delay }
    }

    fn record_probe(&self, is_failure: bool, now: Instant) {
        let mut phase = self.phase();
        let BreakerPhase::HalfOpen { delay } = *phase else {
            return;
        };
        if is_failure {
            let options = &self.options;
            let longest = options.max_half_open_delay.max(options.half_open_after);
            *phase = self.open_for((delay * 2).min(longest), now);
            drop(phase);
            tracing::debug!(breaker = self.name, "circuit breaker probe failed");
        } else {
            let mut samples = SampleWindow::new(now);
            samples.last_success = Some(now);
            *phase = BreakerPhase::Closed(samples);
            drop(phase);
            tracing::info!(breaker = self.name, "circuit breaker closed");
        }
    }
}

impl Permit<'_> {
    /// Records the outcome of the operation.
    pub(super) fn record(self, is_failure: bool, now: Instant) {
        if self.is_probe {
            self.breaker.record_probe(is_failure, now);
        } else {
            self.breaker.record(is_failure, self.opened, now);
        }
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.is_probe {
            return;
        }
        let mut phase = self.breaker.phase();
        if let BreakerPhase::HalfOpen { delay } = *phase {
            *phase = BreakerPhase::Open {
                until: Instant::now(),
                delay,
            };
        }
    }
}

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
    last_success: Option<Instant>,
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
            last_success: None,
        }
    }

    /// Returns the number of the bucket for what ends now.
    fn bucket(&self, now: Instant, window: Duration) -> usize {
        let elapsed = now.saturating_duration_since(self.started).as_millis() as u64;
        (elapsed * BUCKETS as u64 / (window.as_millis() as u64).max(1)) as usize
    }

    /// Records an outcome.
    pub(super) fn record(&mut self, is_failure: bool, now: Instant, window: Duration) {
        let number = self.bucket(now, window);
        let (bucket, counts) = &mut self.buckets[number % BUCKETS];
        if *bucket != number {
            (*bucket, *counts) = (number, SampleCounts::default());
        }
        counts.total += 1;
        counts.failed += u32::from(is_failure);
        if !is_failure {
            self.last_success = Some(now);
        }
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
    }

    /// Returns the counts of the window that ends now.
    pub(super) fn recent(&self, now: Instant, window: Duration) -> SampleCounts {
        let number = self.bucket(now, window);
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

#[cfg(test)]
mod tests {
    use super::super::breaker::MIN_STREAK;
    use super::*;
    use tokio::time::advance;

    const OPTIONS: BreakerOptions = BreakerOptions {
        failure_threshold: 0.5,
        min_samples: 4,
        window: Duration::from_secs(10),
        half_open_after: Duration::from_secs(1),
        max_half_open_delay: Duration::from_secs(3),
    };

    fn run(breaker: &CircuitBreaker, failures: &[bool]) {
        for is_failure in failures {
            breaker
                .admit()
                .expect("the breaker is closed")
                .record(*is_failure, Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_breaker_opens_at_the_threshold_and_no_earlier() {
        let breaker = CircuitBreaker::new(OPTIONS);
        run(&breaker, &[true, true, true]);
        assert_eq!(breaker.state(), BreakerState::Closed, "too few samples");
        let breaker = CircuitBreaker::new(OPTIONS);
        run(&breaker, &[false, false, false, false, true, true, true]);
        assert_eq!(breaker.state(), BreakerState::Closed, "most succeeded");
        run(&breaker, &[true]);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.admit().is_err());
        assert_eq!(breaker.opened(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_older_than_the_window_do_not_count() {
        let breaker = CircuitBreaker::new(OPTIONS);
        for number in 0..30 {
            run(&breaker, &[number % 3 > 0]);
            advance(Duration::from_secs(4)).await;
        }
        assert_eq!(
            breaker.state(),
            BreakerState::Closed,
            "three in ten seconds at most"
        );
    }

    /// A backend that hangs, and is asked less than once a second.
    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_count_however_rare_they_are() {
        let breaker = CircuitBreaker::new(OPTIONS);
        for expected in [
            BreakerState::Closed,
            BreakerState::Closed,
            BreakerState::Closed,
            BreakerState::Open,
        ] {
            advance(Duration::from_secs(60)).await;
            run(&breaker, &[true]);
            assert_eq!(breaker.state(), expected);
        }
    }

    /// A thousand successes just before an outage do not delay the breaker by the whole window.
    #[tokio::test(start_paused = true)]
    async fn a_streak_of_failures_opens_the_breaker_whatever_came_before() {
        let breaker = CircuitBreaker::new(OPTIONS);
        run(&breaker, &[false; 1000]);
        run(&breaker, &[true; 20]);
        assert_eq!(breaker.state(), BreakerState::Closed, "too short a time");
        advance(MIN_STREAK).await;
        run(&breaker, &[false, true, true, true]);
        advance(MIN_STREAK).await;
        assert_eq!(breaker.state(), BreakerState::Closed, "one succeeded");
        run(&breaker, &[true]);
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    /// A backend that recovers is not hit by all waiting operations at once.
    #[tokio::test(start_paused = true)]
    async fn exactly_one_probe_is_admitted() {
        let breaker = CircuitBreaker::new(OPTIONS);
        run(&breaker, &[true; 4]);
        advance(Duration::from_millis(1300)).await;
        let probe = breaker.admit().expect("the delay is over");
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!((0..64).all(|_| breaker.admit().is_err()));
        probe.record(false, Instant::now());
        assert_eq!(breaker.state(), BreakerState::Closed);
        run(&breaker, &[true; 3]);
        assert_eq!(
            breaker.state(),
            BreakerState::Closed,
            "earlier failures are forgotten"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_delay_doubles_after_each_failed_probe() {
        let breaker = CircuitBreaker::new(OPTIONS);
        run(&breaker, &[true; 4]);
        for delay in [1.0, 2.0, 3.0, 3.0] {
            let wait = breaker
                .admit()
                .expect_err("the breaker is open")
                .as_secs_f64();
            assert!(
                (delay * 0.75..=delay * 1.25).contains(&wait),
                "{wait} of {delay}"
            );
            advance(Duration::from_secs_f64(wait + 0.001)).await;
            breaker
                .admit()
                .expect("the delay is over")
                .record(true, Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_probe_makes_room_for_the_next() {
        let breaker = CircuitBreaker::new(OPTIONS);
        run(&breaker, &[true; 4]);
        advance(Duration::from_millis(1300)).await;
        drop(breaker.admit().expect("the delay is over"));
        breaker
            .admit()
            .expect("the next probe at once")
            .record(false, Instant::now());
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
