//! How long the inner service has been silent although it was called.
//!
//! Calls are counted when they end. Those that hang, and the next ones that wait for them, would
//! show nowhere until then. Start at [`UnansweredCalls`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// For how long after the last call the time that calls have waited is kept: refreshes that hang are
/// called with pauses between them.
const IDLE_TIME: Duration = Duration::from_secs(60);

/// The calls that have no response yet, and the time that calls have waited since the last one.
///
/// Only a response ends the silence. A call that fails or is canceled does not: a timeout or an
/// impatient client may have ended it, and the next one would hang just as long.
#[derive(Debug, Default)]
pub(crate) struct UnansweredCalls {
    silence: Mutex<Silence>,
    /// Whether there is a silence to end: most misses of a fast origin need no lock to know.
    is_silent: AtomicBool,
}

#[derive(Debug, Default)]
struct Silence {
    calls: usize,
    /// How long there were calls under way since the last response, before `since`.
    waited: Duration,
    /// Since when there are calls under way, or none.
    since: Duration,
}

impl UnansweredCalls {
    /// Counts a call that waits. `now` is read only if it is the first one.
    pub(super) fn begin(&self, now: impl FnOnce() -> Duration) {
        let mut silence = self.lock();
        if silence.calls == 0 {
            let now = now();
            silence.waited = silence.at(now);
            silence.since = now;
        }
        silence.calls += 1;
        self.is_silent.store(true, Ordering::Relaxed);
    }

    /// Notes a call that ends without a response.
    pub(super) fn give_up(&self, now: impl FnOnce() -> Duration) {
        let mut silence = self.lock();
        silence.calls -= 1;
        if silence.calls == 0 {
            let now = now();
            let time = now.saturating_sub(silence.since);
            silence.waited += time;
            silence.since = now;
        }
    }

    /// Notes a response. `has_waited` says whether its call was counted by [`begin`](Self::begin):
    /// one that is answered at once is not.
    pub(super) fn answer(&self, has_waited: bool, now: impl FnOnce() -> Duration) {
        if !has_waited && !self.is_silent.load(Ordering::Relaxed) {
            return;
        }
        let mut silence = self.lock();
        silence.calls -= usize::from(has_waited);
        silence.waited = Duration::ZERO;
        match silence.calls {
            0 => self.is_silent.store(false, Ordering::Relaxed),
            _ => silence.since = now(),
        }
    }

    /// The number of calls that wait for a response.
    pub(crate) fn len(&self) -> usize {
        self.lock().calls
    }

    /// How long calls have waited since the last response; zero if there was no call for a minute.
    pub(crate) fn silence(&self, now: Duration) -> Duration {
        self.lock().at(now)
    }

    fn lock(&self) -> MutexGuard<'_, Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Silence {
    fn at(&self, now: Duration) -> Duration {
        let time = now.saturating_sub(self.since);
        match self.calls {
            0 if time >= IDLE_TIME => Duration::ZERO,
            0 => self.waited,
            _ => self.waited + time,
        }
    }
}
