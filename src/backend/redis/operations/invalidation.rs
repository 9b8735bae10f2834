//! Invalidation: the removal of tokens. It has taken effect when Redis has acknowledged it.

use super::protocol_client::ProtocolClient;
use crate::backend::redis::connection::CommandError;
use crate::key::Resource;
use crate::semantics::groups::Group;

impl ProtocolClient {
    /// Invalidates all queries and variants of a resource, and all fills of it in flight.
    pub(crate) async fn invalidate_resource(
        &self,
        resource: &Resource,
    ) -> Result<(), CommandError> {
        self.unlink(&self.namespace.fence_keys(resource)).await
    }

    /// Invalidates the responses of a group, and all fills in flight that would be in it.
    ///
    /// The token of all groups goes first: see the rule in `groups.rs`.
    pub(crate) async fn invalidate_group(&self, group: &Group) -> Result<(), CommandError> {
        self.unlink(&[self.namespace.all_groups()]).await?;
        self.unlink(&[self.namespace.group(group)]).await
    }

    /// Invalidates everything in the namespace.
    pub(crate) async fn clear(&self) -> Result<(), CommandError> {
        self.unlink(&[self.namespace.namespace_token()]).await
    }
}
