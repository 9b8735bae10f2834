//! The invalidations that the backend has not acknowledged.
//!
//! Every addition and every start of a delivery takes the next number of one sequence. A delivery
//! settles the additions before its start. A later addition may belong to a write that came after
//! the backend had handled the delivery.
//!
//! An invalidation that removes takes the place of one that makes stale, never the other way round;
//! only a delivery that removes settles it.
//!
//! Targets are delivered in the order of a queue. After a failed delivery its targets are the last
//! ones: a target that the backend refuses delays no other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::backend::{Group, InvalidationTarget};
use crate::key::Resource;
use crate::semantics::moment::Moment;

/// The invalidations still to be delivered. Beyond the limit, everything is to be cleared instead.
#[derive(Debug)]
pub(super) struct Undelivered {
    /// Whether there is anything to deliver. As long as there is not, no lookup takes the lock.
    has_any: AtomicBool,
    /// How often a group was added.
    groups_added: AtomicU64,
    /// How often a delivery settled something.
    settled: AtomicU64,
    pending: Mutex<PendingTargets>,
    limit: usize,
}

#[derive(Debug, Default)]
struct PendingTargets {
    /// The last number of the sequence.
    sequence: u64,
    /// The last addition of each target.
    targets: HashMap<InvalidationTarget, Addition>,
    /// The number of the last addition of `Everything`.
    everything: Option<u64>,
}

/// An invalidation that was not acknowledged.
#[derive(Clone, Copy, Debug)]
struct Addition {
    number: u64,
    /// The place in the queue: the number of the first addition or of the last failed delivery.
    queued: u64,
    mode: DeliveryMode,
}

/// The change that a delivery makes to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryMode {
    Remove {
        /// Until when nothing of the target may be stored, after a write that may still be
        /// committed.
        grace_until: Option<Instant>,
    },
    /// To make it stale, as of a moment.
    Expire {
        at: Moment,
        /// When that was.
        told: Instant,
    },
}

impl DeliveryMode {
    pub(super) const REMOVE: Self = Self::Remove { grace_until: None };

    /// Returns the change that makes a target stale, as of a moment a while ago.
    pub(super) fn expire(at: Moment, ago: Duration) -> Self {
        let now = Instant::now();
        let told = now.checked_sub(ago).unwrap_or(now);
        Self::Expire { at, told }
    }

    /// Returns the one change that does both.
    fn and(self, earlier: Self) -> Self {
        match (self, earlier) {
            (Self::Remove { grace_until: a }, Self::Remove { grace_until: b }) => Self::Remove {
                grace_until: a.max(b),
            },
            (Self::Expire { .. }, removal @ Self::Remove { .. }) => removal,
            (removal @ Self::Remove { .. }, Self::Expire { .. }) => removal,
            // Stale since the first one: a later one makes nothing last for longer.
            (Self::Expire { at, told }, Self::Expire { at: a, told: b }) => Self::Expire {
                at: at.or_earlier(a),
                told: told.min(b),
            },
        }
    }

    /// Whether nothing may be stored of the target now.
    fn has_period(self, now: Instant) -> bool {
        matches!(self, Self::Remove { grace_until } if grace_until > Some(now))
    }

    /// Whether two targets can be delivered together.
    fn is_like(self, other: Self, now: Instant) -> bool {
        let is_removal = |mode| matches!(mode, Self::Remove { .. });
        is_removal(self) == is_removal(other) && self.has_period(now) == other.has_period(now)
    }

    /// Whether a delivery in this mode settles a change that is due.
    fn covers(self, due: Self) -> bool {
        match (self, due) {
            (_, Self::Expire { .. }) => true,
            (Self::Remove { grace_until }, Self::Remove { grace_until: due }) => {
                grace_until >= due || due <= Some(Instant::now())
            }
            (Self::Expire { .. }, Self::Remove { .. }) => false,
        }
    }
}

impl Addition {
    /// Whether a delivery has settled it that started with the number `started`.
    fn is_settled(&self, started: u64, delivered: DeliveryMode) -> bool {
        self.number < started && delivered.covers(self.mode)
    }
}

