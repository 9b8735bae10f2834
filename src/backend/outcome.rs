//! What the operations of a backend take and answer.

use std::sync::Arc;

use super::{Group, StoredResponse, VaryRule};
use crate::key::Resource;

/// The answer to a lookup, with the fence of the fill that may follow.
///
/// A response is returned whether it is fresh or stale: the cache decides if it may be used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Lookup<F> {
    /// A response is stored under exactly this key.
    Found(Arc<StoredResponse>, F),
    /// The responses under this key vary.
    ///
    /// The cache repeats the lookup under
    /// [`CacheKey::variant_for`](crate::key::CacheKey::variant_for) this rule.
    Varies(Arc<VaryRule>, F),
    /// Nothing is stored under this key.
    Miss(F),
    /// Nothing is stored under this key, and nothing may be stored for now: a write of unknown
    /// outcome may still be committed (see
    /// [`Backend::invalidate_unknown`](super::Backend::invalidate_unknown)).
    ///
    /// The cache calls the inner service and does not store its response. Other requests join only
    /// a call that has not begun.
    Unfenced,
}

/// The answers to the lookup of a key and to that of the variant that it was expected to lead to;
/// `None` if the variant was not looked up. See
/// [`Backend::get_with_variant`](super::Backend::get_with_variant).
pub type LookupWithVariant<F> = (Lookup<F>, Option<Lookup<F>>);

impl<F> Lookup<F> {
    /// Converts the fence and keeps everything else.
    ///
    /// A wrapper whose fence holds more than that of the backend inside calls it on every answer.
    pub fn map_fence<G>(self, convert: impl FnOnce(F) -> G) -> Lookup<G> {
        match self {
            Self::Found(response, fence) => Lookup::Found(response, convert(fence)),
            Self::Varies(rule, fence) => Lookup::Varies(rule, convert(fence)),
            Self::Miss(fence) => Lookup::Miss(convert(fence)),
            Self::Unfenced => Lookup::Unfenced,
        }
    }

    /// Returns the fence alone; `None` for [`Unfenced`](Self::Unfenced).
    pub fn into_fence(self) -> Option<F> {
        match self {
            Self::Found(_, fence) | Self::Varies(_, fence) | Self::Miss(fence) => Some(fence),
            Self::Unfenced => None,
        }
    }
}

/// Whether a request may share the response of a fill in flight. See
/// [`Backend::join_decision`](super::Backend::join_decision).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinDecision {
    /// It may.
    Join,
    /// It may if [`Backend::has_current_groups`](super::Backend::has_current_groups) says so of the
    /// groups that the response turns out to be in.
    CheckGroups,
    /// It may not.
    Refuse,
}

/// The outcome of storing a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum PutOutcome {
    /// The response is stored.
    Stored,
    /// Nothing is stored: the resource, or one of the response's groups, was invalidated after the
    /// fence was captured.
    Superseded,
    /// Nothing is stored: the response is larger than this backend accepts.
    TooLarge,
}

/// The target of an invalidation.
///
/// A backend that does not know a target must [`clear`](super::Backend::clear): invalidating too
/// much is safe, too little is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidationTarget {
    /// A resource by its digest: all its queries and variants, and its fills in flight.
    Resource(Resource),
    /// A group (RFC 9875): all its members, and the fills in flight that turn out to be members.
    Group(Group),
}

/// The instances at which nothing is stored while a write of unknown outcome may still be
/// committed. See [`Backend::invalidate_unknown`](super::Backend::invalidate_unknown).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GraceScope {
    /// The cache that had the write. It sees to that itself; the backend does nothing.
    OneCache,
    /// All instances that share the backend, which refuses the stores.
    AllInstances,
    /// The cache that had the write. The backend could not keep the period for the others, because
    /// it has no memory left.
    Refused,
}
