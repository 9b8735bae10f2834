//! Resources whose last write had an unknown outcome.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::key::Resource;
use crate::semantics::moment::Moment;

const STRIPES: usize = 1024;

/// Until when nothing is stored for a resource, in milliseconds of the monotonic clock.
///
/// Fixed memory: resources of one stripe share a time. Sharing costs a store that is skipped, never one that is wrong.
pub(crate) struct Grace(Box<[AtomicU64]>);

impl Default for Grace {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Grace {
    fn stripe(&self, resource: &Resource) -> &AtomicU64 {
        // Other bits than a backend's stripes are likely to use.
        &self.0[(resource.digest() >> 64) as usize % STRIPES]
    }

    /// Refuses stores of fills that begin before `now + grace`. Must be called before the invalidation it goes with: a
    /// fill that then finds no grace holds a fence from before that invalidation.
    pub(crate) fn begin(&self, resource: &Resource, now: Moment, grace: Duration) {
        let until = now.monotonic().saturating_add(grace).as_millis();
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        self.stripe(resource).fetch_max(until, Ordering::AcqRel);
    }

    /// Whether a fill that begins `now` may not be stored. Must be asked after its fence was captured.
    pub(crate) fn is_active(&self, resource: &Resource, now: Moment) -> bool {
        let until = self.stripe(resource).load(Ordering::Acquire);
        now.monotonic().as_millis() < u128::from(until)
    }
}
