//! Reading tokens, and creating those that are absent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use super::protocol_client::ProtocolClient;
use crate::backend::redis::connection::{CommandError, Connection, ScriptCall, ServerIdentity};
use crate::backend::redis::protocol::fence::{FenceTokens, RedisFence};
use crate::backend::redis::protocol::keys::STRIPES;
use crate::backend::redis::protocol::replies::{bulk_string, bulk_strings};
use crate::backend::redis::protocol::tokens::{
    AllGroups, AllGroupsToken, NamespaceToken, TOMBSTONE, Token, TokenScope,
};
use crate::backend::redis::protocol::ttl::{LEASE_TTL, NAMESPACE_TTL, ttl_millis};
use crate::key::Resource;
use crate::semantics::groups::Group;

/// # Fences without a lookup, for writes
impl ProtocolClient {
    /// Captures a fence of one resource; `None` if that has a tombstone.
    pub(crate) async fn capture_resource(
        &self,
        resource: &Resource,
    ) -> Result<Option<RedisFence>, CommandError> {
        let (namespace, connection) = self.namespace_token().await?;
        let lease = self.get_or_create_lease(connection.identity(), namespace, resource);
        let Some(lease) = lease.await? else {
            return Ok(None);
        };
        let all_groups = self.get_or_create_all_groups().await?;
        Ok(Some(RedisFence::for_resource(lease, all_groups)))
    }

    /// Captures a fence of all stripes, for a write whose response will name its resource.
    pub(crate) async fn capture_all_stripes(&self) -> Result<RedisFence, CommandError> {
        let tokens = FenceTokens::AllStripes(self.get_or_create_stripes().await?);
        let all_groups = self.get_or_create_all_groups().await?;
        Ok(RedisFence { tokens, all_groups })
    }
}

/// # Single tokens
impl ProtocolClient {
    /// Reads the namespace token, with the connection that it was read on.
    pub(super) async fn namespace_token(
        &self,
    ) -> Result<(Option<NamespaceToken>, Arc<Connection>), CommandError> {
        let (values, connection) = self.mget(&[self.namespace.namespace_token()]).await?;
        let token = values.into_iter().next().flatten();
        let token = token.and_then(|token| NamespaceToken::from_bytes(&token));
        Ok((token, connection))
    }

    /// Returns the namespace token that was read, or creates it if it was absent.
    async fn ensure_namespace(
        &self,
        token: Option<NamespaceToken>,
    ) -> Result<NamespaceToken, CommandError> {
        if let Some(token) = token {
            return Ok(token);
        }
        let call = ScriptCall {
            script: &self.scripts.get_or_create_namespace,
            keys: &[self.namespace.namespace_token()],
            arguments: || offer(NamespaceToken::random(), NAMESPACE_TTL),
        };
        self.run(call, |reply| {
            NamespaceToken::from_bytes(&bulk_string(reply)?)
        })
        .await
    }

    /// Returns the token of all groups or its tombstone; creates the token if it is absent.
    pub(super) async fn get_or_create_all_groups(&self) -> Result<AllGroups, CommandError> {
        let call = ScriptCall {
            script: &self.scripts.get_or_create_all_groups,
            keys: &[self.namespace.all_groups()],
            arguments: || offer(AllGroupsToken::random(), NAMESPACE_TTL),
        };
        self.run(call, |reply| AllGroups::from_bytes(&bulk_string(reply)?))
            .await
    }

    /// Returns the lease of a resource; creates it if none counts on this server. `None` if the
    /// resource has a tombstone.
    pub(super) async fn get_or_create_lease(
        &self,
        server: ServerIdentity,
        namespace: Option<NamespaceToken>,
        resource: &Resource,
    ) -> Result<Option<Token>, CommandError> {
        let namespace = self.ensure_namespace(namespace).await?;
        let scope = TokenScope::Resource(resource);
        let key = self.namespace.lease(resource);
        let call = ScriptCall {
            script: &self.scripts.get_or_create_lease,
            keys: &[key],
            arguments: || {
                let lease = Token::random(server, namespace, scope);
                offer_unless_buried(lease, LEASE_TTL)
            },
        };
        let parse = |reply| Token::parse_created(&bulk_string(reply)?, server, namespace, scope);
        self.run(call, parse).await
    }

    /// Returns the token of a group; creates it if none counts. It lives at least for `ttl`.
    pub(super) async fn get_or_create_group(
        &self,
        group: &Group,
        namespace: NamespaceToken,
        ttl: Duration,
    ) -> Result<Token, CommandError> {
        let server = self.pool.connection().await?.identity();
        let scope = TokenScope::Group(group);
        let call = ScriptCall {
            script: &self.scripts.get_or_create_group,
            keys: &[self.namespace.group(group)],
            arguments: || offer(Token::random(server, namespace, scope), ttl),
        };
        let parse = |reply| Token::parse(&bulk_string(reply)?, server, namespace, scope);
        self.run(call, parse).await
    }

    async fn get_or_create_stripes(&self) -> Result<Arc<[Option<Token>]>, CommandError> {
        let (namespace, connection) = self.namespace_token().await?;
        let server = connection.identity();
        let namespace = self.ensure_namespace(namespace).await?;
        let keys: Vec<_> = (0..STRIPES)
            .map(|stripe| self.namespace.stripe(stripe))
            .collect();
        let call = ScriptCall {
            script: &self.scripts.get_or_create_stripes,
            keys: &keys,
            arguments: || {
                let token = Token::random(server, namespace, TokenScope::Stripe);
                offer_unless_buried(token, LEASE_TTL)
            },
        };
        let parse = |reply: Value| {
            let tokens = bulk_strings(reply, STRIPES)?.into_iter();
            tokens
                .map(|token| Token::parse_created(&token?, server, namespace, TokenScope::Stripe))
                .collect()
        };
        self.run(call, parse).await
    }
}

/// Returns the arguments of the scripts that create a token.
fn offer(token: impl AsRef<[u8]>, ttl: Duration) -> Vec<Bytes> {
    vec![Bytes::copy_from_slice(token.as_ref()), ttl_millis(ttl)]
}

/// Returns the arguments of the scripts that create a token where no tombstone is.
fn offer_unless_buried(token: Token, ttl: Duration) -> Vec<Bytes> {
    let mut arguments = offer(token, ttl);
    arguments.push(Bytes::from_static(TOMBSTONE));
    arguments
}
