//! How many requests of a paced key may call at once: more, the longer requests wait.
//!
//! Knows durations alone. Start at [`PlaceLimit::after`].

use std::time::Duration;

/// The number of places of a paced key. It doubles again and again as long as requests wait, so
/// that each of them gets to call, and calls that hang cannot hold up others for ever.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlaceLimit {
    /// The number at first. 0 counts as 1.
    pub(crate) at_first: usize,
    /// The time after which the number doubles. With zero there is no limit.
    pub(crate) doubling_time: Duration,
}

impl PlaceLimit {
    /// The number of places after requests have waited for this long.
    pub(super) fn after(self, waited: Duration) -> usize {
        let doublings = waited.as_nanos().checked_div(self.doubling_time.as_nanos());
        let Some(doublings) = doublings else {
            return usize::MAX;
        };
        let factor = 2_usize.saturating_pow(u32::try_from(doublings).unwrap_or(u32::MAX));
        self.at_first.max(1).saturating_mul(factor)
    }

    /// The time until the number doubles next. It is never zero.
    pub(super) fn time_to_more(self, waited: Duration) -> Duration {
        let passed = waited.as_nanos().checked_rem(self.doubling_time.as_nanos());
        let passed = passed.and_then(|passed| {
            let nanos = u32::try_from(passed % 1_000_000_000).ok()?;
            let seconds = u64::try_from(passed / 1_000_000_000).ok()?;
            Some(Duration::new(seconds, nanos))
        });
        passed.map_or(Duration::MAX, |passed| {
            self.doubling_time.saturating_sub(passed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_double_after_each_whole_time() {
        let millis = Duration::from_millis;
        let limit = |at_first, doubling_time| PlaceLimit {
            at_first,
            doubling_time,
        };
        for (at_first, doubling_time, waited, places, time_to_more) in [
            (8, millis(1000), millis(0), 8, millis(1000)),
            (8, millis(1000), millis(999), 8, millis(1)),
            (8, millis(1000), millis(1000), 16, millis(1000)),
            (8, millis(1000), millis(5300), 256, millis(700)),
            (0, millis(1000), millis(1000), 2, millis(1000)),
            (8, millis(1), millis(1_000_000), usize::MAX, millis(1)),
            (
                usize::MAX,
                millis(1000),
                millis(0),
                usize::MAX,
                millis(1000),
            ),
            (8, Duration::MAX, millis(5), 8, Duration::MAX - millis(5)),
            (8, Duration::ZERO, millis(0), usize::MAX, Duration::MAX),
        ] {
            let limit = limit(at_first, doubling_time);
            let case = format!("{limit:?} after {waited:?}");
            assert_eq!(limit.after(waited), places, "{case}");
            assert_eq!(limit.time_to_more(waited), time_to_more, "{case}");
        }
    }
}
