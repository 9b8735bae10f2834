//! Counters and timings of all requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::client::RequestError;

/// The longest time that is recorded, in microseconds; longer ones count as this.
const MAX_TIME: u64 = 60_000_000;

#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds one and returns the previous count.
    pub fn add(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All counters of a run.
#[derive(Default)]
pub struct Counters {
    pub reads: Count,
    pub hits: Count,
    pub writes: Count,
    pub stale: Count,
    pub undecided: Count,
    pub errors: ErrorCounts,
    pub read_times: Times,
    pub write_times: Times,
}

impl Counters {
    pub fn hit_ratio(&self) -> f64 {
        self.hits.get() as f64 / self.reads.get().max(1) as f64
    }
}

/// Failed requests.
#[derive(Default)]
pub struct ErrorCounts {
    /// Responses other than 2xx.
    pub not_2xx: Count,
    /// Failed connections and incomplete responses.
    pub broken: Count,
    /// 2xx responses with wrong content.
    pub wrong: Count,
}

impl ErrorCounts {
    pub fn add(&self, error: &RequestError) {
        match error {
            RequestError::Status(..) => self.not_2xx.add(),
            RequestError::Connection(_) => self.broken.add(),
        };
    }

    pub fn sum(&self) -> u64 {
        self.not_2xx.get() + self.broken.get() + self.wrong.get()
    }
}

/// A histogram of times in microseconds with three significant digits.
pub struct Times(Mutex<Histogram<u64>>);

impl Default for Times {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, MAX_TIME, 3);
        Self(Mutex::new(histogram.expect("the bounds are valid")))
    }
}

impl Times {
    pub fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(MAX_TIME);
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

/// Percentiles in milliseconds.
#[derive(Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}
