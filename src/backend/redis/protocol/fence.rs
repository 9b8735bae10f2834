//! The fence that a fill holds: tokens read before the inner service is called.

use std::sync::Arc;

use super::tokens::{AllGroups, Token};

/// The [`Fence`](crate::backend::Backend::Fence) of [`RedisBackend`](crate::backend::RedisBackend):
/// the tokens of a resource and of all groups.
///
/// It breaks when the next invalidation of the resource, or of any group the response is in,
/// removes one of the tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisFence {
    pub(crate) tokens: FenceTokens,
    pub(crate) all_groups: AllGroups,
}

/// The tokens that a fence compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FenceTokens {
    /// The lease of one resource.
    Resource(Token),
    /// The tokens of all stripes, for a write whose response will name its resource. `None` for a
    /// stripe that has a tombstone.
    AllStripes(Arc<[Option<Token>]>),
}

impl RedisFence {
    pub(crate) fn for_resource(lease: Token, all_groups: AllGroups) -> Self {
        Self {
            tokens: FenceTokens::Resource(lease),
            all_groups,
        }
    }
}
