//! What the decision to store says.

use http::HeaderName;

use crate::semantics::freshness::Freshness;
use crate::semantics::groups::Group;
use crate::semantics::reason::Refusal;
use crate::semantics::vary::VarySelection;

/// May it be stored, and if so, as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageDecision {
    /// It may.
    Store(StoragePolicy),
    /// It may not.
    Refuse(Refusal),
}

/// What a response may be stored as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoragePolicy {
    /// How long it may be reused.
    pub freshness: Freshness,
    /// For which requests, where it varies.
    pub selected: Option<VarySelection>,
    /// The groups it is invalidated with (RFC 9875 §2). Whoever knows the digests of their names fills them in.
    pub groups: Box<[Group]>,
    /// The fields that are not to be stored with it (RFC 9111 §5.2.2.4, §5.2.2.7).
    pub withheld: Box<[HeaderName]>,
}
