//! Detection of a connection on which no replies arrive any more.
//!
//! One late reply is no sign of a dead connection, since a large one may be in transit. No reply to
//! any command for `response_timeout` is one. Knows no connection. Start with [`ReplyMonitor`].

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::clocks::monotonic_millis;

/// A wait that is abandoned earlier than this says nothing about the server: its caller had little
/// time.
const MIN_TELLING_WAIT: Duration = Duration::from_millis(20);

/// When the last reply arrived, and since when replies are missing. Times are [`monotonic_millis`].
#[derive(Debug)]
pub(crate) struct ReplyMonitor {
    last_reply: AtomicU64,
    /// 0 if no reply is missing.
    silent_since: AtomicU64,
}

impl ReplyMonitor {
    /// Creates the monitor of a connection on which a reply has just arrived.
    pub(crate) fn new() -> Self {
        Self {
            last_reply: AtomicU64::new(monotonic_millis(Instant::now())),
            silent_since: AtomicU64::new(0),
        }
    }

    /// Registers the wait for one reply.
    pub(crate) fn start_waiting(&self) -> PendingReply<'_> {
        PendingReply {
            monitor: self,
            since: Instant::now(),
        }
    }

    /// Returns whether replies have been missing for at least `limit`.
    pub(crate) fn is_silent_for(&self, limit: Duration) -> bool {
        let since = self.silent_since.load(Ordering::Relaxed);
        let now = monotonic_millis(Instant::now());
        since != 0 && now.saturating_sub(since) >= limit.as_millis() as u64
    }
}

/// The wait for one reply. Dropping it before a reply arrived records the silence.
pub(crate) struct PendingReply<'m> {
    monitor: &'m ReplyMonitor,
    since: Instant,
}

impl PendingReply<'_> {
    /// Records the reply.
    pub(crate) fn received(self) {
        let now = monotonic_millis(Instant::now());
        self.monitor.last_reply.store(now, Ordering::Relaxed);
        self.monitor.silent_since.store(0, Ordering::Relaxed);
        mem::forget(self);
    }

    /// Returns whether no reply at all, to any command, has arrived during this wait.
    pub(crate) fn heard_nothing(&self) -> bool {
        self.monitor.last_reply.load(Ordering::Relaxed) < monotonic_millis(self.since)
    }
}

impl Drop for PendingReply<'_> {
    fn drop(&mut self) {
        if self.since.elapsed() >= MIN_TELLING_WAIT && self.heard_nothing() {
            let (silent, since) = (&self.monitor.silent_since, monotonic_millis(self.since));
            let _ = silent.compare_exchange(0, since, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}
