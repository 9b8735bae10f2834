//! The resources and groups that one write invalidates.

use http::HeaderMap;

use crate::backend::{Backend, Group, InvalidationTarget};
use crate::key::Resource;
use crate::semantics::groups::{GroupNames, invalidated_groups};
use crate::state::LayerState;

/// The groups that the response to a write invalidates (RFC 9875 §3).
pub(crate) enum InvalidatedGroups {
    These(Vec<Group>),
    /// Too many to be invalidated one by one.
    TooMany,
}

impl InvalidatedGroups {
    /// The groups that a response names, whatever its status: the inner service names them, a
    /// client cannot, and RFC 9875 §3 asks for no more than an unsafe method.
    pub(crate) fn from_response<B: Backend>(
        state: &LayerState<B>,
        authority: &str,
        headers: &HeaderMap,
    ) -> Self {
        match invalidated_groups(headers) {
            GroupNames::TooMany => Self::TooMany,
            GroupNames::Listed(names) => {
                let groups = names.iter().map(|name| state.group(authority, name));
                Self::These(groups.collect())
            }
        }
    }

    /// Whether one of these groups is among them.
    pub(crate) fn contain_any(&self, groups: &[Group]) -> bool {
        match self {
            Self::These(these) => groups.iter().any(|group| these.contains(group)),
            Self::TooMany => true,
        }
    }
}

/// What one write invalidates.
#[derive(Clone)]
pub(crate) struct WriteTargets {
    pub(crate) targets: Vec<InvalidationTarget>,
    /// Whether everything is cleared, because the response named too many groups.
    pub(crate) clears_all: bool,
}

impl WriteTargets {
    /// Targets that are resources alone.
    pub(crate) fn new(resources: Vec<Resource>) -> Self {
        Self {
            targets: resources
                .into_iter()
                .map(InvalidationTarget::Resource)
                .collect(),
            clears_all: false,
        }
    }

    /// Adds groups.
    pub(crate) fn with_groups(mut self, groups: InvalidatedGroups) -> Self {
        match groups {
            InvalidatedGroups::These(groups) => {
                self.targets
                    .extend(groups.into_iter().map(InvalidationTarget::Group));
            }
            InvalidatedGroups::TooMany => self.clears_all = true,
        }
        self
    }

    /// Removes a resource that was invalidated already.
    pub(crate) fn without(mut self, invalidated: Option<Resource>) -> Self {
        let invalidated = invalidated.map(InvalidationTarget::Resource);
        self.targets.retain(|target| Some(*target) != invalidated);
        self
    }
}
