//! A point in time, read from two clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One reading of the monotonic clock and the wall clock of this machine.
///
/// The monotonic clock never steps, but may stand still while the machine is suspended. The wall
/// clock goes on then, but may be set. The time between two moments is therefore the larger of both
/// differences, so that a stored response never seems younger than it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    monotonic: Duration,
    wall: SystemTime,
}

impl Moment {
    /// Creates a moment from a monotonic reading (since any fixed point) and the wall clock.
    #[must_use]
    pub const fn new(monotonic: Duration, wall: SystemTime) -> Self {
        Self { monotonic, wall }
    }

    /// Returns the monotonic reading.
    #[must_use]
    pub const fn monotonic(self) -> Duration {
        self.monotonic
    }

    /// Returns the reading of the wall clock.
    #[must_use]
    pub const fn wall(self) -> SystemTime {
        self.wall
    }

    /// Returns the wall clock in whole seconds since 1970, the resolution of HTTP dates; 0 before
    /// 1970.
    #[must_use]
    pub fn unix_seconds(self) -> u64 {
        self.wall
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    }

    /// Returns the time since `earlier`: the larger difference of the two clocks, never negative.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let monotonic = self.monotonic_since(earlier);
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        monotonic.max(wall)
    }

    /// Returns the time since `earlier` by the monotonic clock alone, never negative: how long
    /// something took, whatever was done to the wall clock meanwhile.
    #[must_use]
    pub(crate) fn monotonic_since(self, earlier: Self) -> Duration {
        self.monotonic.saturating_sub(earlier.monotonic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(monotonic: u64, wall: u64) -> Moment {
        Moment::new(
            Duration::from_secs(monotonic),
            UNIX_EPOCH + Duration::from_secs(wall),
        )
    }

    /// A clock that is set back, or a machine that is suspended, never makes a response younger.
    #[test]
    fn the_clock_that_moved_further_counts() {
        let hour = 3600;
        let start = at(100, 10 * hour);
        for (case, now, seconds) in [
            ("both advance", at(105, 10 * hour + 5), 5),
            ("wall set back an hour", at(105, 9 * hour), 5),
            (
                "suspended: only wall advances",
                at(100, 12 * hour),
                2 * hour,
            ),
            ("wall before 1970 is no panic", at(101, 0), 1),
            ("nothing moved", start, 0),
        ] {
            assert_eq!(now.since(start), Duration::from_secs(seconds), "{case}");
        }
    }
}