/// The target of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryTarget {
    One(InvalidationTarget),
    Everything,
}

/// Targets that are delivered together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DeliveryBatch {
    Targets {
        targets: Vec<InvalidationTarget>,
        mode: DeliveryMode,
    },
    Everything,
}

impl DeliveryBatch {
    /// The number of targets.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Targets { targets, .. } => targets.len(),
            Self::Everything => 1,
        }
    }
}

/// The state of the deliveries at the start of a lookup.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeliverySnapshot {
    pub(super) groups_added: u64,
    settled: u64,
}

impl Undelivered {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            has_any: AtomicBool::new(false),
            groups_added: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            pending: Mutex::default(),
            limit,
        }
    }

    fn pending(&self) -> MutexGuard<'_, PendingTargets> {
        // No code under this lock panics between two steps that belong together.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has_any.load(Ordering::Acquire)
    }

    /// Whether the backend may hold responses of this resource that are older than an answered
    /// write.
    pub(super) fn has_resource(&self, resource: &Resource) -> bool {
        if self.is_empty() {
            return false;
        }
        let pending = self.pending();
        pending.everything.is_some()
            || pending
                .targets
                .contains_key(&InvalidationTarget::Resource(*resource))
    }

    /// Whether the backend may hold members of one of these groups that are older than an answered
    /// write.
    pub(super) fn has_group(&self, groups: &[Group]) -> bool {
        if groups.is_empty() || self.is_empty() {
            return false;
        }
        let pending = self.pending();
        let is_pending = |group: &Group| {
            pending
                .targets
                .contains_key(&InvalidationTarget::Group(*group))
        };
        pending.everything.is_some() || groups.iter().any(is_pending)
    }

    /// Captures the state at the start of a lookup.
    pub(super) fn snapshot(&self) -> DeliverySnapshot {
        // Acquire: a fill that starts now sees the writes whose groups are counted here.
        DeliverySnapshot {
            groups_added: self.groups_added.load(Ordering::Acquire),
            settled: self.settled.load(Ordering::Acquire),
        }
    }

    /// Whether a response that a lookup has found may be older than a write that was answered when
    /// the lookup started. An invalidation that was pending then, and is not any more, may have
    /// been delivered after the backend had read.
    pub(super) fn may_be_outdated(&self, groups: &[Group], start: DeliverySnapshot) -> bool {
        // In this order: a group that is no longer pending has been counted in `settled` before.
        !groups.is_empty()
            && (self.has_group(groups) || self.settled.load(Ordering::Acquire) != start.settled)
    }

    /// Starts a delivery; returns the number that [`settle`](Self::settle) takes.
    pub(super) fn start_delivery(&self) -> u64 {
        let mut pending = self.pending();
        pending.sequence += 1;
        pending.sequence
    }

    /// Adds an invalidation that was not acknowledged. All targets together are always removed.
    pub(super) fn add(&self, target: DeliveryTarget, mode: DeliveryMode) {
        let mut pending = self.pending();
        pending.sequence += 1;
        let number = pending.sequence;
        if let DeliveryTarget::One(InvalidationTarget::Group(_)) = target {
            self.groups_added.fetch_add(1, Ordering::AcqRel);
        }
        if pending.everything.is_some() || target == DeliveryTarget::Everything {
            pending.everything = Some(number);
        }
        if let DeliveryTarget::One(target) = target {
            pending.insert(target, number, mode);
        }
        if pending.everything.is_none() && pending.targets.len() > self.limit {
            pending.everything = Some(number);
            tracing::error!(
                limit = self.limit,
                "too many undelivered invalidations; will clear the backend"
            );
        }
        if pending.everything.is_some() {
            pending.keep_periods(self.limit);
        }
        self.has_any.store(true, Ordering::Release);
    }

    /// Settles the additions before the start of a delivery that the backend has acknowledged.
    /// Returns whether any are left.
    pub(super) fn settle(&self, target: DeliveryTarget, started: u64, mode: DeliveryMode) -> bool {
        let mut pending = self.pending();
        let before = (pending.everything, pending.targets.len());
        let is_settled = |addition: &Addition| addition.is_settled(started, mode);
        match target {
            DeliveryTarget::Everything => {
                let is_covered = mode.covers(DeliveryMode::REMOVE);
                let is_left = |number: &u64| *number >= started || !is_covered;
                pending.everything = pending.everything.filter(is_left);
                pending.targets.retain(|_, addition| !is_settled(addition));
            }
            DeliveryTarget::One(target) => {
                if pending.targets.get(&target).is_some_and(is_settled) {
                    pending.targets.remove(&target);
                }
            }
        }
        if before != (pending.everything, pending.targets.len()) {
            self.settled.fetch_add(1, Ordering::AcqRel);
        }
        let has_any = pending.everything.is_some() || !pending.targets.is_empty();
        self.has_any.store(has_any, Ordering::Release);
        has_any
    }

    /// The next targets to deliver together, at most `max` of them.
    pub(super) fn next(&self, max: usize) -> Option<DeliveryBatch> {
        let pending = self.pending();
        if pending.everything.is_some() {
            return Some(DeliveryBatch::Everything);
        }
        let now = Instant::now();
        let additions = pending.targets.values();
        let first = additions.min_by_key(|addition| addition.queued)?.mode;
        // Removals with a period go together, for the longest of their periods.
        let is_alike = |addition: &Addition| addition.mode.is_like(first, now);
        let alike = pending
            .targets
            .values()
            .filter(|addition| is_alike(addition));
        let last = nth_smallest(alike.map(|addition| addition.queued), max.max(1));
        let (mut targets, mut mode) = (Vec::new(), first);
        for (target, addition) in &pending.targets {
            if is_alike(addition) && addition.queued <= last {
                targets.push(*target);
                mode = mode.and(addition.mode);
            }
        }
        if !mode.has_period(now) && matches!(mode, DeliveryMode::Remove { .. }) {
            mode = DeliveryMode::REMOVE;
        }
        Some(DeliveryBatch::Targets { targets, mode })
    }

    /// Settles what a delivery has covered, as [`settle`](Self::settle).
    pub(super) fn settle_batch(&self, batch: &DeliveryBatch, started: u64) {
        match batch {
            DeliveryBatch::Everything => {
                self.settle(DeliveryTarget::Everything, started, DeliveryMode::REMOVE);
            }
            DeliveryBatch::Targets { targets, mode } => {
                for target in targets {
                    self.settle(DeliveryTarget::One(*target), started, *mode);
                }
            }
        }
    }

    /// Puts the targets of a failed delivery behind all others.
    pub(super) fn put_off(&self, batch: &DeliveryBatch) {
        let DeliveryBatch::Targets { targets, .. } = batch else {
            return;
        };
        let mut pending = self.pending();
        for target in targets {
            pending.sequence += 1;
            let queued = pending.sequence;
            if let Some(addition) = pending.targets.get_mut(target) {
                addition.queued = queued;
            }
        }
    }

    /// The number of resources and groups, and whether everything is to be cleared.
    pub(super) fn count(&self) -> (usize, bool) {
        let pending = self.pending();
        (pending.targets.len(), pending.everything.is_some())
    }
}

