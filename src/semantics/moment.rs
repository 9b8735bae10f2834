//! A point in time, read from two clocks.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;
/// The number of seconds that is too large.
const TOO_LONG: u64 = u64::MAX / SECOND;
/// The reading of the wall clock at 1970. It begins 292 years before.
const WALL_1970: u64 = 1 << 63;

/// One reading of the monotonic clock and the wall clock of this machine.
///
/// The monotonic clock never steps, but may stand still while the machine is suspended. The wall
/// clock goes on then, but may be set. The time between two moments is therefore the larger of both
/// differences, so that a stored response never seems younger than it is.
///
/// Both are known to the nanosecond. A monotonic reading of 584 years or more is [`Duration::MAX`];
/// a wall clock that is off by 292 years is cut.
// Numbers of nanoseconds: each hit computes with them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Moment {
    monotonic: u64,
    wall: u64,
}

impl Moment {
    /// Creates a moment from a monotonic reading (since any fixed point) and the wall clock.
    #[must_use]
    pub fn new(monotonic: Duration, wall: SystemTime) -> Self {
        let wall = match wall.duration_since(UNIX_EPOCH) {
            Ok(since) => WALL_1970.saturating_add(to_nanos(since)),
            Err(before) => WALL_1970.saturating_sub(to_nanos(before.duration())),
        };
        let monotonic = to_nanos(monotonic);
        Self { monotonic, wall }
    }

    /// Returns the moment at a later monotonic reading, if less than `limit` has passed until then:
    /// the wall clock is taken to have gone on as the monotonic one.
    #[must_use]
    #[inline]
    pub(crate) fn continued_to(self, monotonic: Duration, limit: Duration) -> Option<Self> {
        let monotonic = to_nanos(monotonic);
        let passed = monotonic.checked_sub(self.monotonic)?;
        (passed < to_nanos(limit)).then(|| Self {
            monotonic,
            wall: self.wall.saturating_add(passed),
        })
    }

    /// Returns the monotonic reading.
    #[must_use]
    pub const fn monotonic(self) -> Duration {
        from_nanos(self.monotonic)
    }

    /// Returns the reading of the wall clock.
    #[must_use]
    pub fn wall(self) -> SystemTime {
        let since = Duration::from_nanos(self.wall.abs_diff(WALL_1970));
        let wall = match self.wall < WALL_1970 {
            true => UNIX_EPOCH.checked_sub(since),
            false => UNIX_EPOCH.checked_add(since),
        };
        wall.unwrap_or(UNIX_EPOCH)
    }

    /// Returns the wall clock in whole seconds since 1970, the resolution of HTTP dates; 0 before
    /// 1970.
    #[must_use]
    pub const fn unix_seconds(self) -> u64 {
        self.wall.saturating_sub(WALL_1970) / SECOND
    }

    /// Returns the earlier of two moments, by the monotonic clock.
    #[must_use]
    pub(crate) const fn or_earlier(self, other: Self) -> Self {
        match self.monotonic <= other.monotonic {
            true => self,
            false => other,
        }
    }

    /// Returns the time since `earlier`: the larger difference of the two clocks, never negative.
    #[must_use]
    #[inline]
    pub fn since(self, earlier: Self) -> Duration {
        let monotonic = self.monotonic.saturating_sub(earlier.monotonic);
        let wall = self.wall.saturating_sub(earlier.wall);
        from_nanos(monotonic.max(wall))
    }

    /// Returns the time since `earlier` by the monotonic clock alone, never negative: how long
    /// something took, whatever was done to the wall clock meanwhile.
    #[must_use]
    pub(crate) const fn monotonic_since(self, earlier: Self) -> Duration {
        from_nanos(self.monotonic.saturating_sub(earlier.monotonic))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moment")
            .field("monotonic", &self.monotonic())
            .field("wall", &self.wall())
            .finish()
    }
}

/// Returns a duration as a number of nanoseconds. One of 584 years or more is `u64::MAX`.
#[must_use]
#[inline]
pub(crate) const fn to_nanos(duration: Duration) -> u64 {
    if duration.as_secs() >= TOO_LONG {
        return u64::MAX;
    }
    duration.as_secs() * SECOND + duration.subsec_nanos() as u64
}

/// Returns the duration that [`to_nanos`] was given; [`Duration::MAX`] if that was too long.
#[must_use]
#[inline]
pub(crate) const fn from_nanos(nanos: u64) -> Duration {
    match nanos {
        u64::MAX => Duration::MAX,
        _ => Duration::from_nanos(nanos),
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

    #[test]
    fn moments_are_kept_to_the_nanosecond() {
        let before = UNIX_EPOCH - Duration::from_nanos(86_400_000_000_001);
        for wall in [
            before,
            UNIX_EPOCH,
            UNIX_EPOCH + Duration::new(1_790_000_000, 1),
        ] {
            for monotonic in [
                Duration::ZERO,
                Duration::from_nanos(1),
                Duration::from_nanos(999_999_999),
                Duration::new(86_400 * 365 * 100, 123_456_789),
                Duration::from_secs(TOO_LONG - 1),
                Duration::MAX,
            ] {
                let moment = Moment::new(monotonic, wall);
                assert_eq!((moment.monotonic(), moment.wall()), (monotonic, wall));
            }
        }
        let longest = Moment::new(Duration::from_secs(TOO_LONG), UNIX_EPOCH);
        assert_eq!(longest.monotonic(), Duration::MAX);
        assert_eq!(Moment::new(Duration::ZERO, before).unix_seconds(), 0);
    }

    #[test]
    fn a_moment_is_continued_for_a_while() {
        let second = Duration::from_secs(1);
        let start = at(100, 10);
        assert_eq!(start.continued_to(second * 100, second), Some(start));
        assert_eq!(start.continued_to(second * 101, second), None);
        assert_eq!(start.continued_to(second * 99, second), None);
        assert_eq!(
            start.continued_to(second * 105, second * 6),
            Some(at(105, 15))
        );
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
