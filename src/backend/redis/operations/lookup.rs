//! The lookup: one round trip for a hit, a second one where a token is absent or has to be
//! compared.

use super::protocol_client::ProtocolClient;
use crate::backend::Lookup;
use crate::backend::redis::batching::{EntryReply, LookupReply};
use crate::backend::redis::connection::CommandError;
use crate::backend::redis::protocol::fence::RedisFence;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;

impl ProtocolClient {
    /// Looks a key up and captures the fence of the fill that may follow.
    pub(crate) async fn lookup(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> Result<Lookup<RedisFence>, CommandError> {
        let LookupReply { entry, all_groups } = self.batcher.lookup(key, now).await?;
        // Before the tokens of groups are compared: an invalidation that comes after the comparison
        // has to break this fence.
        let all_groups = match all_groups {
            Some(all_groups) => all_groups,
            None => Box::pin(self.get_or_create_all_groups()).await?,
        };
        // The further steps are boxed: they take kilobytes, which a hit should not carry.
        let lookup = match entry {
            EntryReply::Leased(lookup) => lookup,
            EntryReply::GroupMember {
                response,
                groups,
                lease,
            } => match Box::pin(self.groups_unchanged(&response, &groups)).await? {
                true => Lookup::Found(response, lease),
                false => Lookup::Miss(lease),
            },
            EntryReply::NoLease { server, namespace } => {
                let lease = self.get_or_create_lease(server, namespace, key.resource());
                Box::pin(lease)
                    .await?
                    .map_or(Lookup::Unfenced, Lookup::Miss)
            }
            EntryReply::Tombstone => Lookup::Unfenced,
        };
        Ok(lookup.map_fence(|lease| RedisFence::for_resource(lease, all_groups)))
    }
}
