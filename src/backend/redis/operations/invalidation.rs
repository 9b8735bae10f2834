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
    /// Both tokens go in one command: see the rules in `groups.rs`.
    pub(crate) async fn invalidate_group(&self, group: &Group) -> Result<(), CommandError> {
        let tokens = [self.namespace.all_groups(), self.namespace.group(group)];
        self.unlink(&tokens).await
    }

    /// Invalidates everything in the namespace.
    pub(crate) async fn clear(&self) -> Result<(), CommandError> {
        self.unlink(&[self.namespace.namespace_token()]).await
    }
}
