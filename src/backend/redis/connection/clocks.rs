//! The server's clock, and two clocks of this machine.
//!
//! Instances compare the age of a stored response by the server's clock alone: the clocks of two
//! machines are never compared. Knows no connection. Start with [`ServerClock`].

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// How far the server's clock may step back before the age of stored entries counts as unknown, in
/// milliseconds.
const MAX_BACKWARD_STEP: u64 = 1000;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the milliseconds since the first call in this process, counted from 1.
///
/// 0 is free to mean "never".
pub(crate) fn monotonic_millis(at: Instant) -> u64 {
    at.saturating_duration_since(*START).as_millis() as u64 + 1
}

/// A point in time on the monotonic and on the wall clock.
///
/// The monotonic clock may stand still while the machine is suspended; the wall clock may be set
/// back. The larger of both differences is the safe one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SuspendAwareInstant {
    monotonic: Instant,
    wall: SystemTime,
}

impl SuspendAwareInstant {
    pub(crate) fn now() -> Self {
        Self {
            monotonic: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// Returns the time since `earlier`, including time in suspension.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        let monotonic = self.monotonic.saturating_duration_since(earlier.monotonic);
        wall.max(monotonic)
    }
}

/// When a connection was checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checks {
    /// When the last check that passed was sent: the server was the same primary then.
    pub(crate) passed: SuspendAwareInstant,
    /// When the last check was begun.
    pub(crate) begun: SuspendAwareInstant,
}

impl Checks {
    /// The state after a handshake that was sent at `sent`.
    pub(crate) fn new(sent: SuspendAwareInstant) -> Self {
        Self {
            passed: sent,
            begun: sent,
        }
    }
}

/// The difference between the server's clock and [`monotonic_millis`], as a lower and an upper
/// bound in milliseconds.
///
/// The server read its clock at an unknown moment between sending the command and receiving the
/// reply; hence two bounds.
#[derive(Debug)]
pub(crate) struct ServerClock {
    min_offset: AtomicI64,
    max_offset: AtomicI64,
}

impl ServerClock {
    /// Creates the clock from a reading of the server, between `sent` and `received` by
    /// [`monotonic_millis`].
    pub(crate) fn new(server_millis: u64, sent: u64, received: u64) -> Self {
        Self {
            min_offset: AtomicI64::new(offset(server_millis, received)),
            max_offset: AtomicI64::new(offset(server_millis, sent)),
        }
    }

    /// Adjusts the clock to a later reading of the server.
    pub(crate) fn update(&self, server_millis: u64, sent: u64, received: u64) {
        let (min, max) = (offset(server_millis, received), offset(server_millis, sent));
        self.min_offset.store(min, Ordering::Relaxed);
        self.max_offset.store(max, Ordering::Relaxed);
    }

    /// Returns the server's time in milliseconds since 1970, as a stamp for a new entry.
    ///
    /// It is never ahead of the server: an entry with a stamp in the future would count as younger
    /// than it is.
    pub(crate) fn stamp(&self) -> u64 {
        server_millis_now(self.min_offset.load(Ordering::Relaxed))
    }

    /// Returns the longest time that may have passed since `stamp`, or `None` if the server's clock
    /// has been set back since.
    pub(crate) fn max_age(&self, stamp: u64) -> Option<Duration> {
        let now = server_millis_now(self.max_offset.load(Ordering::Relaxed));
        (stamp <= now.saturating_add(MAX_BACKWARD_STEP))
            .then(|| Duration::from_millis(now.saturating_sub(stamp)))
    }
}

fn offset(server_millis: u64, local_millis: u64) -> i64 {
    let difference = i128::from(server_millis) - i128::from(local_millis);
    i64::try_from(difference).unwrap_or(i64::MAX)
}

fn server_millis_now(offset: i64) -> u64 {
    monotonic_millis(Instant::now()).saturating_add_signed(offset)
}
