//! Groups of responses (RFC 9875): a token for each group, and one for all groups together.
//!
//! A fill learns the groups of its response only when that arrives, after its fence was captured.
//! So the fence holds the token of *all* groups, and three rules make it safe:
//!
//! * an invalidation of a group removes the token of all groups and the group's token in one step;
//! * a fill reads the tokens of its groups first, then the token of all groups, in one step or two;
//! * a lookup has the token of all groups before it compares the tokens of a member's groups.
//!
//! If the token of all groups is unchanged, the fill has read its groups' tokens before any
//! invalidation that came after its capture could remove one. The tokens are stored with the
//! response, and each lookup compares them with the current ones. A member that passes was valid
//! when its lookup's fence was captured: whatever invalidates it later breaks that fence. With two
//! steps, a lookup between them would find a member whose group is about to be removed, and hold
//! the token that comes after.
//!
//! An invalidation after a write that may still be committed leaves a tombstone in the place of the
//! token of all groups. A fill that has captured it stores no member of any group: which groups it
//! concerns cannot be known when its call begins.

use std::time::Duration;

use super::protocol_client::ProtocolClient;
use crate::backend::StoredResponse;
use crate::backend::redis::connection::{CommandError, ServerIdentity};
use crate::backend::redis::protocol::entry::GroupTokens;
use crate::backend::redis::protocol::tokens::{AllGroups, NamespaceToken};

impl ProtocolClient {
    /// Reads or creates the tokens of a response's groups.
    ///
    /// Returns `None` if a group was invalidated since `all_groups` was captured, if that is a
    /// tombstone, or if there are more groups than an entry has room for: the response must not be
    /// stored. The tokens outlive an entry that is stored for `ttl`.
    pub(super) async fn capture_groups(
        &self,
        response: &StoredResponse,
        all_groups: AllGroups,
        (server, namespace): (ServerIdentity, NamespaceToken),
        ttl: Duration,
    ) -> Result<Option<GroupTokens>, CommandError> {
        let groups = response.groups();
        if groups.is_empty() {
            return Ok(Some(GroupTokens::default()));
        }
        let (Some(all_groups), true) = (all_groups.token(), groups.len() <= GroupTokens::MAX)
        else {
            return Ok(None);
        };
        // Their tokens first, then that of all groups: see the module.
        let ttl = ttl.saturating_add(self.lease_ttl);
        let tokens = self.get_or_create_groups(groups, server, namespace, ttl);
        let (tokens, current) = tokens.await?;
        let is_unchanged = current == Some(AllGroups::Token(all_groups));
        Ok(is_unchanged.then(|| GroupTokens::new(tokens)))
    }

    /// Returns whether the tokens stored with a response are still those of its groups.
    ///
    /// They are read now, after the request has begun.
    pub(super) async fn groups_unchanged(
        &self,
        response: &StoredResponse,
        stored: &GroupTokens,
    ) -> Result<bool, CommandError> {
        let (groups, stored) = (response.groups(), stored.as_slice());
        if groups.len() != stored.len() {
            return Ok(false);
        }
        let keys: Vec<_> = groups
            .iter()
            .map(|group| self.namespace.group(group))
            .collect();
        let (current, _) = self.mget(&keys).await?;
        let stored = stored.iter().map(|token| Some(token.as_ref()));
        Ok(current.iter().map(Option::as_deref).eq(stored))
    }
}
