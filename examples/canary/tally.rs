//! What was done and how long it took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::client::Trouble;

/// Longer ones count as this: no request is waited for as long.
const LONGEST: u64 = 60_000_000;

#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    /// How many there were before.
    pub fn add(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub struct Tally {
    pub reads: Count,
    pub hits: Count,
    pub writes: Count,
    pub stale: Count,
    pub undecided: Count,
    pub errors: Errors,
    pub read_times: Times,
    pub write_times: Times,
}

impl Tally {
    pub fn hit_ratio(&self) -> f64 {
        self.hits.get() as f64 / self.reads.get().max(1) as f64
    }
}

/// Requests that came to nothing.
#[derive(Default)]
pub struct Errors {
    pub refused: Count,
    pub broken: Count,
    pub wrong: Count,
}

impl Errors {
    pub fn add(&self, trouble: &Trouble) {
        match trouble {
            Trouble::Refused(..) => self.refused.add(),
            Trouble::Broken(_) => self.broken.add(),
        };
    }

    pub fn sum(&self) -> u64 {
        self.refused.get() + self.broken.get() + self.wrong.get()
    }
}

/// In microseconds, three digits of each.
pub struct Times(Mutex<Histogram<u64>>);

impl Default for Times {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST, 3);
        Self(Mutex::new(histogram.expect("sensible bounds")))
    }
}

impl Times {
    pub fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST);
        self.lock().saturating_record(micros);
    }

    pub fn summary(&self) -> Percentiles {
        let histogram = self.lock();
        let at = |percent| histogram.value_at_percentile(percent) as f64 / 1000.0;
        Percentiles {
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p999: at(99.9),
            max: at(100.0),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Histogram<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In milliseconds.
#[derive(Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}
