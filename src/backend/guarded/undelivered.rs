//! Invalidations that the backend has not acknowledged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backend::{Resource, Target};

/// What is still to be delivered. Bounded: beyond its limit everything is.
#[derive(Debug)]
pub(super) struct Undelivered {
    /// Whether there is anything, so that nobody takes the lock while all is well.
    is_any: AtomicBool,
    owed: Mutex<Owed>,
    most: usize,
}

#[derive(Debug, Default)]
struct Owed {
    /// Counts what is owed, and what is begun to be delivered.
    number: u64,
    resources: HashMap<Resource, u64>,
    everything: Option<u64>,
}

/// One thing to deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Resource(Resource),
    Everything,
}

impl From<&Target> for Due {
    fn from(target: &Target) -> Self {
        match target {
            Target::Resource(resource) => Self::Resource(*resource),
            Target::Group(_) => Self::Everything,
        }
    }
}

impl Undelivered {
    pub(super) fn new(most: usize) -> Self {
        Self {
            is_any: AtomicBool::new(false),
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
        owed.everything.is_some() || owed.resources.contains_key(resource)
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
        match due {
            _ if owed.everything.is_some() => owed.everything = Some(number),
            Due::Everything => owed.everything = Some(number),
            Due::Resource(resource) => {
                owed.resources.insert(resource, number);
                if owed.resources.len() > self.most {
                    owed.everything = Some(number);
                    tracing::error!(
                        "too many undelivered invalidations: everything is to be cleared"
                    );
                }
            }
        }
        if owed.everything.is_some() {
            owed.resources = HashMap::new();
        }
        self.is_any.store(true, Ordering::Release);
    }

    /// It was acknowledged: whatever was owed of it before the delivery began is settled. What was added since is not:
    /// that may be of a write that came after the backend did it.
    pub(super) fn settle(&self, due: Due, begun: u64) {
        let mut owed = self.owed();
        match due {
            Due::Everything => {
                owed.everything = owed.everything.filter(|number| *number > begun);
                owed.resources.retain(|_, number| *number > begun);
            }
            Due::Resource(resource) => {
                if owed
                    .resources
                    .get(&resource)
                    .is_some_and(|number| *number < begun)
                {
                    owed.resources.remove(&resource);
                }
            }
        }
        let is_any = owed.everything.is_some() || !owed.resources.is_empty();
        self.is_any.store(is_any, Ordering::Release);
    }

    /// Something to deliver.
    pub(super) fn next(&self) -> Option<Due> {
        let owed = self.owed();
        match owed.everything {
            Some(_) => Some(Due::Everything),
            None => owed.resources.keys().next().copied().map(Due::Resource),
        }
    }

    /// How many resources, and whether it is everything.
    pub(super) fn count(&self) -> (usize, bool) {
        let owed = self.owed();
        (owed.resources.len(), owed.everything.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::DigestSeed;

    fn resource(path: &str) -> Resource {
        Resource::new(&DigestSeed::default(), "", "test.example", path)
    }

    #[test]
    fn a_delivery_settles_what_was_owed_before_it_began() {
        let (log, a) = (Undelivered::new(8), resource("/a"));
        log.add(Due::Resource(a));
        let begun = log.begin();
        log.add(Due::Resource(a));
        log.settle(Due::Resource(a), begun);
        assert!(log.concerns(&a), "a write failed after the delivery began");
        assert!(!log.concerns(&resource("/b")));
        let begun = log.begin();
        log.settle(Due::Resource(a), begun);
        assert!(!log.concerns(&a) && !log.is_any());
    }

    /// R19
    #[test]
    fn too_many_are_everything() {
        let log = Undelivered::new(2);
        for path in ["/a", "/b", "/c"] {
            log.add(Due::Resource(resource(path)));
        }
        assert!(log.concerns(&resource("/never seen")));
        assert_eq!(
            (log.next(), log.count()),
            (Some(Due::Everything), (0, true))
        );
        let begun = log.begin();
        log.settle(Due::Resource(resource("/a")), begun);
        assert!(
            log.concerns(&resource("/a")),
            "one of them does not settle all"
        );
        log.settle(Due::Everything, begun);
        assert!(!log.is_any());
    }
}
