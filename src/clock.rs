//! The one place that reads clocks.

use std::cell::Cell;
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

/// For how long a reading of the wall clock is believed: reading two clocks costs twice as much as one, on every hit.
const BELIEVED: Duration = Duration::from_millis(10);

thread_local! {
    /// What both said when this thread last asked both.
    static READ: Cell<Option<(Duration, SystemTime)>> = const { Cell::new(None) };
}

/// The wall clock when the monotonic one says `monotonic`. That it was set is noticed within ten milliseconds.
fn wall_at(monotonic: Duration) -> SystemTime {
    let read = READ.try_with(Cell::get).ok().flatten();
    if let Some((then, wall)) = read
        && let Some(passed) = monotonic.checked_sub(then)
        && passed < BELIEVED
    {
        return wall + passed;
    }
    let wall = SystemTime::now();
    let _ = READ.try_with(|read| read.set(Some((monotonic, wall))));
    wall
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let monotonic = Instant::now().into_std().saturating_duration_since(*START);
        Moment::new(monotonic, wall_at(monotonic))
    }
}
