//! The batches in flight, and how many bytes of replies they may have together.
//!
//! A network carries a certain number of bytes in a round trip. Fewer in flight would leave it idle:
//! lookups would wait here for longer than they have time. More would wait on the way, and small
//! replies behind them. So the limit is learned, as a TCP connection learns its window from delays:
//! it grows while it is used and replies take hardly longer than a round trip, and shrinks when they
//! do. It is never less than what any network carries in the time of a lookup.
//!
//! Knows no lookups. Start with [`ReplyWindow::has_room`].

use std::time::Duration;

use tokio::time::Instant;

/// The bytes that may be in flight at first, and at least, for each connection.
const MIN_BYTES: usize = 128 * 1024;
/// The bytes that may be in flight at most, for each connection.
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// The number of batches that may be in flight, for each connection. One leaves in a millisecond, so
/// that it bounds no round trip that a lookup has time for.
const MAX_BATCHES: usize = 64;
/// With this many bytes in flight, a reply takes as long as a round trip over an idle network.
const FEW_BYTES: usize = 32 * 1024;
/// How much longer than a round trip a reply may take at least before it is late.
const MIN_DELAY: Duration = Duration::from_millis(10);

/// What is in flight, and how much may be.
#[derive(Debug)]
pub(super) struct ReplyWindow {
    connections: usize,
    batches: usize,
    /// The bytes that are expected in reply to the batches in flight.
    bytes: usize,
    max_bytes: usize,
    /// How long a reply takes over the idle network, once it is known.
    round_trip: Option<Duration>,
    /// When the limit was lowered for the last time, because a reply was late.
    was_late_at: Option<Instant>,
    /// Whether the last reply was late: the round trip may have become longer.
    is_late: bool,
}

/// A batch in flight.
#[derive(Debug)]
pub(super) struct SentBatch {
    bytes: usize,
    /// When it was sent, if its time is to be learned from.
    sent: Option<Instant>,
    /// Whether hardly anything else was in flight then.
    is_alone: bool,
}

impl ReplyWindow {
    pub(super) fn new(connections: usize) -> Self {
        Self {
            connections,
            batches: 0,
            bytes: 0,
            max_bytes: connections * MIN_BYTES,
            round_trip: None,
            was_late_at: None,
            is_late: false,
        }
    }

    /// Returns whether a connection has no batch in flight: then the next one is sent at once.
    pub(super) fn has_idle_connection(&self) -> bool {
        self.batches < self.connections
    }

