//! The one place that reads clocks.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

pub use crate::semantics::moment::Moment;

/// Tells the time. Every closure `Fn() -> Moment` is one.
pub trait Clock: Send + Sync + 'static {
    /// A reading of both clocks.
    fn now(&self) -> Moment;
}

impl<F: Fn() -> Moment + Send + Sync + 'static> Clock for F {
    fn now(&self) -> Moment {
        self()
    }
}

/// The machine's clocks; the monotonic one is tokio's, so that `tokio::time::pause` stops and moves it in tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// Well before the first reading, so that a clock which was paused a moment earlier is not before it.
static START: LazyLock<std::time::Instant> = LazyLock::new(|| {
    let now = std::time::Instant::now();
    now.checked_sub(Duration::from_secs(24 * 60 * 60))
        .unwrap_or(now)
});

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let monotonic = Instant::now().into_std().saturating_duration_since(*START);
        Moment::new(monotonic, SystemTime::now())
    }
}
