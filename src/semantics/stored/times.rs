//! The times of a stored response in few bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::semantics::freshness::{Freshness, Staleness};
use crate::semantics::moment::Moment;

/// The nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;
/// The number of seconds that is too large.
const TOO_LONG: u64 = u64::MAX / SECOND;
/// The reading of the wall clock at 1970. It begins 292 years before.
const WALL_1970: u64 = 1 << 63;

/// A duration as a number of nanoseconds. One of 584 years or more is `Duration::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedDuration(u64);

impl PackedDuration {
    /// The number of bytes that one takes.
    pub(crate) const BYTES: usize = size_of::<u64>();

    /// Packs a duration.
    #[inline]
    pub(crate) fn new(duration: Duration) -> Self {
        if duration.as_secs() >= TOO_LONG {
            return Self(u64::MAX);
        }
        Self(duration.as_secs() * SECOND + u64::from(duration.subsec_nanos()))
    }

    /// Returns the duration.
    #[inline]
    pub(crate) fn get(self) -> Duration {
        if self.0 == u64::MAX {
            return Duration::MAX;
        }
        Duration::from_nanos(self.0)
    }

    /// Returns the duration with these bits.
    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the bits, to be saved.
    #[inline]
    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }
}

/// When a response arrived, its age then, and its lifetime.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackedTimes {
    monotonic: PackedDuration,
    wall: PackedDuration,
    initial_age: PackedDuration,
    lifetime: PackedDuration,
}

/// The facts about a stored response that take one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    pub(super) const HAS_LIFETIME: u16 = 1;
    pub(super) const IS_IMMUTABLE: u16 = 2;
    pub(super) const IS_STALE_FORBIDDEN: u16 = 4;
    pub(super) const HAS_UPSTREAM_STATUS: u16 = 8;
    /// The first of the bits that tell which of the [`windows`] are not zero.
    const FIRST_WINDOW: u32 = 8;
    const KNOWN: u16 = 0x0f0f;

    /// Returns the flags with these bits; `None` if one of them has no meaning.
    pub(crate) fn from_bits(bits: u16) -> Option<Self> {
        (bits & !Self::KNOWN == 0).then_some(Self(bits))
    }

    /// Returns the bits, to be saved.
    pub(crate) const fn to_bits(self) -> u16 {
        self.0
    }

    /// The flags of these times.
    pub(super) fn new(freshness: &Freshness) -> Self {
        let mut bits = 0;
        let mut set = |bit, is_set| bits |= bit * u16::from(is_set);
        set(Self::HAS_LIFETIME, freshness.lifetime.is_some());
        set(Self::IS_IMMUTABLE, freshness.immutable);
        set(Self::IS_STALE_FORBIDDEN, freshness.stale.is_forbidden);
        for (index, window) in windows(&freshness.stale).iter().enumerate() {
            set(
                1 << (Self::FIRST_WINDOW as usize + index),
                !window.is_zero(),
            );
        }
        Self(bits)
    }

    #[inline]
    pub(super) fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }

    pub(super) fn set(&mut self, bit: u16, is_set: bool) {
        self.0 = (self.0 & !bit) | (bit * u16::from(is_set));
    }

    /// The bytes that the windows take.
    #[inline]
    pub(super) fn window_bytes(self) -> usize {
        (self.0 >> Self::FIRST_WINDOW).count_ones() as usize * PackedDuration::BYTES
    }

    fn has_window(self, index: usize) -> bool {
        (self.0 >> (Self::FIRST_WINDOW as usize + index)) & 1 == 1
    }
}

/// The windows after the lifetime, in the order in which they are saved.
fn windows(stale: &Staleness) -> [Duration; 4] {
    [
        stale.while_revalidate,
        stale.if_error,
        stale.if_unreachable,
        stale.validation,
    ]
}

/// Writes the windows that are not zero.
pub(super) fn put_windows(to: &mut Vec<u8>, stale: &Staleness) {
    for window in windows(stale)
        .into_iter()
        .filter(|window| !window.is_zero())
    {
        let bits = PackedDuration::new(window).to_bits();
        to.extend_from_slice(&bits.to_le_bytes());
    }
}

impl PackedTimes {
    pub(super) fn new(freshness: &Freshness) -> Self {
        Self {
            monotonic: PackedDuration::new(freshness.received.monotonic()),
            wall: pack_wall(freshness.received.wall()),
            initial_age: PackedDuration::new(freshness.initial_age),
            lifetime: PackedDuration::new(freshness.lifetime.unwrap_or_default()),
        }
    }

