//! What the last write that concerned it had an unknown outcome for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::backend::{Group, Target};
use crate::key::Resource;
use crate::semantics::moment::Moment;

const STRIPES: usize = 1024;

/// Until when nothing is stored of a resource or a group, in milliseconds of the monotonic clock.
///
/// Fixed memory: those of one stripe share a time. Sharing costs a store that is skipped, never one that is wrong.
pub(crate) struct Grace(Box<[AtomicU64]>);

impl Default for Grace {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Grace {
    fn stripe(&self, digest: u128) -> &AtomicU64 {
        // Other bits than a backend's stripes are likely to use.
        &self.0[(digest >> 64) as usize % STRIPES]
    }

    /// Refuses stores of fills that begin before `now + grace`. Must be called before the invalidation it goes with: a
    /// fill that then finds no grace holds a fence from before that invalidation.
    pub(crate) fn begin(&self, target: &Target, now: Moment, grace: Duration) {
        let digest = match target {
            Target::Resource(resource) => resource.digest(),
            Target::Group(group) => group.digest(),
        };
        let until = now.monotonic().saturating_add(grace).as_millis();
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        self.stripe(digest).fetch_max(until, Ordering::AcqRel);
    }

    /// Whether a fill that begins `now` may not be stored. Must be asked after its fence was captured.
    pub(crate) fn is_active(&self, resource: &Resource, now: Moment) -> bool {
        self.is_on(resource.digest(), now)
    }

    /// The same for one that turns out to be in a group.
    pub(crate) fn is_of(&self, group: &Group, now: Moment) -> bool {
        self.is_on(group.digest(), now)
    }

    fn is_on(&self, digest: u128, now: Moment) -> bool {
        let until = self.stripe(digest).load(Ordering::Acquire);
        now.monotonic().as_millis() < u128::from(until)
    }
}
