//! The clock by which the cache computes ages and lifetimes.
//!
//! Knows nothing of caching. Start at [`Clock`]; a test can pass a closure to
//! [`CacheLayer::clock`](crate::CacheLayer::clock). Timeouts do not use it: they are tokio's.

pub(crate) mod throttle;

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

pub use crate::semantics::moment::Moment;

/// A source of time. Every closure `Fn() -> Moment` implements it.
///
/// The cache reads it once or a few times per request, so it should be cheap.
pub trait Clock: Send + Sync + 'static {
    /// Reads the monotonic clock and the wall clock together.
    fn now(&self) -> Moment;
}

impl<F: Fn() -> Moment + Send + Sync + 'static> Clock for F {
    fn now(&self) -> Moment {
        self()
    }
}

/// The clocks of the machine. The monotonic one is tokio's, so `tokio::time::pause` and `advance`
/// control it in tests.
///
/// The wall clock is read at most once in ten milliseconds per thread and computed from the
/// monotonic one in between: a change of the wall clock takes effect within that time.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The zero of the monotonic clock. A day before the first reading, because a clock that tokio has
/// paused shows an earlier time.
static START: LazyLock<std::time::Instant> = LazyLock::new(|| {
    let now = std::time::Instant::now();
    now.checked_sub(Duration::from_secs(24 * 60 * 60))
        .unwrap_or(now)
});

/// How long a reading of the wall clock is used: reading two clocks on every hit costs twice as
/// much as one.
const WALL_CLOCK_TTL: Duration = Duration::from_millis(10);

thread_local! {
    /// This thread's last reading of both clocks.
    static LAST_READING: Cell<Option<Moment>> = const { Cell::new(None) };
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let monotonic = Instant::now().into_std().saturating_duration_since(*START);
        let last_reading = LAST_READING.try_with(Cell::get).ok().flatten();
        let continued = last_reading.and_then(|last| last.continued_to(monotonic, WALL_CLOCK_TTL));
        continued.unwrap_or_else(|| {
            let now = Moment::new(monotonic, SystemTime::now());
            let _ = LAST_READING.try_with(|reading| reading.set(Some(now)));
            now
        })
    }
}