    pub(super) fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = PackedDuration::new(lifetime);
    }

    /// Returns the lifetime, to be saved.
    pub(super) fn packed_lifetime(&self) -> PackedDuration {
        self.lifetime
    }

    #[inline]
    pub(super) fn lifetime(&self, flags: Flags) -> Option<Duration> {
        flags.has(Flags::HAS_LIFETIME).then(|| self.lifetime.get())
    }

    /// Returns the times. The bytes begin with the windows.
    #[inline]
    pub(super) fn freshness(&self, flags: Flags, bytes: &[u8]) -> Freshness {
        Freshness {
            received: self.received(),
            initial_age: self.initial_age.get(),
            lifetime: self.lifetime(flags),
            stale: staleness(flags, bytes),
            immutable: flags.has(Flags::IS_IMMUTABLE),
        }
    }

    /// Returns the age (RFC 9111 §4.2.3), like [`Freshness::age`].
    #[inline]
    pub(super) fn age(&self, now: Moment) -> Duration {
        let monotonic = PackedDuration::new(now.monotonic()).0;
        let monotonic = monotonic.saturating_sub(self.monotonic.0);
        let wall = pack_wall(now.wall()).0.saturating_sub(self.wall.0);
        let age = self.initial_age.0.saturating_add(monotonic.max(wall));
        PackedDuration(age).get()
    }

    #[inline]
    fn received(&self) -> Moment {
        Moment::new(self.monotonic.get(), unpack_wall(self.wall))
    }
}

/// Packs a reading of the wall clock. One that is off by 292 years is cut.
#[inline]
fn pack_wall(wall: SystemTime) -> PackedDuration {
    PackedDuration(match wall.duration_since(UNIX_EPOCH) {
        Ok(since) => WALL_1970.saturating_add(PackedDuration::new(since).0),
        Err(before) => WALL_1970.saturating_sub(PackedDuration::new(before.duration()).0),
    })
}

fn unpack_wall(wall: PackedDuration) -> SystemTime {
    let since = Duration::from_nanos(wall.0.abs_diff(WALL_1970));
    let wall = match wall.0 < WALL_1970 {
        true => UNIX_EPOCH.checked_sub(since),
        false => UNIX_EPOCH.checked_add(since),
    };
    wall.unwrap_or(UNIX_EPOCH)
}

/// Reads the windows.
#[inline]
fn staleness(flags: Flags, bytes: &[u8]) -> Staleness {
    let mut stale = Staleness {
        is_forbidden: flags.has(Flags::IS_STALE_FORBIDDEN),
        ..Staleness::default()
    };
    if flags.window_bytes() == 0 {
        return stale;
    }
    let mut saved = bytes.as_chunks().0.iter();
    let mut next = |index| match flags.has_window(index) {
        true => saved.next().map_or(Duration::ZERO, |bits| {
            PackedDuration::from_bits(u64::from_le_bytes(*bits)).get()
        }),
        false => Duration::ZERO,
    };
    stale.while_revalidate = next(0);
    stale.if_error = next(1);
    stale.if_unreachable = next(2);
    stale.validation = next(3);
    stale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_to_the_nanosecond() {
        let second = Duration::from_secs(1);
        for duration in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_nanos(999_999_999),
            Duration::new(86_400 * 365 * 100, 123_456_789),
            Duration::from_secs(TOO_LONG - 1),
            Duration::MAX,
        ] {
            assert_eq!(PackedDuration::new(duration).get(), duration);
        }
        let too_long = Duration::from_secs(TOO_LONG);
        assert_eq!(PackedDuration::new(too_long).get(), Duration::MAX);
        for wall in [
            UNIX_EPOCH,
            UNIX_EPOCH - second * 1000,
            UNIX_EPOCH + Duration::new(1_790_000_000, 1),
        ] {
            let (first, other) = (Duration::from_nanos(1), Duration::from_secs(7));
            let freshness = Freshness {
                received: Moment::new(Duration::new(9, 9), wall),
                initial_age: Duration::from_millis(3),
                lifetime: Some(second),
                stale: Staleness {
                    while_revalidate: first,
                    if_error: Duration::ZERO,
                    if_unreachable: Duration::MAX,
                    validation: other,
                    is_forbidden: true,
                },
                immutable: true,
            };
            let mut bytes = Vec::new();
            put_windows(&mut bytes, &freshness.stale);
            let flags = Flags::new(&freshness);
            assert_eq!(flags.window_bytes(), bytes.len());
            let times = PackedTimes::new(&freshness);
            assert_eq!(times.freshness(flags, &bytes), freshness);
            for (monotonic, step) in [(9, 0), (10, 5), (3, 1), (20, 3)] {
                let now = Moment::new(Duration::new(monotonic, 9), wall + second * step);
                assert_eq!(times.age(now), freshness.age(now));
            }
        }
    }
}
