//! Resources and groups of which nothing is stored for a while, after a write of unknown outcome:
//! it may commit late.
//!
//! The periods of the last [`MAX_EXACT`] targets are kept one by one, also those that have ended:
//! a response may be judged by the period in which its request began. If more begin, the oldest
//! moves to a filter of fixed size, which may cover other targets as well. So a period never ends
//! early, and memory is bounded, whatever clients do. A client can stop stores of others only by
//! causing failing writes to ten thousands of resources within one period.

use std::collections::{HashMap, VecDeque};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::backend::{Group, InvalidationTarget};
use crate::key::Resource;
use crate::semantics::moment::Moment;
use crate::sync::{AtomicU64, Mutex, MutexGuard};

#[cfg(all(test, trc_loom))]
mod model;

/// The targets whose periods are kept exactly: 1.3 MiB. Few under loom, so that some move on.
const MAX_EXACT: usize = if cfg!(trc_loom) { 2 } else { 16_384 };

/// The periods after all writes of unknown outcome.
#[derive(Default)]
pub(crate) struct WriteGrace {
    /// The latest end of any period, in milliseconds of the monotonic clock. After it, no lookup
    /// takes the lock.
    latest_end: AtomicU64,
    periods: Mutex<Periods>,
}

/// The ends of periods, in milliseconds of the monotonic clock.
#[derive(Default)]
struct Periods {
    /// By the digest of the target.
    ends: HashMap<u128, u64>,
    /// The digests in `ends`, those first that were added first.
    order: VecDeque<u128>,
    coarse: CoarseEnds,
    /// The end of the period of all resources and groups.
    everything: u64,
}

impl WriteGrace {
    fn periods(&self) -> MutexGuard<'_, Periods> {
        // No code under this lock panics between two steps that belong together.
        self.periods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses stores of fills that begin before `now + grace`; of all resources and groups if
    /// there is no target.
    ///
    /// Must be called before the invalidation it goes with: a fill that then finds no grace holds
    /// a fence from before that invalidation.
    pub(crate) fn begin(&self, target: Option<&InvalidationTarget>, now: Moment, grace: Duration) {
        let until = millis_up(now.monotonic().saturating_add(grace));
        let mut periods = self.periods();
        match target {
            Some(InvalidationTarget::Resource(resource)) => {
                periods.begin(resource.digest(), until);
            }
            Some(InvalidationTarget::Group(group)) => {
                periods.begin(group.digest(), until);
            }
            None => periods.everything = periods.everything.max(until),
        }
        self.latest_end.fetch_max(until, Ordering::AcqRel);
    }

    /// Whether a fill of this resource that begins `now` may not be stored. Must be asked after the
    /// fill's fence was captured.
    pub(crate) fn covers_resource(&self, resource: &Resource, now: Moment) -> bool {
        self.covers(resource.digest(), now)
    }

    /// Whether a fill that began at `now`, and turned out to be in this group, may not be stored.
    pub(crate) fn covers_group(&self, group: &Group, now: Moment) -> bool {
        self.covers(group.digest(), now)
    }

    /// Whether the grace period of a digest has not ended by `now`.
    fn covers(&self, digest: u128, now: Moment) -> bool {
        let now = millis(now.monotonic());
        now < self.latest_end.load(Ordering::Acquire) && now < self.periods().end(digest)
    }
}

impl Periods {
    fn begin(&mut self, digest: u128, until: u64) {
        if let Some(end) = self.ends.get_mut(&digest) {
            *end = until.max(*end);
            return;
        }
        if self.order.len() >= MAX_EXACT
            && let Some(oldest) = self.order.pop_front()
            && let Some(end) = self.ends.remove(&oldest)
        {
            self.coarse.add(oldest, end);
        }
        self.order.push_back(digest);
        self.ends.insert(digest, until);
    }

    fn end(&self, digest: u128) -> u64 {
        let exact = self.ends.get(&digest).copied().unwrap_or(0);
        exact.max(self.everything).max(self.coarse.end(digest))
    }
}

/// The latest ends of many periods in a filter of fixed size.
///
/// A digest has two cells, and its end is the earlier of their ends. With 50,000 periods at once,
/// one target in ten without a period of its own is covered.
#[derive(Default)]
struct CoarseEnds(Option<Box<[u32]>>);

impl CoarseEnds {
    /// 1 MiB, allocated when it is first needed. Little under loom, which makes it very often.
    const CELLS: usize = if cfg!(trc_loom) { 16 } else { 1 << 18 };

