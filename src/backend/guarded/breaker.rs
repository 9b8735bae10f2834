//! Whether asking is worth it: closed, open, or half-open with one probe.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::BreakerState;
use crate::random::{SeededRandom, uniform};

/// Over how much of the past it judges.
const BUCKETS: usize = 10;
/// For how long nothing must have gone well for that alone to be enough: what went well before would outweigh it for as
/// long as it is remembered.
const HOPELESS: Duration = Duration::from_millis(250);
/// How long whoever finds a probe under way waits for what becomes of it.
const PROBE_PAUSE: Duration = Duration::from_millis(50);

/// When a backend counts as not worth asking.
#[derive(Clone, Copy, Debug)]
pub(super) struct BreakerOptions {
    /// The part of the operations that failed or were slow, 0 to 1.
    pub(super) ratio: f64,
    /// How many there must have been.
    pub(super) least: u32,
    pub(super) window: Duration,
    /// Until the first probe; twice as long after each that fails.
    pub(super) pause: Duration,
    pub(super) longest_pause: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            ratio: 0.5,
            least: 10,
            window: Duration::from_secs(10),
            pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(5),
        }
    }
}

#[derive(Debug)]
pub(super) struct Breaker {
    options: BreakerOptions,
    phase: Mutex<Phase>,
    opened: AtomicU64,
    random: SeededRandom,
}

#[derive(Debug)]
enum Phase {
    Closed(Window),
    Open { until: Instant, pause: Duration },
    HalfOpen { pause: Duration },
}

/// How the last operations went, by when they ended.
#[derive(Debug)]
struct Window {
    began: Instant,
    buckets: [(usize, Tally); BUCKETS],
    /// Since when nothing has gone well, and how often.
    row: Option<(Instant, u32)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    all: u32,
    bad: u32,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            buckets: [(0, Tally::default()); BUCKETS],
            row: None,
        }
    }

    fn note(&mut self, is_bad: bool, now: Instant, window: Duration) -> Tally {
        let passed = now.saturating_duration_since(self.began).as_nanos();
        let number = (passed * BUCKETS as u128 / window.as_nanos().max(1)) as usize;
        let (of, tally) = &mut self.buckets[number % BUCKETS];
        if *of != number {
            (*of, *tally) = (number, Tally::default());
        }
        tally.all += 1;
        tally.bad += u32::from(is_bad);
        self.row = is_bad.then(|| match self.row {
            Some((since, count)) => (since, count.saturating_add(1)),
            None => (now, 1),
        });
        let recent = self.buckets.iter().filter(|(of, _)| of + BUCKETS > number);
        recent.fold(Tally::default(), |sum, (_, tally)| Tally {
            all: sum.all + tally.all,
            bad: sum.bad + tally.bad,
        })
    }

    /// Whether so many in a row have failed, over some time.
    fn is_hopeless(&self, least: u32, now: Instant) -> bool {
        let is_long = |since| now.saturating_duration_since(since) >= HOPELESS;
        self.row
            .is_some_and(|(since, count)| count >= least && is_long(since))
    }
}

/// Leave to ask once. Dropped without a result, it counts as nothing; a probe that is dropped is left to somebody else.
#[derive(Debug)]
pub(super) struct Permit<'b> {
    breaker: &'b Breaker,
    is_probe: bool,
    /// How often it had opened: what began before that says nothing of what is now.
    opened: u64,
}

impl Breaker {
    pub(super) fn new(options: BreakerOptions) -> Self {
        Self {
            options,
            phase: Mutex::new(Phase::Closed(Window::new(Instant::now()))),
            opened: AtomicU64::new(0),
            random: SeededRandom::default(),
        }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        // Nothing in here panics between two steps that belong together.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> BreakerState {
        match &*self.phase() {
            Phase::Closed(_) => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Leave to ask, or after which time to ask for it again.
    pub(super) fn admit(&self) -> Result<Permit<'_>, Duration> {
        let mut phase = self.phase();
        let is_probe = match *phase {
            Phase::Closed(_) => false,
            Phase::Open { until, pause } => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(left);
                }
                *phase = Phase::HalfOpen { pause };
                true
            }
            Phase::HalfOpen { .. } => return Err(PROBE_PAUSE),
        };
        Ok(Permit {
            breaker: self,
            is_probe,
            opened: self.opened(),
        })
    }

    fn note(&self, is_bad: bool, opened: u64, now: Instant) {
        let mut phase = self.phase();
        let window = match &mut *phase {
            Phase::Closed(window) if opened == self.opened() => window,
            _ => return,
        };
        let options = &self.options;
        let Tally { all, bad } = window.note(is_bad, now, options.window);
        let is_too_much = f64::from(bad) >= options.ratio * f64::from(all);
        if all >= options.least && (is_too_much || window.is_hopeless(options.least, now)) {
            *phase = self.open(options.pause, now);
            self.opened.fetch_add(1, Ordering::Relaxed);
            drop(phase);
            tracing::warn!(
                failed = bad,
                of = all,
                "the cache backend is not asked any more"
            );
        }
    }

    /// Open for a pause that chance makes up to a quarter shorter or longer, so that instances do not come back together.
    fn open(&self, pause: Duration, now: Instant) -> Phase {
        let until = now + pause.mul_f64(0.75 + uniform(&self.random) / 2.0);
        Phase::Open { until, pause }
    }

    fn probed(&self, is_bad: bool, now: Instant) {
        let mut phase = self.phase();
        let Phase::HalfOpen { pause } = *phase else {
            return;
        };
        if is_bad {
            let pause = (pause * 2).min(self.options.longest_pause);
            *phase = self.open(pause, now);
            drop(phase);
            tracing::debug!("the cache backend is no better");
        } else {
            *phase = Phase::Closed(Window::new(now));
            drop(phase);
            tracing::info!("the cache backend is asked again");
        }
    }
}

