//! The times of a stored response in few bytes.

use std::time::Duration;

use crate::semantics::freshness::{Freshness, Staleness};
use crate::semantics::moment::{Moment, from_nanos, to_nanos};

/// A duration as a number of nanoseconds. One of 584 years or more is `Duration::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedDuration(u64);

impl PackedDuration {
    /// Packs a duration.
    #[inline]
    pub(crate) fn new(duration: Duration) -> Self {
        Self(to_nanos(duration))
    }

    /// Returns the duration.
    #[inline]
    pub(crate) fn get(self) -> Duration {
        from_nanos(self.0)
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

/// A duration in 32 bits: in milliseconds up to 24 days, in seconds up to 68 years. Longer ones are
/// 68 years where they are rounded down, `Duration::MAX` where they are rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(u32);

impl Span {
    /// The number of bytes that one takes.
    const BYTES: usize = size_of::<u32>();
    /// Set in those that are in seconds.
    const SECONDS: u32 = 1 << 31;
    /// Stands for `Duration::MAX`.
    const ENDLESS: u32 = u32::MAX;

    /// Packs a duration, rounded down.
    pub(super) fn rounded_down(duration: Duration) -> Self {
        let milliseconds = duration.as_millis();
        if milliseconds < u128::from(Self::SECONDS) {
            return Self(milliseconds as u32);
        }
        match Self::in_seconds(duration.as_secs()) {
            None if duration == Duration::MAX => Self(Self::ENDLESS),
            None => Self(Self::ENDLESS - 1),
            Some(span) => span,
        }
    }

    /// Packs a duration, rounded up.
    pub(super) fn rounded_up(duration: Duration) -> Self {
        let part = Duration::from_nanos(999_999);
        let milliseconds = duration.saturating_add(part).as_millis();
        if milliseconds < u128::from(Self::SECONDS) {
            return Self(milliseconds as u32);
        }
        let part = u64::from(duration.subsec_nanos() > 0);
        Self::in_seconds(duration.as_secs().saturating_add(part)).unwrap_or(Self(Self::ENDLESS))
    }

    /// Packs a number of seconds, unless it is too large.
    fn in_seconds(seconds: u64) -> Option<Self> {
        let is_packed = seconds < u64::from(Self::ENDLESS - Self::SECONDS);
        is_packed.then_some(Self(seconds as u32 | Self::SECONDS))
    }

    /// Returns the duration.
    #[inline]
    pub(super) fn get(self) -> Duration {
        if self.0 < Self::SECONDS {
            return Duration::from_millis(self.0.into());
        }
        if self.0 == Self::ENDLESS {
            return Duration::MAX;
        }
        Duration::from_secs((self.0 - Self::SECONDS).into())
    }
}

/// When a response arrived, its age then, and its lifetime.
///
/// Age and lifetime are kept in milliseconds, the age rounded up and the lifetime down: a response
/// is never fresh for longer than it may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackedTimes {
    received: Moment,
    initial_age: Span,
    lifetime: Span,
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
        (self.0 >> Self::FIRST_WINDOW).count_ones() as usize * Span::BYTES
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

/// Writes the windows that are not zero, rounded down to milliseconds.
pub(super) fn put_windows(to: &mut Vec<u8>, stale: &Staleness) {
    for window in windows(stale)
        .into_iter()
        .filter(|window| !window.is_zero())
    {
        to.extend_from_slice(&Span::rounded_down(window).0.to_le_bytes());
    }
}

impl PackedTimes {
    pub(super) fn new(freshness: &Freshness) -> Self {
        Self {
            received: freshness.received,
            initial_age: Span::rounded_up(freshness.initial_age),
            lifetime: Span::rounded_down(freshness.lifetime.unwrap_or_default()),
        }
    }

    pub(super) fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = Span::rounded_down(lifetime);
    }

    /// Returns the lifetime, to be saved.
    pub(super) fn packed_lifetime(&self) -> PackedDuration {
        PackedDuration::new(self.lifetime.get())
    }

    #[inline]
    pub(super) fn lifetime(&self, flags: Flags) -> Option<Duration> {
        flags.has(Flags::HAS_LIFETIME).then(|| self.lifetime.get())
    }

    /// Returns the times. The bytes begin with the windows.
    #[inline]
    pub(super) fn freshness(&self, flags: Flags, bytes: &[u8]) -> Freshness {
        Freshness {
            received: self.received,
            initial_age: self.initial_age.get(),
            lifetime: self.lifetime(flags),
            stale: staleness(flags, bytes),
            immutable: flags.has(Flags::IS_IMMUTABLE),
        }
    }

    /// Returns the age (RFC 9111 §4.2.3), like [`Freshness::age`].
    #[inline]
    pub(super) fn age(&self, now: Moment) -> Duration {
        let since_received = now.since(self.received);
        self.initial_age.get().saturating_add(since_received)
    }
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
        true => saved
            .next()
            .map_or(Duration::ZERO, |bits| Span(u32::from_le_bytes(*bits)).get()),
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
    use std::time::UNIX_EPOCH;

    use super::*;

    /// A response is never fresh for longer than it may be.
    #[test]
    fn spans_are_rounded_to_the_safe_side() {
        let day = Duration::from_secs(86_400);
        for duration in [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_nanos(1_999_999),
            Duration::from_millis(7),
            day * 24,
            day * 25,
            day * 25 + Duration::from_nanos(1),
            day * 365 * 67,
            day * 365 * 70,
            Duration::MAX,
        ] {
            let (down, up) = (Span::rounded_down(duration), Span::rounded_up(duration));
            assert!(up.get() >= duration, "{duration:?}");
            assert!(down.get() <= duration, "{duration:?}");
            assert_eq!(Span::rounded_down(down.get()), down);
            assert_eq!(Span::rounded_up(up.get()), up);
            let step = Duration::from_millis(if duration < day * 24 { 1 } else { 1000 });
            if duration < day * 365 * 68 {
                assert!(up.get() - down.get() <= step, "{duration:?}");
            }
        }
    }

    #[test]
    fn times_are_those_that_were_packed() {
        let second = Duration::from_secs(1);
        for wall in [
            UNIX_EPOCH,
            UNIX_EPOCH - second * 1000,
            UNIX_EPOCH + Duration::new(1_790_000_000, 1),
        ] {
            let other = Duration::from_secs(7);
            let freshness = Freshness {
                received: Moment::new(Duration::new(9, 9), wall),
                initial_age: Duration::from_millis(3),
                lifetime: Some(second),
                stale: Staleness {
                    while_revalidate: Duration::from_millis(1),
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