    fn cells(digest: u128) -> [usize; 2] {
        // Other bits than a backend's stripes are likely to use.
        [64, 96].map(|shift| (digest >> shift) as usize % Self::CELLS)
    }

    fn add(&mut self, digest: u128, end: u64) {
        let end = u32::try_from(end.div_ceil(1000)).unwrap_or(u32::MAX);
        let ends = self
            .0
            .get_or_insert_with(|| vec![0; Self::CELLS].into_boxed_slice());
        for cell in Self::cells(digest) {
            ends[cell] = ends[cell].max(end);
        }
    }

    fn end(&self, digest: u128) -> u64 {
        let Some(ends) = &self.0 else {
            return 0;
        };
        let [first, second] = Self::cells(digest).map(|cell| ends[cell]);
        match first.min(second) {
            u32::MAX => u64::MAX,
            seconds => u64::from(seconds) * 1000,
        }
    }
}

/// Rounded up: no period ends early.
fn millis_up(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    fn at(millis: u64) -> Moment {
        Moment::new(Duration::from_millis(millis), SystemTime::UNIX_EPOCH)
    }

    /// Digests as a keyed hash makes them: every bit depends on the number.
    fn group(number: u64) -> Group {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let half = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            (salt, number).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        Group::from_digest((half(1) << 64) | half(2))
    }

    fn begin(grace: &WriteGrace, number: u64, now: u64) {
        let target = InvalidationTarget::Group(group(number));
        grace.begin(Some(&target), at(now), GRACE);
    }

    /// Promise: what one client can cause is bounded, and no period ends early by it.
    #[test]
    fn a_full_table_ends_no_period_early_and_covers_few_others() {
        let grace = WriteGrace::default();
        let flood = 50_000;
        for number in 0..flood {
            begin(&grace, number, number / 50);
        }
        let covered = |numbers: std::ops::Range<u64>, now| {
            numbers
                .filter(|number| grace.covers_group(&group(*number), at(now)))
                .count()
        };
        assert_eq!(covered(0..flood, 4_999), 50_000);
        let others = covered(1_000_000..1_010_000, 4_999);
        assert!(others < 1_000, "{others} of 10000 others");
        assert_eq!(covered(0..flood, 7_000), 0, "all have ended");
        let periods = grace.periods();
        assert!(periods.ends.len() == periods.order.len() && periods.ends.len() <= MAX_EXACT);
    }

    /// Promise: repetition takes no memory, and extends the period.
    #[test]
    fn a_repeated_write_extends_its_period_alone() {
        let grace = WriteGrace::default();
        for round in 0..100_000 {
            begin(&grace, 1, round);
            begin(&grace, 2, 0);
        }
        assert_eq!(grace.periods().order.len(), 2);
        assert!(grace.covers_group(&group(1), at(104_998)));
        assert!(!grace.covers_group(&group(1), at(104_999)));
        assert!(!grace.covers_group(&group(2), at(5_000)));
    }

    /// Promise: no stale read. A fill whose group is known at its end is judged by its beginning.
    #[test]
    fn a_period_that_has_ended_is_not_forgotten() {
        let grace = WriteGrace::default();
        begin(&grace, 1, 0);
        for number in 10..100_000 {
            begin(&grace, number, 10_000 + number);
        }
        assert!(grace.covers_group(&group(1), at(4_999)));
        assert!(!grace.covers_group(&group(1), at(9_000)));
        assert!(grace.periods().order.len() <= MAX_EXACT);
    }

    #[test]
    fn a_fraction_of_a_millisecond_belongs_to_the_period() {
        let grace = WriteGrace::default();
        let in_micros = |micros| Moment::new(Duration::from_micros(micros), SystemTime::UNIX_EPOCH);
        let target = InvalidationTarget::Group(group(1));
        grace.begin(Some(&target), in_micros(900), GRACE);
        assert!(grace.covers_group(&group(1), in_micros(5_000_800)));
        assert!(!grace.covers_group(&group(1), in_micros(5_001_000)));
    }

    /// A write that names too many groups to be kept one by one.
    #[test]
    fn a_period_of_everything_covers_everything() {
        let grace = WriteGrace::default();
        grace.begin(None, at(0), GRACE);
        assert!(grace.covers_group(&group(7), at(4_999)));
        assert!(!grace.covers_group(&group(7), at(5_000)));
    }
}