impl PendingTargets {
    /// Adds a target. A period in which nothing of it may be stored is kept until its end.
    fn insert(&mut self, target: InvalidationTarget, number: u64, mode: DeliveryMode) {
        let before = self.targets.get(&target);
        let addition = Addition {
            number,
            queued: before.map_or(number, |before| before.queued),
            mode: before.map_or(mode, |before| mode.and(before.mode)),
        };
        self.targets.insert(target, addition);
    }

    /// Drops the targets that a clear covers: those without a period in which nothing may be
    /// stored, and all if there are more than `limit`.
    fn keep_periods(&mut self, limit: usize) {
        let now = Instant::now();
        self.targets
            .retain(|_, addition| addition.mode.has_period(now));
        if self.targets.len() > limit {
            tracing::error!(
                limit,
                "too many undelivered writes of unknown outcome; other instances may store their \
                 resources too early"
            );
            self.targets = HashMap::new();
        }
    }
}

/// Returns the `n`th smallest of numbers, or the largest if there are fewer.
fn nth_smallest(numbers: impl Iterator<Item = u64>, n: usize) -> u64 {
    let mut numbers: Vec<_> = numbers.collect();
    match numbers.len() {
        0 => 0,
        // Not sorted: there may be thousands, and lookups wait for the lock.
        length => *numbers.select_nth_unstable(n.min(length) - 1).1,
    }
}

