//! Invalidations that the backend has not acknowledged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backend::{Group, Resource, Target};

/// What is still to be delivered. Bounded: beyond its limit everything is.
#[derive(Debug)]
pub(super) struct Undelivered {
    /// Whether there is anything, so that nobody takes the lock while all is well.
    is_any: AtomicBool,
    /// How often a group has come to be owed.
    groups: AtomicU64,
    /// How often something was settled.
    settlements: AtomicU64,
    owed: Mutex<Owed>,
    most: usize,
}

#[derive(Debug, Default)]
struct Owed {
    /// Counts what is owed, and what is begun to be delivered.
    number: u64,
    targets: HashMap<Target, u64>,
    everything: Option<u64>,
}

/// One thing to deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    This(Target),
    Everything,
}

/// What a lookup remembers of the moment it began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Began {
    /// How often a group had come to be owed.
    pub(super) groups: u64,
    settlements: u64,
}

impl Undelivered {
    pub(super) fn new(most: usize) -> Self {
        Self {
            is_any: AtomicBool::new(false),
            groups: AtomicU64::new(0),
            settlements: AtomicU64::new(0),
            owed: Mutex::default(),
            most,
        }
    }

    fn owed(&self) -> MutexGuard<'_, Owed> {
        // Nothing in here panics between two steps that belong together.
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Acquire)
    }

    /// Whether what the backend holds for a resource may be older than what was answered.
    pub(super) fn concerns(&self, resource: &Resource) -> bool {
        if !self.is_any() {
            return false;
        }
        let owed = self.owed();
        owed.everything.is_some() || owed.targets.contains_key(&Target::Resource(*resource))
    }

    /// Whether a response of these groups may be older than what was answered.
    pub(super) fn concerns_one_of(&self, groups: &[Group]) -> bool {
        if groups.is_empty() || !self.is_any() {
            return false;
        }
        let owed = self.owed();
        let is_owed = |group: &Group| owed.targets.contains_key(&Target::Group(*group));
        owed.everything.is_some() || groups.iter().any(is_owed)
    }

    /// A lookup begins.
    pub(super) fn look(&self) -> Began {
        // Acquire: a fill that then begins sees the writes whose groups are counted here.
        Began {
            groups: self.groups.load(Ordering::Acquire),
            settlements: self.settlements.load(Ordering::Acquire),
        }
    }

    /// Whether what a lookup has found may be older than what was answered when it began. What was owed then, and is not any
    /// more, may have been delivered behind the lookup's back.
    pub(super) fn concerned(&self, groups: &[Group], began: Began) -> bool {
        // In this order: what is not found there any more is counted here.
        !groups.is_empty()
            && (self.concerns_one_of(groups)
                || self.settlements.load(Ordering::Acquire) != began.settlements)
    }

    /// A delivery begins: its number settles what was owed before.
    pub(super) fn begin(&self) -> u64 {
        let mut owed = self.owed();
        owed.number += 1;
        owed.number
    }

    /// It was not acknowledged.
    pub(super) fn add(&self, due: Due) {
        let mut owed = self.owed();
        owed.number += 1;
        let number = owed.number;
        if let Due::This(Target::Group(_)) = due {
            self.groups.fetch_add(1, Ordering::AcqRel);
        }
        match due {
            _ if owed.everything.is_some() => owed.everything = Some(number),
            Due::Everything => owed.everything = Some(number),
            Due::This(target) => {
                owed.targets.insert(target, number);
                if owed.targets.len() > self.most {
                    owed.everything = Some(number);
                    tracing::error!(
                        "too many undelivered invalidations: everything is to be cleared"
                    );
                }
            }
        }
        if owed.everything.is_some() {
            owed.targets = HashMap::new();
        }
        self.is_any.store(true, Ordering::Release);
    }

    /// It was acknowledged: whatever was owed of it before the delivery began is settled. What was added since is not:
    /// that may be of a write that came after the backend did it.
    pub(super) fn settle(&self, due: Due, begun: u64) {
        let mut owed = self.owed();
        let before = (owed.everything, owed.targets.len());
        let is_settled = |number: &u64| *number < begun;
        match due {
            Due::Everything => {
                owed.everything = owed.everything.filter(|number| !is_settled(number));
                owed.targets.retain(|_, number| !is_settled(number));
            }
            Due::This(target) => {
                if owed.targets.get(&target).is_some_and(is_settled) {
                    owed.targets.remove(&target);
                }
            }
        }
        if before != (owed.everything, owed.targets.len()) {
            self.settlements.fetch_add(1, Ordering::AcqRel);
        }
        let is_any = owed.everything.is_some() || !owed.targets.is_empty();
        self.is_any.store(is_any, Ordering::Release);
    }

    /// Something to deliver.
    pub(super) fn next(&self) -> Option<Due> {
        let owed = self.owed();
        match owed.everything {
            Some(_) => Some(Due::Everything),
            None => owed.targets.keys().next().copied().map(Due::This),
        }
    }

    /// How many resources and groups, and whether it is everything.
    pub(super) fn count(&self) -> (usize, bool) {
        let owed = self.owed();
        (owed.targets.len(), owed.everything.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::DigestSeed;

    fn resource(path: &str) -> Resource {
        Resource::new(&DigestSeed::default(), "", "test.example", path)
    }

    fn due(path: &str) -> Due {
        Due::This(Target::Resource(resource(path)))
    }

    #[test]
    fn a_delivery_settles_what_was_owed_before_it_began() {
        let (log, a) = (Undelivered::new(8), resource("/a"));
        log.add(due("/a"));
        let begun = log.begin();
        log.add(due("/a"));
        log.settle(due("/a"), begun);
        assert!(log.concerns(&a), "a write failed after the delivery began");
        assert!(!log.concerns(&resource("/b")));
        let begun = log.begin();
        log.settle(due("/a"), begun);
        assert!(!log.concerns(&a) && !log.is_any());
    }

    /// R19
    #[test]
    fn too_many_are_everything() {
        let log = Undelivered::new(2);
        for path in ["/a", "/b", "/c"] {
            log.add(due(path));
        }
        assert!(log.concerns(&resource("/never seen")));
        assert_eq!(
            (log.next(), log.count()),
            (Some(Due::Everything), (0, true))
        );
        let begun = log.begin();
        log.settle(due("/a"), begun);
        assert!(
            log.concerns(&resource("/a")),
            "one of them does not settle all"
        );
        log.settle(Due::Everything, begun);
        assert!(!log.is_any());
    }

    /// What was settled while a lookup was on its way may have been delivered after the backend had read.
    #[test]
    fn a_member_counts_if_its_groups_were_settled_when_the_lookup_began() {
        let [one, two] = [1, 2].map(Group::from_digest);
        let log = Undelivered::new(8);
        let before = log.look();
        log.add(Due::This(Target::Group(one)));
        assert!(log.concerned(&[two, one], before), "it is owed");
        assert!(!log.concerned(&[two], before) && !log.concerned(&[], before));
        assert!(log.look().groups > before.groups);
        let while_owed = log.look();
        let begun = log.begin();
        log.settle(Due::This(Target::Group(one)), begun);
        assert!(log.concerned(&[one], while_owed), "it was when that began");
        let since = log.look();
        log.settle(Due::This(Target::Group(one)), log.begin());
        assert!(!log.concerned(&[one], since), "there was nothing to settle");
        assert!(!log.is_any());
    }

    /// R19
    #[test]
    fn resources_and_groups_are_bounded_together() {
        let log = Undelivered::new(2);
        log.add(due("/a"));
        log.add(Due::This(Target::Group(Group::from_digest(1))));
        assert_eq!(log.count(), (2, false));
        let while_owed = log.look();
        log.add(Due::This(Target::Group(Group::from_digest(2))));
        assert_eq!(log.count(), (0, true));
        let other = [Group::from_digest(3)];
        assert!(log.concerns_one_of(&other) && log.concerns(&resource("/b")));
        let begun = log.begin();
        log.settle(Due::Everything, begun);
        assert!(log.concerned(&other, while_owed) && !log.concerned(&other, log.look()));
    }
}
