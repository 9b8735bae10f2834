//! The tokens under which the responses of a resource that were made stale are still found.

use crate::semantics::moment::Moment;

/// The number of invalidations that make a resource, or a group, stale and are remembered. A
/// response that is older than all of them is removed.
pub(super) const MAX_EXPIRATIONS: usize = 4;

/// The last tokens of a resource's head, and when each was changed, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Expirations(Vec<(u64, Moment)>);

impl Expirations {
    /// Adds the token that the head had until now.
    pub(super) fn with(&self, token: u64, now: Moment) -> Self {
        let mut all = self.0.clone();
        if all.len() == MAX_EXPIRATIONS {
            all.remove(0);
        }
        all.push((token, now));
        Self(all)
    }

    /// When a token was changed.
    pub(super) fn of(&self, token: u64) -> Option<Moment> {
        let found = self.0.iter().find(|(other, _)| *other == token);
        found.map(|(_, at)| *at)
    }

    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.0)
    }
}
