//! The server's clock, by which all who share it tell how old something is.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How far it may step back before what it has kept counts as of unknown age.
const TOLERANCE: u64 = 1000;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the first reading, counted from 1.
pub(super) fn millis(at: Instant) -> u64 {
    at.saturating_duration_since(*START).as_millis() as u64 + 1
}

/// That clock less ours, in milliseconds: no less than this, and no more than that.
#[derive(Debug)]
pub(super) struct ServerClock {
    least: AtomicI64,
    most: AtomicI64,
}

impl ServerClock {
    /// It said `clock` at some moment between the two, in [`millis`] of ours.
    pub(super) fn new(clock: u64, asked: u64, answered: u64) -> Self {
        Self {
            least: AtomicI64::new(less(clock, answered)),
            most: AtomicI64::new(less(clock, asked)),
        }
    }

    /// The same, later.
    pub(super) fn set(&self, clock: u64, asked: u64, answered: u64) {
        self.least.store(less(clock, answered), Ordering::Relaxed);
        self.most.store(less(clock, asked), Ordering::Relaxed);
    }

    /// What it says, in milliseconds since 1970, for what is written: never ahead of it, or that would be taken for younger
    /// than it is.
    pub(super) fn stamp(&self) -> u64 {
        at(self.least.load(Ordering::Relaxed))
    }

    /// How long ago it said `stamp`, at most; `None` if it must have been set since.
    pub(super) fn since(&self, stamp: u64) -> Option<Duration> {
        let now = at(self.most.load(Ordering::Relaxed));
        (stamp <= now.saturating_add(TOLERANCE))
            .then(|| Duration::from_millis(now.saturating_sub(stamp)))
    }
}

fn less(clock: u64, ours: u64) -> i64 {
    let difference = i128::from(clock) - i128::from(ours);
    i64::try_from(difference).unwrap_or(i64::MAX)
}

/// What a clock that is ahead of ours by so much says now.
fn at(offset: i64) -> u64 {
    millis(Instant::now()).saturating_add_signed(offset)
}
