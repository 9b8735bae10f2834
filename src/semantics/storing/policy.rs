//! The outcome of the decision to store.

use http::HeaderName;

use crate::semantics::freshness::Freshness;
use crate::semantics::groups::Group;
use crate::semantics::reason::Refusal;
use crate::semantics::vary::VarySelection;

/// Whether a response may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageDecision {
    /// It may, under this policy.
    Store(StoragePolicy),
    /// It may not, for this reason.
    Refuse(Refusal),
}

/// How a response may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoragePolicy {
    /// Its lifetime, its age and how long it may be used stale.
    pub freshness: Freshness,
    /// The values of the request fields that select it, if it varies (RFC 9111 §4.1).
    pub selected: Option<VarySelection>,
    /// The groups that it is invalidated with (RFC 9875 §2). Empty at first: the service computes
    /// the digests of the names.
    pub groups: Box<[Group]>,
    /// The fields that are not stored with it (RFC 9111 §5.2.2.4, §5.2.2.7).
    pub withheld: Box<[HeaderName]>,
}
