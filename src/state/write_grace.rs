//! Resources and groups of which nothing is stored for a while, after a write of unknown outcome:
//! it may commit late.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::backend::{Group, InvalidationTarget};
use crate::key::Resource;
use crate::semantics::moment::Moment;

const STRIPES: usize = 1024;

/// The ends of all grace periods, in milliseconds of the monotonic clock.
///
/// Memory is fixed: resources that fall into one stripe share a time. That can cost a store which
/// is skipped, never one which is wrong.
pub(crate) struct WriteGrace(Box<[AtomicU64]>);

impl Default for WriteGrace {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| AtomicU64::new(0)).collect())
    }
}

impl WriteGrace {
    /// The stripe of a digest.
    fn stripe(&self, digest: u128) -> &AtomicU64 {
        // Other bits than a backend's stripes are likely to use.
        &self.0[(digest >> 64) as usize % STRIPES]
    }

    /// Refuses stores of fills that begin before `now + grace`.
    ///
    /// Must be called before the invalidation it goes with: a fill that then finds no grace holds
    /// a fence from before that invalidation.
    pub(crate) fn begin(&self, target: &InvalidationTarget, now: Moment, grace: Duration) {
        let digest = match target {
            InvalidationTarget::Resource(resource) => resource.digest(),
            InvalidationTarget::Group(group) => group.digest(),
        };
        let until = now.monotonic().saturating_add(grace).as_millis();
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        self.stripe(digest).fetch_max(until, Ordering::AcqRel);
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
        let until = self.stripe(digest).load(Ordering::Acquire);
        now.monotonic().as_millis() < u128::from(until)
    }
}
