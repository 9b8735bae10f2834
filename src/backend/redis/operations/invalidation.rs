//! Invalidation: the removal of tokens. It has taken effect when Redis has acknowledged it.
//!
//! An expiration changes tokens instead, and keeps the earlier ones beside them: the responses that
//! were stored under these are stale.
//!
//! After a write that may still be committed, a tombstone is left in the place of the token. Until
//! it expires there is no token to capture, so nothing is stored at any instance.

use std::iter;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::protocol_client::ProtocolClient;
use crate::backend::redis::connection::{CommandError, LuaScript, ScriptCall};
use crate::backend::redis::protocol::expirations::stamp_argument;
use crate::backend::redis::protocol::replies::Receipt;
use crate::backend::redis::protocol::tokens::{AllGroups, TOMBSTONE};
use crate::backend::redis::protocol::ttl::{NAMESPACE_TTL, STRIPE_TTL, ttl_millis};
use crate::backend::{GraceScope, InvalidationTarget};
use crate::key::Resource;
use crate::semantics::groups::Group;

/// The most resources, and the most groups, that one command invalidates: a script that runs
/// delays all other commands of the server.
const MAX_KEYS: usize = 256;

impl ProtocolClient {
    /// Invalidates resources and groups, with one command for [`MAX_KEYS`] of each; with `grace`,
    /// nothing of them is stored for that long.
    pub(crate) async fn invalidate_many(
        &self,
        targets: &[InvalidationTarget],
        grace: Option<Duration>,
    ) -> Result<(), CommandError> {
        let (resources, groups) = sorted(targets);
        for resources in resources.chunks(MAX_KEYS) {
            match grace {
                None => self.invalidate_resources(resources).await?,
                Some(grace) => drop(self.bury_resources(resources, grace).await?),
            }
        }
        for groups in groups.chunks(MAX_KEYS) {
            let _ = self.invalidate_groups(groups, grace).await?;
        }
        Ok(())
    }

    /// Invalidates all queries and variants of resources, and all fills of them in flight.
    /// Tombstones stay.
    pub(crate) async fn invalidate_resources(
        &self,
        resources: &[Resource],
    ) -> Result<(), CommandError> {
        let arguments = || {
            let mut arguments = vec![Bytes::from_static(TOMBSTONE)];
            arguments.extend(changed_stripe());
            arguments
        };
        self.invalidate(
            &self.scripts.invalidate,
            &self.keys_of(resources),
            arguments,
        )
        .await
        .map(drop)
    }

    /// Invalidates resources, and lets nothing of them be stored for `grace`.
    pub(crate) async fn bury_resources(
        &self,
        resources: &[Resource],
        grace: Duration,
    ) -> Result<GraceScope, CommandError> {
        let arguments = || vec![Bytes::from_static(TOMBSTONE), tombstone_ttl(grace)];
        let keys = self.keys_of(resources);
        self.invalidate(&self.scripts.invalidate_unknown, &keys, arguments)
            .await
    }

    fn keys_of(&self, resources: &[Resource]) -> Vec<String> {
        let keys = resources
            .iter()
            .flat_map(|resource| self.namespace.fence_keys(resource));
        keys.collect()
    }

    fn keys_of_groups(&self, groups: &[Group]) -> Vec<String> {
        let names = groups.iter().map(|group| self.namespace.group(group));
        iter::once(self.namespace.all_groups())
            .chain(names)
            .collect()
    }

    /// Invalidates the responses of groups, and all fills in flight that would be in one. With
    /// `grace`, no member of any group is stored for that long.
    ///
    /// All tokens go in one step: see the rules in `groups.rs`.
    pub(crate) async fn invalidate_groups(
        &self,
        groups: &[Group],
        grace: Option<Duration>,
    ) -> Result<GraceScope, CommandError> {
        let keys = self.keys_of_groups(groups);
        let arguments = || {
            let tombstone = Bytes::copy_from_slice(&AllGroups::random_tombstone());
            let ttl = grace.map_or(Bytes::from_static(b"0"), tombstone_ttl);
            vec![tombstone, ttl]
        };
        self.invalidate(&self.scripts.invalidate_groups, &keys, arguments)
            .await
    }

    /// Makes the stored responses of resources and groups stale since a while ago, with one command
    /// for [`MAX_KEYS`] of each, and breaks their fences. Tombstones stay.
    pub(crate) async fn expire(
        &self,
        targets: &[InvalidationTarget],
        ago: Duration,
    ) -> Result<(), CommandError> {
        let (resources, groups) = sorted(targets);
        let now = self.pool.connection().await?.stamp();
        let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        let stamp = stamp_argument(now.saturating_sub(ago));
        for resources in resources.chunks(MAX_KEYS) {
            let arguments = || {
                let mut arguments = vec![Bytes::from_static(TOMBSTONE)];
                arguments.extend(changed_stripe());
                arguments.push(stamp.clone());
                arguments
            };
            let keys = self.keys_of(resources);
            self.invalidate(&self.scripts.expire, &keys, arguments)
                .await?;
        }
        for groups in groups.chunks(MAX_KEYS) {
            let arguments = || {
                let tombstone = Bytes::copy_from_slice(&AllGroups::random_tombstone());
                let [random, _] = changed_stripe();
                vec![tombstone, random, stamp.clone()]
            };
            let keys = self.keys_of_groups(groups);
            self.invalidate(&self.scripts.expire_groups, &keys, arguments)
                .await?;
        }
        Ok(())
    }

    /// Invalidates everything in the namespace. Tombstones stay.
    pub(crate) async fn clear(&self) -> Result<(), CommandError> {
        let keys = [self.namespace.namespace_token()];
        let cleared = self.invalidate(&self.scripts.clear, &keys, Vec::new);
        cleared.await.map(drop)
    }

    /// Runs a script that removes tokens, and says whether it has left tombstones as it was told.
    async fn invalidate(
        &self,
        script: &LuaScript,
        keys: &[String],
        arguments: impl Fn() -> Vec<Bytes>,
    ) -> Result<GraceScope, CommandError> {
        let receipt = Receipt::random();
        let call = ScriptCall {
            script,
            keys,
            arguments: || {
                let mut arguments = arguments();
                arguments.push(receipt.argument());
                arguments
            },
        };
        let is_kept = self.run(call, |reply| receipt.result(reply)).await?;
        Ok(match is_kept {
            true => GraceScope::AllInstances,
            false => GraceScope::Refused,
        })
    }
}

/// The resources and the groups among targets.
fn sorted(targets: &[InvalidationTarget]) -> (Vec<Resource>, Vec<Group>) {
    let (mut resources, mut groups) = (Vec::new(), Vec::new());
    for target in targets {
        match target {
            InvalidationTarget::Resource(resource) => resources.push(*resource),
            InvalidationTarget::Group(group) => groups.push(*group),
        }
    }
    (resources, groups)
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