/// The fence of a guarded backend.
///
/// It adds to the fence of the backend inside what this instance alone knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardedFence<F> {
    pub(super) fence: F,
    /// How often an invalidation of a group had failed. The backend does not know of such an
    /// invalidation, so its own fence stays intact; a fill that started before must not be joined
    /// nevertheless.
    pub(super) groups_added: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::DigestSeed;

    fn resource(path: &str) -> Resource {
        Resource::new(&DigestSeed::default(), "", "test.example", path)
    }

    fn one(path: &str) -> DeliveryTarget {
        DeliveryTarget::One(InvalidationTarget::Resource(resource(path)))
    }

    fn until(grace_until: Option<Instant>) -> DeliveryMode {
        DeliveryMode::Remove { grace_until }
    }

    fn batch(paths: &[&str], grace_until: Option<Instant>) -> DeliveryBatch {
        let target = |path: &&str| InvalidationTarget::Resource(resource(path));
        DeliveryBatch::Targets {
            targets: paths.iter().map(target).collect(),
            mode: until(grace_until),
        }
    }

    fn group(group: Group) -> DeliveryTarget {
        DeliveryTarget::One(InvalidationTarget::Group(group))
    }

    #[test]
    fn a_delivery_settles_what_was_added_before_it_started() {
        let (log, a) = (Undelivered::new(8), resource("/a"));
        log.add(one("/a"), DeliveryMode::REMOVE);
        let started = log.start_delivery();
        log.add(one("/a"), DeliveryMode::REMOVE);
        log.settle(one("/a"), started, DeliveryMode::REMOVE);
        assert!(
            log.has_resource(&a),
            "a write failed after the delivery started"
        );
        assert!(!log.has_resource(&resource("/b")));
        let started = log.start_delivery();
        log.settle(one("/a"), started, DeliveryMode::REMOVE);
        assert!(!log.has_resource(&a) && log.is_empty());
    }

    /// The memory that an outage takes is bounded.
    #[test]
    fn more_than_the_limit_clears_everything() {
        let log = Undelivered::new(2);
        for path in ["/a", "/b", "/c"] {
            log.add(one(path), DeliveryMode::REMOVE);
        }
        assert!(log.has_resource(&resource("/never seen")));
        assert_eq!(
            (log.next(8), log.count()),
            (Some(DeliveryBatch::Everything), (0, true))
        );
        let started = log.start_delivery();
        log.settle(one("/a"), started, DeliveryMode::REMOVE);
        assert!(
            log.has_resource(&resource("/a")),
            "the delivery of one target does not settle everything"
        );
        log.settle(DeliveryTarget::Everything, started, DeliveryMode::REMOVE);
        assert!(log.is_empty());
    }

    /// An invalidation that is settled during a lookup may have been delivered after the backend
    /// had read.
    #[test]
    fn a_member_counts_if_its_groups_were_settled_when_the_lookup_started() {
        let [a, b] = [1, 2].map(Group::from_digest);
        let log = Undelivered::new(8);
        let before = log.snapshot();
        log.add(group(a), DeliveryMode::REMOVE);
        assert!(log.may_be_outdated(&[b, a], before), "it is undelivered");
        assert!(!log.may_be_outdated(&[b], before) && !log.may_be_outdated(&[], before));
        assert!(log.snapshot().groups_added > before.groups_added);
        let undelivered = log.snapshot();
        let started = log.start_delivery();
        log.settle(group(a), started, DeliveryMode::REMOVE);
        assert!(
            log.may_be_outdated(&[a], undelivered),
            "it was undelivered when the lookup started"
        );
        let since = log.snapshot();
        log.settle(group(a), log.start_delivery(), DeliveryMode::REMOVE);
        assert!(
            !log.may_be_outdated(&[a], since),
            "there was nothing to settle"
        );
        assert!(log.is_empty());
    }

    /// Targets with a period, and those whose period has ended or that never had one, are delivered
    /// apart, and no batch is larger than was asked for.
    #[test]
    fn a_batch_has_targets_of_one_kind() {
        let log = Undelivered::new(64);
        let now = Instant::now();
        let [soon, late] = [10, 600].map(|seconds| now + Duration::from_secs(seconds));
        let path = |number: usize| format!("/{number}");
        for number in 0..30 {
            let end = [None, Some(now), Some(soon), Some(late)][number % 4];
            log.add(one(&path(number)), until(end));
        }
        let mut sizes = Vec::new();
        while let Some(next) = log.next(10) {
            let DeliveryBatch::Targets {
                targets,
                mode: DeliveryMode::Remove { grace_until },
            } = &next
            else {
                panic!("{next:?}");
            };
            let is_in_batch = |number: &usize| {
                targets.contains(&InvalidationTarget::Resource(resource(&path(*number))))
            };
            let members: Vec<_> = (0..30).filter(is_in_batch).collect();
            assert!(
                members
                    .iter()
                    .all(|number| (number % 4 >= 2) == grace_until.is_some())
            );
            if members.iter().any(|number| number % 4 == 3) {
                assert_eq!(*grace_until, Some(late));
            }
            sizes.push(next.len());
            log.settle_batch(&next, log.start_delivery());
        }
        assert!(
            sizes.len() == 4 && sizes.iter().all(|size| *size <= 10),
            "{sizes:?}"
        );
        assert!(log.is_empty());
    }

    /// A target whose delivery fails is the last one to be tried again, also if it is added anew.
    #[test]
    fn the_targets_of_a_failed_delivery_are_the_last() {
        let log = Undelivered::new(64);
        for path in ["/a", "/b", "/c", "/d"] {
            log.add(one(path), DeliveryMode::REMOVE);
        }
        let next = |max| match log.next(max) {
            Some(DeliveryBatch::Targets { mut targets, .. }) => {
                let place = |target: &InvalidationTarget| {
                    let path = ["/a", "/b", "/c", "/d"];
                    let is_target =
                        |path: &&str| *target == InvalidationTarget::Resource(resource(path));
                    path.into_iter().find(is_target)
                };
                targets.sort_by_key(place);
                targets.iter().filter_map(place).collect::<String>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(next(2), "/a/b");
        log.put_off(&batch(&["/a", "/b"], None));
        assert_eq!(next(3), "/a/c/d");
        log.add(one("/d"), DeliveryMode::REMOVE);
        log.put_off(&batch(&["/c"], None));
        assert_eq!([next(1), next(2)], ["/d", "/a/d"]);
        log.settle(one("/d"), log.start_delivery(), DeliveryMode::REMOVE);
        assert_eq!([next(1), next(2), next(8)], ["/a", "/a/b", "/a/b/c"]);
    }

    /// Resources and groups share one limit.
    #[test]
    fn resources_and_groups_are_bounded_together() {
        let log = Undelivered::new(2);
        log.add(one("/a"), DeliveryMode::REMOVE);
        log.add(group(Group::from_digest(1)), DeliveryMode::REMOVE);
        assert_eq!(log.count(), (2, false));
        let undelivered = log.snapshot();
        log.add(group(Group::from_digest(2)), DeliveryMode::REMOVE);
        assert_eq!(log.count(), (0, true));
        let other = [Group::from_digest(3)];
        assert!(log.has_group(&other) && log.has_resource(&resource("/b")));
        let started = log.start_delivery();
        log.settle(DeliveryTarget::Everything, started, DeliveryMode::REMOVE);
        assert!(
            log.may_be_outdated(&other, undelivered)
                && !log.may_be_outdated(&other, log.snapshot())
        );
    }

    /// Promise: an undelivered write of unknown outcome keeps the period in which nothing of its
    /// target may be stored, whatever else is delivered meanwhile.
    #[test]
    fn only_a_delivery_of_its_period_settles_a_write_of_unknown_outcome() {
        let log = Undelivered::new(2);
        let now = Instant::now();
        let in_seconds = |seconds| Some(now + Duration::from_secs(seconds));
        let end = in_seconds(600);
        log.add(one("/a"), until(end));
        log.add(one("/a"), DeliveryMode::REMOVE);
        assert_eq!(log.next(8), Some(batch(&["/a"], end)));
        for shorter in [None, in_seconds(599)] {
            let is_any_left = log.settle(one("/a"), log.start_delivery(), until(shorter));
            assert!(is_any_left && log.has_resource(&resource("/a")));
        }
        // A clear removes everything, and has no period.
        log.add(DeliveryTarget::Everything, DeliveryMode::REMOVE);
        assert_eq!(log.next(8), Some(DeliveryBatch::Everything));
        log.settle(
            DeliveryTarget::Everything,
            log.start_delivery(),
            DeliveryMode::REMOVE,
        );
        assert_eq!(log.next(8), Some(batch(&["/a"], end)));
        // So does a clear because of too many others.
        log.add(one("/b"), DeliveryMode::REMOVE);
        log.add(one("/c"), DeliveryMode::REMOVE);
        assert_eq!(log.count(), (1, true));
        log.settle(
            DeliveryTarget::Everything,
            log.start_delivery(),
            DeliveryMode::REMOVE,
        );
        assert_eq!(log.next(8), Some(batch(&["/a"], end)));
        assert!(!log.settle(one("/a"), log.start_delivery(), until(end)));
        // A period that has ended needs no delivery of its own.
        log.add(one("/a"), until(Some(now)));
        assert!(!log.settle(one("/a"), log.start_delivery(), DeliveryMode::REMOVE));
    }

    /// A target that is due to be removed is never made stale instead; each kind goes alone.
    #[test]
    fn a_removal_takes_the_place_of_an_expiration() {
        let at = |seconds| {
            let monotonic = Duration::from_secs(seconds);
            Moment::new(monotonic, std::time::SystemTime::UNIX_EPOCH)
        };
        let now = Instant::now();
        let expire = |seconds| DeliveryMode::Expire {
            at: at(seconds),
            told: now + Duration::from_secs(seconds),
        };
        let log = Undelivered::new(8);
        log.add(one("/a"), expire(7));
        log.add(one("/a"), expire(9));
        let stale = |targets: &[&str], mode| match batch(targets, None) {
            DeliveryBatch::Targets { targets, .. } => DeliveryBatch::Targets { targets, mode },
            DeliveryBatch::Everything => unreachable!("a batch of targets"),
        };
        assert_eq!(log.next(8), Some(stale(&["/a"], expire(7))), "the first");
        assert!(log.has_resource(&resource("/a")), "nothing of it is read");
        log.add(one("/a"), DeliveryMode::REMOVE);
        log.add(one("/a"), expire(10));
        assert_eq!(log.next(8), Some(batch(&["/a"], None)), "a removal stays");
        log.add(one("/b"), expire(11));
        let started = log.start_delivery();
        for target in [one("/a"), one("/b"), DeliveryTarget::Everything] {
            log.settle(target, started, expire(12));
        }
        assert_eq!(log.count(), (1, false), "it settles no removal");
        log.add(one("/b"), expire(13));
        log.settle(one("/b"), log.start_delivery(), DeliveryMode::REMOVE);
        assert_eq!(log.next(8), Some(batch(&["/a"], None)));
        log.add(DeliveryTarget::Everything, expire(14));
        log.settle(DeliveryTarget::Everything, log.start_delivery(), expire(14));
        assert_eq!(
            log.next(8),
            Some(DeliveryBatch::Everything),
            "a clear stays"
        );
    }

    /// The memory that an outage takes is bounded, with periods too.
    #[test]
    fn more_periods_than_the_limit_are_dropped() {
        let log = Undelivered::new(2);
        let end = Some(Instant::now() + Duration::from_secs(600));
        for path in ["/a", "/b", "/c"] {
            log.add(one(path), until(end));
        }
        assert_eq!(log.count(), (0, true));
        log.add(one("/d"), until(end));
        assert_eq!(log.count(), (1, true));
    }
}
