//! Invalidation: the removal of tokens. It has taken effect when Redis has acknowledged it.
//!
//! After a write that may still be committed, a tombstone is left in the place of the token. Until
//! it expires there is no token to capture, so nothing is stored at any instance.

use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::protocol_client::ProtocolClient;
use crate::backend::GraceScope;
use crate::backend::redis::connection::{CommandError, LuaScript, ScriptCall};
use crate::backend::redis::protocol::replies::token_held;
use crate::backend::redis::protocol::tokens::{AllGroups, TOMBSTONE};
use crate::backend::redis::protocol::ttl::{NAMESPACE_TTL, STRIPE_TTL, ttl_millis};
use crate::key::Resource;
use crate::semantics::groups::Group;

impl ProtocolClient {
    /// Invalidates all queries and variants of a resource, and all fills of it in flight. A
    /// tombstone stays.
    pub(crate) async fn invalidate_resource(
        &self,
        resource: &Resource,
    ) -> Result<(), CommandError> {
        let keys = self.namespace.fence_keys(resource);
        let arguments = || {
            let mut arguments = vec![Bytes::from_static(TOMBSTONE)];
            arguments.extend(changed_stripe());
            arguments
        };
        self.invalidate(&self.scripts.invalidate, &keys, arguments)
            .await
            .map(drop)
    }

    /// Invalidates a resource, and lets nothing of it be stored for `grace`.
    pub(crate) async fn bury_resource(
        &self,
        resource: &Resource,
        grace: Duration,
    ) -> Result<GraceScope, CommandError> {
        let keys = self.namespace.fence_keys(resource);
        let arguments = || {
            let ttl = tombstone_ttl(grace);
            vec![Bytes::from_static(TOMBSTONE), ttl.clone(), ttl]
        };
        self.invalidate(&self.scripts.invalidate_unknown, &keys, arguments)
            .await
    }

    /// Invalidates the responses of a group, and all fills in flight that would be in it. With
    /// `grace`, no member of any group is stored for that long.
    ///
    /// Both tokens go in one step: see the rules in `groups.rs`.
    pub(crate) async fn invalidate_group(
        &self,
        group: &Group,
        grace: Option<Duration>,
    ) -> Result<GraceScope, CommandError> {
        let keys = [self.namespace.all_groups(), self.namespace.group(group)];
        let arguments = || {
            let tombstone = Bytes::copy_from_slice(&AllGroups::random_tombstone());
            let ttl = grace.map_or(Bytes::from_static(b"0"), tombstone_ttl);
            vec![tombstone, ttl]
        };
        self.invalidate(&self.scripts.invalidate_groups, &keys, arguments)
            .await
    }

    /// Invalidates everything in the namespace. Tombstones stay.
    pub(crate) async fn clear(&self) -> Result<(), CommandError> {
        self.unlink(&[self.namespace.namespace_token()]).await
    }

    /// Runs a script that removes tokens, and says whether it has left tombstones as it was told.
    async fn invalidate(
        &self,
        script: &LuaScript,
        keys: &[String],
        arguments: impl Fn() -> Vec<Bytes>,
    ) -> Result<GraceScope, CommandError> {
        let call = ScriptCall {
            script,
            keys,
            arguments,
        };
        let is_kept = self.run(call, |reply| token_held(&reply)).await?;
        Ok(match is_kept {
            true => GraceScope::AllInstances,
            false => GraceScope::Refused,
        })
    }
}

/// The arguments by which a script changes the token of a stripe: random bytes, time to live.
pub(super) fn changed_stripe() -> [Bytes; 2] {
    let random = *Uuid::new_v4().as_bytes();
    [Bytes::copy_from_slice(&random), ttl_millis(STRIPE_TTL)]
}

/// The time to live of a tombstone. No write is awaited for longer than tokens live.
fn tombstone_ttl(grace: Duration) -> Bytes {
    ttl_millis(grace.min(NAMESPACE_TTL))
}
