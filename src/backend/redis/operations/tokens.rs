//! Reading tokens, and creating those that are absent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use super::protocol_client::ProtocolClient;
use crate::backend::redis::connection::{CommandError, ScriptCall, ServerIdentity};
use crate::backend::redis::protocol::fence::{FenceTokens, RedisFence};
use crate::backend::redis::protocol::keys::STRIPES;
use crate::backend::redis::protocol::replies::{bulk_string, bulk_strings};
use crate::backend::redis::protocol::tokens::{
    AllGroups, AllGroupsToken, NamespaceToken, TOMBSTONE, Token, TokenScope,
};
use crate::backend::redis::protocol::ttl::{NAMESPACE_TTL, STRIPE_TTL, ttl_millis};
use crate::key::Resource;

/// # Fences without a lookup, for writes
impl ProtocolClient {
    /// Captures a fence of one resource; `None` if that has a tombstone.
    pub(crate) async fn capture_resource(
        &self,
        resource: &Resource,
    ) -> Result<Option<RedisFence>, CommandError> {
        let read = self.read_tokens([self.namespace.lease(resource)]).await?;
        let lease = read.tokens.into_iter().next().flatten();
        if lease.as_deref() == Some(TOMBSTONE) {
            return Ok(None);
        }
        let parse = |(lease, namespace): (Vec<u8>, _)| {
            Token::parse_lease(&lease, read.server, namespace, resource)
        };
        let lease = match lease.zip(read.namespace).and_then(parse) {
            Some(lease) => lease,
            None => {
                let created = self.get_or_create_lease(read.server, read.namespace, resource);
                let Some(lease) = created.await? else {
                    return Ok(None);
                };
                lease
            }
        };
        let all_groups = self.ensure_all_groups(read.all_groups).await?;
        Ok(Some(RedisFence::for_resource(lease, all_groups)))
    }

    /// Captures a fence of all stripes, for a write whose response will name its resource.
    pub(crate) async fn capture_all_stripes(&self) -> Result<RedisFence, CommandError> {
        let stripes = (0..STRIPES).map(|stripe| self.namespace.stripe(stripe));
        let read = self.read_tokens(stripes).await?;
        let parse = |namespace| {
            let scope = TokenScope::Stripe;
            let one = |value: &Option<Vec<u8>>| {
                Token::parse_created(value.as_deref()?, read.server, namespace, scope)
            };
            read.tokens.iter().map(one).collect()
        };
        let tokens = match read.namespace.and_then(parse) {
            Some(tokens) => tokens,
            None => {
                self.get_or_create_stripes(read.server, read.namespace)
                    .await?
            }
        };
        let all_groups = self.ensure_all_groups(read.all_groups).await?;
        let tokens = FenceTokens::AllStripes(tokens);
        Ok(RedisFence { tokens, all_groups })
    }

    /// Reads the values of tokens, with the tokens that all fences depend on.
    async fn read_tokens(
        &self,
        keys: impl IntoIterator<Item = String>,
    ) -> Result<TokensRead, CommandError> {
        let shared = [
            self.namespace.namespace_token(),
            self.namespace.all_groups(),
        ];
        let keys: Vec<_> = shared.into_iter().chain(keys).collect();
        let (mut values, connection) = self.mget(&keys).await?;
        let tokens = values.split_off(2);
        let all_groups = values.pop().flatten();
        let namespace = values.pop().flatten();
        Ok(TokensRead {
            server: connection.identity(),
            namespace: namespace.and_then(|token| NamespaceToken::from_bytes(&token)),
            all_groups: all_groups.and_then(|token| AllGroups::from_bytes(&token)),
            tokens,
        })
    }
}

/// Tokens in one atomic reading; `None` where one is absent.
struct TokensRead {
    server: ServerIdentity,
    namespace: Option<NamespaceToken>,
    all_groups: Option<AllGroups>,
    tokens: Vec<Option<Vec<u8>>>,
}

/// # Single tokens
impl ProtocolClient {
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

    /// Returns the token of all groups that was read, or creates it if it was absent.
    pub(super) async fn ensure_all_groups(
        &self,
        read: Option<AllGroups>,
    ) -> Result<AllGroups, CommandError> {
        match read {
            Some(read) => Ok(read),
            // Boxed: it takes kilobytes, which a hit should not carry.
            None => Box::pin(self.get_or_create_all_groups()).await,
        }
    }

    /// Returns the token of all groups or its tombstone; creates the token if it is absent.
    async fn get_or_create_all_groups(&self) -> Result<AllGroups, CommandError> {
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
                offer_unless_buried(lease, self.lease_ttl)
            },
        };
        let parse = |reply| Token::parse_created(&bulk_string(reply)?, server, namespace, scope);
        self.run(call, parse).await
    }

    async fn get_or_create_stripes(
        &self,
        server: ServerIdentity,
        namespace: Option<NamespaceToken>,
    ) -> Result<Arc<[Option<Token>]>, CommandError> {
        let namespace = self.ensure_namespace(namespace).await?;
        let keys: Vec<_> = (0..STRIPES)
            .map(|stripe| self.namespace.stripe(stripe))
            .collect();
        let call = ScriptCall {
            script: &self.scripts.get_or_create_stripes,
            keys: &keys,
            arguments: || {
                let token = Token::random(server, namespace, TokenScope::Stripe);
                offer_unless_buried(token, STRIPE_TTL)
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