impl Permit<'_> {
    /// How it went.
    pub(super) fn went(self, is_bad: bool, now: Instant) {
        if self.is_probe {
            self.breaker.probed(is_bad, now);
        } else {
            self.breaker.note(is_bad, self.opened, now);
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
        if let Phase::HalfOpen { pause } = *phase {
            *phase = Phase::Open {
                until: Instant::now(),
                pause,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const OPTIONS: BreakerOptions = BreakerOptions {
        ratio: 0.5,
        least: 4,
        window: Duration::from_secs(10),
        pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(3),
    };

    fn go(breaker: &Breaker, bad: &[bool]) {
        for is_bad in bad {
            breaker
                .admit()
                .expect("it is closed")
                .went(*is_bad, Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn opens_at_the_ratio_and_no_earlier() {
        let breaker = Breaker::new(OPTIONS);
        go(&breaker, &[true, true, true]);
        assert_eq!(breaker.state(), BreakerState::Closed, "too few to tell");
        let breaker = Breaker::new(OPTIONS);
        go(&breaker, &[false, false, false, false, true, true, true]);
        assert_eq!(breaker.state(), BreakerState::Closed, "most went well");
        go(&breaker, &[true]);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.admit().is_err());
        assert_eq!(breaker.opened(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn forgets_what_is_long_ago() {
        let breaker = Breaker::new(OPTIONS);
        for _ in 0..20 {
            go(&breaker, &[true]);
            advance(Duration::from_secs(4)).await;
        }
        assert_eq!(
            breaker.state(),
            BreakerState::Closed,
            "three in ten seconds at most"
        );
    }

    /// R02: however well it went before.
    #[tokio::test(start_paused = true)]
    async fn opens_when_nothing_goes_well_any_more() {
        let breaker = Breaker::new(OPTIONS);
        go(&breaker, &[false; 1000]);
        go(&breaker, &[true; 20]);
        assert_eq!(breaker.state(), BreakerState::Closed, "a moment only");
        advance(HOPELESS).await;
        go(&breaker, &[false, true, true, true]);
        advance(HOPELESS).await;
        assert_eq!(breaker.state(), BreakerState::Closed, "one went well");
        go(&breaker, &[true]);
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    /// R05
    #[tokio::test(start_paused = true)]
    async fn lets_exactly_one_through_to_find_out() {
        let breaker = Breaker::new(OPTIONS);
        go(&breaker, &[true; 4]);
        advance(Duration::from_millis(1300)).await;
        let probe = breaker.admit().expect("it is time");
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!((0..64).all(|_| breaker.admit().is_err()));
        probe.went(false, Instant::now());
        assert_eq!(breaker.state(), BreakerState::Closed);
        go(&breaker, &[true; 3]);
        assert_eq!(
            breaker.state(),
            BreakerState::Closed,
            "the past is forgotten"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn waits_longer_after_each_probe_that_fails() {
        let breaker = Breaker::new(OPTIONS);
        go(&breaker, &[true; 4]);
        for pause in [1.0, 2.0, 3.0, 3.0] {
            let wait = breaker.admit().expect_err("it is open").as_secs_f64();
            assert!(
                (pause * 0.75..=pause * 1.25).contains(&wait),
                "{wait} of {pause}"
            );
            advance(Duration::from_secs_f64(wait + 0.001)).await;
            breaker
                .admit()
                .expect("it is time")
                .went(true, Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_is_left_to_the_next() {
        let breaker = Breaker::new(OPTIONS);
        go(&breaker, &[true; 4]);
        advance(Duration::from_millis(1300)).await;
        drop(breaker.admit().expect("it is time"));
        breaker
            .admit()
            .expect("the next at once")
            .went(false, Instant::now());
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
