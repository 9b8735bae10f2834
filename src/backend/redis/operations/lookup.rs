//! The lookup: one round trip for a hit, a second one where a token is absent or has to be
//! compared.

use super::protocol_client::ProtocolClient;
use crate::backend::redis::batching::{EntryReply, LookupReply};
use crate::backend::redis::connection::CommandError;
use crate::backend::redis::protocol::fence::RedisFence;
use crate::backend::redis::protocol::tokens::Token;
use crate::backend::{Lookup, LookupWithVariant};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;

impl ProtocolClient {
    /// Looks a key up and captures the fence of the fill that may follow.
    pub(crate) async fn lookup(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> Result<Lookup<RedisFence>, CommandError> {
        let LookupReply {
            entry, all_groups, ..
        } = self.batcher.lookup(key, None, now).await?;
        // Before the tokens of groups are compared: an invalidation that comes after the comparison
        // has to break this fence.
        let all_groups = self.ensure_all_groups(all_groups).await?;
        let lookup = self.complete(entry, key, now).await?;
        Ok(lookup.map_fence(|lease| RedisFence::for_resource(lease, all_groups)))
    }

    /// Looks a key up, and in the same step the variant that it is expected to lead to.
    pub(crate) async fn lookup_with_variant(
        &self,
        key: &CacheKey,
        variant: &CacheKey,
        now: Moment,
    ) -> Result<LookupWithVariant<RedisFence>, CommandError> {
        let reply = self.batcher.lookup(key, Some(variant), now).await?;
        let all_groups = self.ensure_all_groups(reply.all_groups).await?;
        let with_groups = |lookup: Lookup<Token>| {
            lookup.map_fence(|lease| RedisFence::for_resource(lease, all_groups))
        };
        let lookup = self.complete(reply.entry, key, now).await?;
        let variant = match reply.variant {
            Some(entry) => Some(with_groups(self.complete(entry, variant, now).await?)),
            None => None,
        };
        Ok((with_groups(lookup), variant))
    }

    /// Takes the further step that a reply needs, if any.
    async fn complete(
        &self,
        entry: EntryReply,
        key: &CacheKey,
        now: Moment,
    ) -> Result<Lookup<Token>, CommandError> {
        // The steps are boxed: they take kilobytes, which a hit should not carry.
        Ok(match entry {
            EntryReply::Leased(lookup) => lookup,
            EntryReply::GroupMember {
                response,
                groups,
                lease,
            } => match Box::pin(self.current_member(response, &groups, now)).await? {
                Some(response) => Lookup::Found(response, lease),
                None => Lookup::Miss(lease),
            },
            EntryReply::NoLease { server, namespace } => {
                let lease = self.get_or_create_lease(server, namespace, key.resource());
                Box::pin(lease)
                    .await?
                    .map_or(Lookup::Unfenced, Lookup::Miss)
            }
            EntryReply::Tombstone => Lookup::Unfenced,
        })
    }
}
