//! The pace of a client: the bytes it moves, and the time for which the proxy waits for it.
//!
//! ```text
//!  fast --waited for 100 ms within one piece of 64 KiB--> slow --a piece within 1 s--> fast
//!                                                          |
//!            less than the lowest rate within its window   '--> too slow: it is ended
//! ```
//!
//! Time in which the upstream is waited for does not count.

use std::time::Duration;

use tokio::time::Instant;

/// A client that is waited for longer than this within one piece is slow.
const SLOW_AFTER: Duration = Duration::from_millis(100);
/// A slow client that is waited for less than this within one piece is fast again.
const FAST_WITHIN: Duration = Duration::from_secs(1);
/// The size of a piece, in bytes. A client that moves a byte now and then stays slow.
const PIECE: u64 = 64 * 1024;

/// Later than any pause lasts.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// The lowest rate at which a client may move content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct LowestRate {
    /// In bytes per second; 0 for none.
    pub(in crate::proxy) rate: u64,
    /// The time over which it is averaged.
    pub(in crate::proxy) window: Duration,
}

impl LowestRate {
    pub(in crate::proxy) const DEFAULT: Self = Self {
        rate: 512,
        window: Duration::from_secs(60),
    };

    /// The content that a window must have, in bytes.
    fn per_window(self) -> u64 {
        let bytes = u128::from(self.rate) * self.window.as_millis() / 1000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// What a client's pace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fast,
    Slow,
    TooSlow,
}

/// Measures the pace of one client in one body.
#[derive(Debug)]
pub(super) struct ClientPace {
    lowest: LowestRate,
    /// When the client's pause began; `None` while something else is waited for.
    pauses_since: Option<Instant>,
    /// The part of the pause before this moment is counted.
    counted_to: Instant,
    is_slow: bool,
    piece: PaceSpan,
    window: PaceSpan,
}

/// What has happened since a piece, or a window, began.
#[derive(Debug, Default)]
struct PaceSpan {
    waited: Duration,
    moved: u64,
}

impl ClientPace {
    pub(super) fn new(mut lowest: LowestRate) -> Self {
        if lowest.window.is_zero() {
            lowest.rate = 0;
        }
        Self {
            lowest,
            pauses_since: None,
            counted_to: Instant::now(),
            is_slow: false,
            piece: PaceSpan::default(),
            window: PaceSpan::default(),
        }
    }

    /// The client is waited for from now on, unless it is already.
    pub(super) fn begin_wait(&mut self) {
        if self.pauses_since.is_none() {
            let now = Instant::now();
            (self.pauses_since, self.counted_to) = (Some(now), now);
        }
    }

    /// The client is waited for no longer.
    pub(super) fn end_wait(&mut self) {
        if self.pauses_since.is_some() {
            self.count_wait(Instant::now());
            self.pauses_since = None;
        }
    }

    fn count_wait(&mut self, now: Instant) {
        let waited = now.saturating_duration_since(self.counted_to);
        self.piece.waited += waited;
        self.window.waited += waited;
        self.counted_to = now;
    }

    /// When the client's pause began; `None` if there is none.
    pub(super) fn pauses_since(&self) -> Option<Instant> {
        self.pauses_since
    }

    /// So many bytes were moved. Returns whether a slow client has become a fast one.
    pub(super) fn moved(&mut self, bytes: usize) -> bool {
        self.piece.moved += bytes as u64;
        self.window.moved += bytes as u64;
        if self.piece.moved < PIECE {
            return false;
        }
        let is_in_time = self.piece.waited < FAST_WITHIN;
        self.piece = PaceSpan::default();
        is_in_time && std::mem::take(&mut self.is_slow)
    }

    /// The verdict, and when it changes if the pause goes on.
    pub(super) fn check(&mut self) -> (Verdict, Instant) {
        let now = Instant::now();
        if self.pauses_since.is_some() {
            self.count_wait(now);
        }
        if self.lowest.rate > 0 && self.window.waited >= self.lowest.window {
            if self.window.moved < self.lowest.per_window() {
                return (Verdict::TooSlow, now);
            }
            self.window = PaceSpan::default();
        }
        self.is_slow |= self.piece.waited >= SLOW_AFTER;
        let in_window = match self.lowest.rate {
            0 => FAR,
            _ => self.lowest.window.saturating_sub(self.window.waited),
        };
        match self.is_slow {
            true => (Verdict::Slow, now + in_window),
            false => {
                let in_piece = SLOW_AFTER.saturating_sub(self.piece.waited);
                (Verdict::Fast, now + in_piece.min(in_window))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The verdicts while `bytes` are moved after each wait of `wait`, for `count` times.
    async fn verdicts(
        pace: &mut ClientPace,
        wait: Duration,
        bytes: usize,
        count: usize,
    ) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for _ in 0..count {
            pace.begin_wait();
            advance(wait).await;
            verdicts.push(pace.check().0);
            pace.end_wait();
            pace.moved(bytes);
        }
        verdicts
    }

    fn pace(rate: u64) -> ClientPace {
        let window = SECOND * 10;
        ClientPace::new(LowestRate { rate, window })
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_slow_when_its_waits_add_up() {
        let wait = Duration::from_millis(20);
        let fast = verdicts(&mut pace(0), wait, 16 * 1024, 100).await;
        assert!(fast.iter().all(|verdict| *verdict == Verdict::Fast));
        let trickle = verdicts(&mut pace(0), wait, 1024, 100).await;
        let fast = trickle.iter().position(|verdict| *verdict == Verdict::Slow);
        assert_eq!(fast, Some(4));
        assert!(trickle[4..].iter().all(|verdict| *verdict == Verdict::Slow));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_fast_again_after_a_piece_in_time() {
        let mut pace = pace(0);
        verdicts(&mut pace, SLOW_AFTER, 0, 1).await;
        assert!(pace.moved(64 * 1024));
        assert!(!pace.is_slow);
        verdicts(&mut pace, FAST_WITHIN, 0, 1).await;
        assert!(!pace.moved(64 * 1024));
        assert!(pace.is_slow);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_below_the_lowest_rate_is_too_slow() {
        let below = verdicts(&mut pace(100), SECOND, 99, 30).await;
        let too_slow = below
            .iter()
            .position(|verdict| *verdict == Verdict::TooSlow);
        assert_eq!(too_slow, Some(9));
        let above = verdicts(&mut pace(100), SECOND, 120, 100).await;
        assert!(!above.contains(&Verdict::TooSlow));
        let no_rate = verdicts(&mut pace(0), SECOND, 0, 1000).await;
        assert!(!no_rate.contains(&Verdict::TooSlow));
        // A fast beginning is no excuse.
        let mut pace = pace(100);
        pace.moved(1 << 30);
        let later = verdicts(&mut pace, SECOND, 1, 30).await;
        assert!(later.contains(&Verdict::TooSlow));
    }
}
