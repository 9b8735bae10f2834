//! The groups that an answer is in, and those that it invalidates (RFC 9875).

use http::HeaderMap;

use crate::backend::{Backend, Group};
use crate::key::authority_in;
use crate::semantics::groups::{Named, invalidated, membership};
use crate::semantics::moment::Moment;
use crate::semantics::reason::Refusal;

use crate::state::Shared;

/// The groups that the answer to a write invalidates.
pub(crate) enum Invalidated {
    These(Vec<Group>),
    /// More than are invalidated one by one.
    All,
}

impl Invalidated {
    pub(crate) fn concern(&self, groups: &[Group]) -> bool {
        match self {
            Self::These(these) => groups.iter().any(|group| these.contains(group)),
            Self::All => true,
        }
    }
}

impl<B: Backend> Shared<B> {
    /// The groups that an answer is in which would be stored under the key that `identity` is.
    ///
    /// A group is one of the key's scope and authority. The RFC's origin (§2.1) tells schemes apart as well; a target in
    /// origin form has none, and to invalidate too much is safe.
    pub(crate) fn groups_in(
        &self,
        identity: &[u8],
        headers: &HeaderMap,
    ) -> Result<Box<[Group]>, Refusal> {
        match membership(headers) {
            Named::TooMany => Err(Refusal::Groups),
            Named::These(names) if names.is_empty() => Ok(Box::default()),
            Named::These(names) => {
                let authority = authority_in(identity).ok_or(Refusal::Groups)?;
                Ok(names
                    .iter()
                    .map(|name| self.group(authority, name))
                    .collect())
            }
        }
    }

    /// The groups of an authority that the answer to a write invalidates, whatever its status: the inner service names them
    /// itself, a client cannot, and RFC 9875 §3 asks for no more than an unsafe method.
    pub(crate) fn groups_invalidated(&self, authority: &str, headers: &HeaderMap) -> Invalidated {
        match invalidated(headers) {
            Named::TooMany => Invalidated::All,
            Named::These(names) => {
                let groups = names.iter().map(|name| self.group(authority, name));
                Invalidated::These(groups.collect())
            }
        }
    }

    /// Whether no write of unknown outcome that named one of these groups was too recent when a fill began. Which groups a
    /// fill is in, nobody knows until it has an answer; what bars its store was there before its fence was captured, or has
    /// broken it.
    pub(crate) fn spares(&self, groups: &[Group], began: Moment) -> Result<(), Refusal> {
        let grace = &self.core.grace;
        match groups.iter().any(|group| grace.is_of(group, began)) {
            true => Err(Refusal::WriteGrace),
            false => Ok(()),
        }
    }
}