    /// Returns whether one more batch may be in flight.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.batches < self.connections * MAX_BATCHES && self.bytes + bytes <= self.max_bytes
    }

    /// Adds a batch that is about to be sent: until then, no other one has its place.
    pub(super) fn reserve(&mut self, bytes: usize) -> SentBatch {
        self.batches += 1;
        self.bytes += bytes;
        SentBatch {
            bytes,
            sent: None,
            is_alone: false,
        }
    }

    /// Adds a batch. `sent` is the time, if it is known. It is not where a connection was idle, and
    /// then a clock is read only if the round trip is in doubt, or the batch shows whether more may
    /// be in flight.
    pub(super) fn begin(&mut self, bytes: usize, sent: Option<Instant>) -> SentBatch {
        self.batches += 1;
        self.bytes += bytes;
        let is_alone = self.bytes <= FEW_BYTES;
        let is_in_doubt = is_alone && (self.round_trip.is_none() || self.is_late);
        SentBatch {
            bytes,
            sent: sent.or_else(|| (is_in_doubt || self.is_used()).then(Instant::now)),
            is_alone,
        }
    }

    /// Whether more than half of the bytes that may be in flight are.
    fn is_used(&self) -> bool {
        self.bytes > self.max_bytes / 2
    }

    /// Removes a batch, and learns from it.
    pub(super) fn end(&mut self, batch: &SentBatch, is_answered: bool) {
        let is_used = self.is_used();
        self.batches -= 1;
        self.bytes -= batch.bytes;
        let Some(sent) = batch.sent else { return };
        let now = Instant::now();
        let took = now.saturating_duration_since(sent);
        if let Some(round_trip) = self.round_trip {
            let delay = took.saturating_sub(round_trip);
            self.is_late = delay > MIN_DELAY.max(round_trip / 4);
            if self.is_late {
                self.shrink(sent, now);
            } else if is_used && is_answered {
                self.grow(batch.bytes);
            }
        }
        if is_answered {
            self.learn_round_trip(took, batch.is_alone);
        }
    }

    /// Once for all batches that were in flight at the same time.
    fn shrink(&mut self, sent: Instant, now: Instant) {
        if self.was_late_at.is_none_or(|at| sent >= at) {
            let least = self.connections * MIN_BYTES;
            self.max_bytes = (self.max_bytes - self.max_bytes / 4).max(least);
            self.was_late_at = Some(now);
        }
    }

    /// Twice as much after each round trip; slower once it has been too much.
    fn grow(&mut self, bytes: usize) {
        let more = match self.was_late_at {
            None => bytes,
            Some(_) => bytes / 4,
        };
        self.max_bytes = (self.max_bytes + more).min(self.connections * MAX_BYTES);
    }

    /// A shorter one is known at once. A longer one is, too, after a few replies that nothing of
    /// ours can have delayed.
    fn learn_round_trip(&mut self, took: Duration, is_alone: bool) {
        self.round_trip = match self.round_trip {
            Some(known) if took > known && is_alone => Some(known + (took - known) / 2),
            Some(known) => Some(known.min(took)),
            None => is_alone.then_some(took),
        };
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> (usize, usize) {
        (self.batches, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::time::advance;

    use super::*;

    const KIB: usize = 1024;

    /// Sends so many batches at the same time over a network with this round trip that carries so
    /// many bytes in a millisecond, as far as there is room. Returns how many were sent.
    async fn burst(
        window: &mut ReplyWindow,
        (batches, bytes): (usize, usize),
        round_trip: u64,
        rate: usize,
    ) -> usize {
        let mut sent = Vec::new();
        for _ in 0..batches {
            if window.has_room(bytes) {
                sent.push(window.begin(bytes, Some(Instant::now())));
            }
        }
        advance(Duration::from_millis(round_trip)).await;
        for batch in &sent {
            advance(Duration::from_micros((bytes * 1000 / rate) as u64)).await;
            window.end(batch, true);
        }
        assert_eq!(window.in_flight(), (0, 0));
        sent.len()
    }

    /// 100 Mbit/s and 1 Gbit/s, in bytes for each millisecond.
    const SLOW: usize = 12_500;
    const FAST: usize = 125_000;

    /// Promise: what a network carries in a round trip may be in flight.
    #[tokio::test(start_paused = true)]
    async fn it_grows_over_a_fast_network_that_is_far_away() {
        let mut window = ReplyWindow::new(2);
        let mut sent = Vec::new();
        for _ in 0..8 {
            sent.push(burst(&mut window, (100, 30_000), 40, FAST).await);
        }
        assert_eq!(sent[0], 8);
        assert!(sent.is_sorted(), "{sent:?}");
        // 37 of them take 9 ms.
        assert!((38..60).contains(&sent[7]), "{sent:?}");
    }

    /// Promise: a burst takes no longer than a lookup has time, however often it comes.
    #[tokio::test(start_paused = true)]
    async fn it_stays_small_over_a_slow_network() {
        let mut window = ReplyWindow::new(2);
        for _ in 0..100 {
            burst(&mut window, (1, 500), 5, SLOW).await;
            let sent = burst(&mut window, (100, 30_000), 5, SLOW).await;
            // 10 of them take 24 ms.
            assert!((8..=10).contains(&sent), "{sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_shrinks_when_a_network_becomes_slow() {
        let mut window = ReplyWindow::new(2);
        for _ in 0..8 {
            burst(&mut window, (100, 30_000), 40, FAST).await;
        }
        for _ in 0..8 {
            burst(&mut window, (100, 30_000), 40, SLOW / 2).await;
        }
        assert_eq!(burst(&mut window, (100, 30_000), 40, SLOW / 2).await, 8);
    }

    /// Although each of them finds a connection idle, and nobody knows when it is sent.
    #[tokio::test(start_paused = true)]
    async fn it_grows_again_under_batches_that_fill_it() {
        let mut window = ReplyWindow::new(2);
        burst(&mut window, (1, 500), 40, FAST).await;
        for _ in 0..8 {
            burst(&mut window, (100, 30_000), 40, SLOW / 2).await;
        }
        let mut in_flight = VecDeque::from([(); 2].map(|()| window.begin(120 * KIB, None)));
        for _ in 0..200 {
            advance(Duration::from_millis(20)).await;
            let batch = in_flight.pop_front().expect("two are");
            window.end(&batch, true);
            in_flight.push_back(window.begin(120 * KIB, None));
        }
        assert!(window.has_room(256 * KIB), "{}", window.max_bytes);
    }

    /// Small replies are no reason: a window that is hardly used says nothing of the network.
    #[tokio::test(start_paused = true)]
    async fn it_grows_no_further_than_it_is_used() {
        let mut window = ReplyWindow::new(2);
        for _ in 0..100 {
            assert_eq!(burst(&mut window, (100, 1000), 40, FAST).await, 100);
        }
        assert!(window.has_room(256 * KIB) && !window.has_room(257 * KIB));
    }

    /// A server that moves further away, as after a failover, is late at first only.
    #[tokio::test(start_paused = true)]
    async fn a_longer_round_trip_is_learned() {
        let mut window = ReplyWindow::new(2);
        burst(&mut window, (1, 500), 5, FAST).await;
        for _ in 0..8 {
            assert_eq!(burst(&mut window, (100, 40_000), 40, FAST).await, 6);
        }
        // Sent over an idle connection, when no clock is needed otherwise.
        for _ in 0..3 {
            let batch = window.begin(500, None);
            advance(Duration::from_millis(40)).await;
            window.end(&batch, true);
        }
        for _ in 0..16 {
            burst(&mut window, (100, 40_000), 40, FAST).await;
        }
        assert!(burst(&mut window, (100, 40_000), 40, FAST).await >= 10);
    }

    /// The first reply of all is one to a batch that finds a connection idle.
    #[tokio::test(start_paused = true)]
    async fn the_round_trip_is_learned_from_a_batch_that_is_alone() {
        let mut window = ReplyWindow::new(2);
        let batches = [30_000, 30_000].map(|bytes| window.begin(bytes, None));
        // The second one is not alone: a reply after 10 ms would tell nothing.
        for batch in &batches {
            advance(Duration::from_millis(5)).await;
            window.end(batch, true);
            assert_eq!(window.round_trip, Some(Duration::from_millis(5)));
        }
        assert!(window.begin(500, None).sent.is_none());
    }

    /// What was not sent, because no connection was open, took no time.
    #[tokio::test(start_paused = true)]
    async fn failures_teach_no_round_trip() {
        let mut window = ReplyWindow::new(1);
        let batch = window.begin(500, Some(Instant::now()));
        window.end(&batch, false);
        assert_eq!(window.round_trip, None);
    }
}
