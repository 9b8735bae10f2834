//! How often a limit was reached, with a line in the log now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a limit was reached, and when that was logged last.
#[derive(Default)]
pub struct Reached {
    count: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

impl Reached {
    /// Counts once; the number so far if that is to be logged, as once a second.
    pub fn add(&self) -> Option<u64> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
            return None;
        }
        *logged = Some(Instant::now());
        Some(count)
    }

    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}
