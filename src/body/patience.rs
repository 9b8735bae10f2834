//! How long the readers of one body may hold up the others.

use std::time::Duration;

/// The bytes that readers have to read within the timeout while others wait for them.
const AMOUNT: u64 = 256 * 1024;
/// The later readers that stop have this fraction of the timeout, and each one half of that before.
const LATER: u32 = 8;
/// The smallest fraction of the timeout that a reader has.
const LEAST: u32 = 32;

/// The time for which the source of a body waits for its readers.
///
/// It has two halves: readers that have not moved in the second one are dropped. Readers that stop
/// one after the other do not hold up the body for the whole timeout each: after the first were
/// dropped, the next ones have an eighth of it, then a sixteenth, down to a 32nd.
#[derive(Debug)]
pub(super) struct Patience {
    timeout: Duration,
    full: Duration,
    left: Duration,
    half: Half,
    /// The bytes that have passed since `left` was full.
    passed: u64,
    /// How often readers were dropped.
    drops: u32,
}

/// The half of the time that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Neither,
    First,
    Second,
}

impl Patience {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            full: timeout,
            left: timeout,
            half: Half::Neither,
            passed: 0,
            drops: 0,
        }
    }

    /// Begins a wait. Returns whether it is the first one in its half of the time.
    pub(super) fn begin_wait(&mut self) -> bool {
        let half = match self.left > self.full / 2 {
            true => Half::First,
            false => Half::Second,
        };
        std::mem::replace(&mut self.half, half) != half
    }

    /// The time to wait until this half is over.
    pub(super) fn left_in_half(&self) -> Duration {
        match self.half {
            Half::Second => self.left,
            Half::First | Half::Neither => self.left.saturating_sub(self.full / 2),
        }
    }

    /// Notes that the source has waited. Returns whether all of the time is over.
    pub(super) fn note_wait(&mut self, waited: Duration) -> bool {
        self.left = self.left.saturating_sub(waited);
        self.left.is_zero()
    }

    /// Notes bytes that readers have made room for: enough of them renew the time.
    pub(super) fn note_passed(&mut self, bytes: u64) {
        self.passed += bytes;
        if self.passed >= AMOUNT {
            self.renew();
        }
    }

    /// Notes that the time is over, and whether readers were dropped for it.
    pub(super) fn note_end(&mut self, has_dropped: bool) {
        self.drops = self.drops.saturating_add(u32::from(has_dropped));
        self.renew();
    }

    fn renew(&mut self) {
        self.passed = 0;
        self.half = Half::Neither;
        self.full = match self.drops {
            0 => self.timeout,
            drops => {
                let fraction = LATER.saturating_mul(1 << (drops - 1).min(8));
                self.timeout / fraction.min(LEAST)
            }
        };
        self.left = self.full;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_that_stop_one_after_the_other_have_less_and_less_time() {
        let mut patience = Patience::new(Duration::from_millis(6400));
        let mut times = Vec::new();
        for _ in 0..6 {
            times.push(patience.left.as_millis());
            patience.note_end(true);
        }
        assert_eq!(times, [6400, 800, 400, 200, 200, 200]);
    }

    #[test]
    fn readers_are_noted_once_in_each_half() {
        let second = Duration::from_secs(1);
        let mut patience = Patience::new(second * 10);
        assert!(patience.begin_wait());
        assert_eq!(patience.left_in_half(), second * 5);
        assert!(!patience.note_wait(second));
        assert!(!patience.begin_wait());
        assert_eq!(patience.left_in_half(), second * 4);
        assert!(!patience.note_wait(second * 4));
        assert!(patience.begin_wait());
        assert_eq!(patience.left_in_half(), second * 5);
        assert!(patience.note_wait(second * 5));
    }

    #[test]
    fn only_a_fair_amount_of_bytes_renews_the_time() {
        let second = Duration::from_secs(1);
        let mut patience = Patience::new(second * 10);
        patience.note_wait(second * 9);
        patience.note_passed(AMOUNT - 1);
        assert_eq!(patience.left, second);
        patience.note_passed(1);
        assert_eq!(patience.left, second * 10);
        assert!(patience.note_wait(second * 20));
        patience.note_end(false);
        assert_eq!(patience.left, second * 10, "no reader was waiting");
    }
}
