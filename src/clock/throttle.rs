//! Throttles log lines that a client could cause by the thousand.
//!
//! Does not know the lines. Start at [`Throttle::admit`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Admits one log line per second.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// The second of the last admitted line, counted from 1; 0 before the first.
    last: AtomicU64,
    /// Lines refused since then.
    suppressed: AtomicU64,
}

impl Throttle {
    /// A throttle that admits the next line.
    #[cfg(feature = "proxy")]
    pub(crate) const fn new() -> Self {
        Self {
            last: AtomicU64::new(0),
            suppressed: AtomicU64::new(0),
        }
    }

    /// The number of lines suppressed since the last one, if another may be written now, by a
    /// monotonic clock.
    pub(crate) fn admit(&self, now: Duration) -> Option<u64> {
        let second = now.as_secs() + 1;
        let last = self.last.load(Ordering::Relaxed);
        let is_first = last != second
            && self
                .last
                .compare_exchange(last, second, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if is_first {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_says_how_many_were_suppressed() {
        let throttle = Throttle::default();
        let at = Duration::from_millis;
        let admitted = [0, 10, 999, 1000, 1001, 5000].map(|millis| throttle.admit(at(millis)));
        assert_eq!(admitted, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
