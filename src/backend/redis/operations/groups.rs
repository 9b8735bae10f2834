//! Groups of responses (RFC 9875): a token for each group, and one for all groups together.
//!
//! A fill learns the groups of its response only when that arrives, after its fence was captured.
//! So the fence holds the token of *all* groups, and three rules make it safe:
//!
//! * an invalidation of a group removes the token of all groups and the group's token in one step;
//! * a fill reads the tokens of its groups and the token of all groups in the step that stores;
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

use std::sync::Arc;

use bytes::Bytes;

use super::protocol_client::ProtocolClient;
use crate::backend::StoredResponse;
use crate::backend::redis::connection::{CommandError, ServerIdentity};
use crate::backend::redis::protocol::entry::{GroupTokens, expired};
use crate::backend::redis::protocol::expirations::expired_at;
use crate::backend::redis::protocol::tokens::{
    AllGroups, AllGroupsToken, NamespaceToken, Token, TokenScope,
};
use crate::semantics::groups::Group;
use crate::semantics::moment::Moment;

/// The groups of a response that is to be stored, for the scripts that store.
pub(super) struct GroupsToStore<'r> {
    groups: &'r [Group],
    /// The captured token of all groups; `None` for a response in no group.
    all_groups: Option<AllGroupsToken>,
}

impl<'r> GroupsToStore<'r> {
    /// Returns the groups of a response; `None` if it must not be stored, because a tombstone was
    /// captured, or there are more groups than an entry has room for.
    pub(super) fn new(response: &'r StoredResponse, all_groups: AllGroups) -> Option<Self> {
        let groups = response.groups();
        let all_groups = match groups.is_empty() {
            true => None,
            false => Some(all_groups.token()?),
        };
        let fits = groups.len() <= GroupTokens::MAX;
        fits.then_some(Self { groups, all_groups })
    }

    pub(super) fn count(&self) -> usize {
        self.groups.len()
    }

    /// Returns the captured token of all groups, empty for a response in no group.
    pub(super) fn all_groups(&self) -> Bytes {
        let token = self.all_groups.as_ref();
        token.map_or_else(Bytes::new, |token| Bytes::copy_from_slice(token.as_ref()))
    }

    /// Returns a new token for each group, of which the script uses those that are absent.
    pub(super) fn new_tokens(
        &self,
        server: ServerIdentity,
        namespace: NamespaceToken,
    ) -> Vec<Bytes> {
        let mut tokens: Vec<Bytes> = Vec::with_capacity(self.groups.len());
        for (index, group) in self.groups.iter().enumerate() {
            // A group that is named twice has one token.
            let same = self.groups[..index].iter().position(|other| other == group);
            let new = || Token::random(server, namespace, TokenScope::Group(group));
            tokens.push(match same {
                Some(same) => tokens[same].clone(),
                None => Bytes::copy_from_slice(new().as_ref()),
            });
        }
        tokens
    }
}

impl ProtocolClient {
    /// The keys of the token of all groups and of those of a response's groups; none for a response
    /// in no group.
    pub(super) fn group_keys(&self, groups: &GroupsToStore<'_>) -> Vec<String> {
        let all_groups = groups.all_groups.map(|_| self.namespace.all_groups());
        let names = groups
            .groups
            .iter()
            .map(|group| self.namespace.group(group));
        all_groups.into_iter().chain(names).collect()
    }

    /// Returns a member of groups if the tokens stored with it are still those of its groups: as it
    /// is, or stale if one of them was changed to make it so.
    ///
    /// They are read now, after the request has begun.
    pub(super) async fn current_member(
        &self,
        mut response: Arc<StoredResponse>,
        stored: &GroupTokens,
        now: Moment,
    ) -> Result<Option<Arc<StoredResponse>>, CommandError> {
        let (groups, stored) = (response.groups(), stored.as_slice());
        if groups.len() != stored.len() {
            return Ok(None);
        }
        let keys: Vec<_> = groups
            .iter()
            .map(|group| self.namespace.group(group))
            .collect();
        let (current, connection) = self.mget(&keys).await?;
        for (value, token) in current.iter().zip(stored) {
            let Some(value) = value else { return Ok(None) };
            if value.starts_with(token.as_ref()) {
                continue;
            }
            let since = expired_at(value, token).and_then(|stamp| connection.max_age(stamp));
            let Some(time) = since else { return Ok(None) };
            response = expired(response, now, time);
        }
        Ok(Some(response))
    }
}
