//! How long the readers of one body may hold up the others.

use std::time::Duration;

/// The bytes that readers have to read within the timeout while others wait for them: a window.
const AMOUNT: u64 = 256 * 1024;
/// The later readers that stop have this fraction of the timeout, and each one half of that before.
const LATER: u32 = 8;
/// The smallest fraction of the timeout that a reader has.
const LEAST: u32 = 32;

/// The time for which the source of a body waits for its readers.
///
/// Two clocks run while it waits. The timeout is for a window of bytes: at its end readers are
/// dropped that have not moved in its second half, or have not read the window. The other one is
/// for readers that stop one after the other, which are not to hold up the body for the whole
/// timeout each: after the first were dropped, those that read nothing at all are dropped after an
/// eighth of the timeout, then a sixteenth, down to a 32nd. It ends no reader that moves.
#[derive(Debug)]
pub(super) struct Patience {
    timeout: Duration,
    /// The time that the window has left.
    left: Duration,
    part: Part,
    /// The time that readers which stop have left, once some were dropped and a wait has begun.
    left_for_stopped: Option<Duration>,
    /// The bytes that have passed since `left` was full.
    passed: u64,
    /// How often readers were dropped.
    drops: u32,
}

/// The part of the time for a window that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    None,
    First,
    Second,
}

/// The clocks that begin, or are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clocks {
    /// That for a window, and with it the one for readers that stop.
    Window,
    /// That for readers that stop.
    Stall,
}

impl Patience {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            left: timeout,
            part: Part::None,
            left_for_stopped: None,
            passed: 0,
            drops: 0,
        }
    }

    /// Begins a wait. Returns the clocks that begin with it.
    pub(super) fn begin_wait(&mut self) -> Option<Clocks> {
        let is_first = self.part == Part::None;
        if is_first {
            self.part = Part::First;
        }
        let begins_stall = match self.time_for_stopped() {
            Some(time) => self
                .left_for_stopped
                .replace(self.left_for_stopped.unwrap_or(time))
                .is_none(),
            None if self.part == Part::First && self.left <= self.timeout / 2 => {
                self.part = Part::Second;
                true
            }
            None => false,
        };
        match (is_first, begins_stall) {
            (true, _) => Some(Clocks::Window),
            (false, true) => Some(Clocks::Stall),
            (false, false) => None,
        }
    }

    /// The time to wait until something is over, or begins.
    pub(super) fn left(&self) -> Duration {
        match (self.left_for_stopped, self.part) {
            (Some(stopped), _) => self.left.min(stopped),
            (None, Part::Second) => self.left,
            (None, Part::None | Part::First) => self.left.saturating_sub(self.timeout / 2),
        }
    }

    /// Notes that the source has waited. Returns the clocks that are over.
    pub(super) fn note_wait(&mut self, waited: Duration) -> Option<Clocks> {
        self.left = self.left.saturating_sub(waited);
        if let Some(left) = &mut self.left_for_stopped {
            *left = left.saturating_sub(waited);
        }
        match self.left_for_stopped {
            _ if self.left.is_zero() => Some(Clocks::Window),
            Some(Duration::ZERO) => Some(Clocks::Stall),
            _ => None,
        }
    }

    /// Notes bytes that readers have made room for: enough of them renew the time.
    pub(super) fn note_passed(&mut self, bytes: u64) {
        self.passed += bytes;
        if self.passed >= AMOUNT {
            self.renew();
        }
    }

    /// Notes that a time is over, and whether readers were dropped for it.
    pub(super) fn note_end(&mut self, over: Clocks, has_dropped: bool) {
        self.drops = self.drops.saturating_add(u32::from(has_dropped));
        match over {
            Clocks::Window => self.renew(),
            Clocks::Stall => self.left_for_stopped = None,
        }
    }

    /// The time that readers which stop have, once others were dropped.
    fn time_for_stopped(&self) -> Option<Duration> {
        let before = self.drops.checked_sub(1)?;
        let fraction = LATER.saturating_mul(1 << before.min(8));
        Some(self.timeout / fraction.min(LEAST))
    }

    fn renew(&mut self) {
        self.passed = 0;
        self.part = Part::None;
        self.left = self.timeout;
        self.left_for_stopped = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn readers_that_stop_one_after_the_other_have_less_and_less_time() {
        let mut patience = Patience::new(Duration::from_millis(6400));
        assert_eq!(patience.begin_wait(), Some(Clocks::Window));
        patience.note_wait(SECOND * 7);
        patience.note_end(Clocks::Window, true);
        let mut times = Vec::new();
        for _ in 0..5 {
            assert!(patience.begin_wait().is_some());
            times.push(patience.left().as_millis());
            assert_eq!(patience.note_wait(patience.left()), Some(Clocks::Stall));
            patience.note_end(Clocks::Stall, true);
        }
        assert_eq!(times, [800, 400, 200, 200, 200]);
    }

    #[test]
    fn readers_are_noted_once_in_each_half() {
        let mut patience = Patience::new(SECOND * 10);
        assert_eq!(patience.begin_wait(), Some(Clocks::Window));
        assert_eq!(patience.left(), SECOND * 5);
        assert_eq!(patience.note_wait(SECOND), None);
        assert_eq!(patience.begin_wait(), None);
        assert_eq!(patience.left(), SECOND * 4);
        assert_eq!(patience.note_wait(SECOND * 4), None);
        assert_eq!(patience.begin_wait(), Some(Clocks::Stall));
        assert_eq!(patience.left(), SECOND * 5);
        assert_eq!(patience.note_wait(SECOND * 5), Some(Clocks::Window));
    }

    /// The short times go on within the time for the window, and do not renew it.
    #[test]
    fn readers_that_move_have_the_whole_time() {
        let mut patience = Patience::new(SECOND * 8);
        patience.note_end(Clocks::Window, true);
        for second in 1..8 {
            assert!(patience.begin_wait().is_some(), "{second}");
            assert_eq!(patience.left(), SECOND);
            assert_eq!(patience.note_wait(SECOND), Some(Clocks::Stall));
            patience.note_end(Clocks::Stall, false);
        }
        patience.begin_wait();
        assert_eq!(patience.note_wait(SECOND), Some(Clocks::Window));
    }

    #[test]
    fn only_a_fair_amount_of_bytes_renews_the_time() {
        let mut patience = Patience::new(SECOND * 10);
        patience.note_wait(SECOND * 9);
        patience.note_passed(AMOUNT - 1);
        assert_eq!(patience.left, SECOND);
        patience.note_passed(1);
        assert_eq!(patience.left, SECOND * 10);
        assert_eq!(patience.note_wait(SECOND * 20), Some(Clocks::Window));
        patience.note_end(Clocks::Window, false);
        assert_eq!(patience.left, SECOND * 10, "no reader was waiting");
    }
}
