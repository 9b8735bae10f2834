//! Storing and removing entries, each in one step, under a token that still holds.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::invalidation::changed_stripe;
use super::protocol_client::ProtocolClient;
use crate::backend::redis::connection::{CommandError, Connection, ScriptCall};
use crate::backend::redis::protocol::entry::{EncodedResponse, GroupTokens};
use crate::backend::redis::protocol::fence::{FenceTokens, RedisFence};
use crate::backend::redis::protocol::keys::stripe_of;
use crate::backend::redis::protocol::replies::{Receipt, put_outcome, stored_if, token_held};
use crate::backend::redis::protocol::tokens::{TOMBSTONE, Token, TokenScope};
use crate::backend::redis::protocol::ttl::entry_ttl;
use crate::backend::{PutOutcome, StoredResponse};
use crate::key::{CacheKey, Resource};
use crate::semantics::moment::Moment;
use crate::semantics::stored::DetachedBody;

/// A captured token that counts on the server that a connection leads to.
struct CapturedToken {
    /// The key that the token was read from.
    key: String,
    token: Token,
    connection: Arc<Connection>,
}

impl ProtocolClient {
    /// Stores a response if its fence still holds.
    pub(crate) async fn put(
        &self,
        key: &CacheKey,
        fence: RedisFence,
        response: &StoredResponse,
        now: Moment,
    ) -> Result<PutOutcome, CommandError> {
        // A lookup needs the lease in the entry; `replace` creates one for a fence of stripes.
        let FenceTokens::Resource(lease) = fence.tokens else {
            return Ok(PutOutcome::Superseded);
        };
        let Some(captured) = self.captured_token(&fence, key.resource()).await? else {
            return Ok(PutOutcome::Superseded);
        };
        let groups = self.groups_under(&fence, &captured, response, now).await?;
        let Some(groups) = groups else {
            return Ok(PutOutcome::Superseded);
        };
        let (prefix, stamp) = (groups.encode_prefix(&lease), captured.connection.stamp());
        let times = (now, self.lease_ttl);
        let encoded = EncodedResponse::new(key, response, &prefix, stamp, times);
        let mut keys = vec![captured.key, self.namespace.namespace_token()];
        keys.extend(self.entry_keys(key, &encoded));
        let call = ScriptCall {
            script: &self.scripts.put,
            keys: &keys,
            arguments: || encoded.script_arguments(&lease, self.max_variants),
        };
        let put = self.run(call, |reply| put_outcome(&reply));
        let Some((body, ttl)) = encoded.body() else {
            return put.await;
        };
        // Until its entry is stored, the body does not match the former entry, which is a miss.
        let location = self.namespace.body(key);
        self.transfers.store_first(&location, body).await?;
        let outcome = put.await?;
        if outcome == PutOutcome::Stored {
            self.transfers.keep(&location, ttl).await?;
        }
        Ok(outcome)
    }

    /// Reads a range of the body of a stored response; `None` if it is gone.
    pub(crate) async fn read_body(
        &self,
        body: &DetachedBody,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, CommandError> {
        self.transfers.read(body, range).await
    }

    /// Invalidates a resource, and stores a response if its fence held until then.
    pub(crate) async fn replace(
        &self,
        key: &CacheKey,
        fence: RedisFence,
        response: &StoredResponse,
        now: Moment,
    ) -> Result<PutOutcome, CommandError> {
        let resource = key.resource();
        let Some(captured) = self.captured_token(&fence, resource).await? else {
            self.invalidate_resources(&[*resource]).await?;
            return Ok(PutOutcome::Superseded);
        };
        let groups = self.groups_under(&fence, &captured, response, now).await?;
        let Some(groups) = groups else {
            self.invalidate_resources(&[*resource]).await?;
            return Ok(PutOutcome::Superseded);
        };
        let scope = TokenScope::Resource(resource);
        let server = captured.connection.identity();
        let new_lease = Token::random(server, captured.token.namespace(), scope);
        let (prefix, stamp) = (
            groups.encode_prefix(&new_lease),
            captured.connection.stamp(),
        );
        let times = (now, self.lease_ttl);
        let encoded = EncodedResponse::new(key, response, &prefix, stamp, times);
        let mut keys = vec![captured.key];
        keys.extend(self.namespace.fence_keys(resource));
        keys.push(self.namespace.namespace_token());
        keys.extend(self.entry_keys(key, &encoded));
        let receipt = Receipt::random();
        // A retry offers the same lease again, unlike other scripts. That is safe: the first
        // attempt that stored has removed the captured token, so a second one stores nothing.
        let arguments = || {
            let mut arguments = encoded.script_arguments(&captured.token, self.max_variants);
            arguments.push(Bytes::copy_from_slice(new_lease.as_ref()));
            arguments.push(Bytes::from_static(TOMBSTONE));
            arguments.extend(changed_stripe());
            arguments.push(receipt.argument());
            arguments
        };
        let call = ScriptCall {
            script: &self.scripts.replace,
            keys: &keys,
            arguments,
        };
        let replaced = self.run(call, |reply| receipt.result(reply).map(stored_if));
        let outcome = replaced.await?;
        // After the invalidation, for which a write waits. Without its body the entry is a miss.
        if let (PutOutcome::Stored, Some((body, ttl))) = (outcome, encoded.body()) {
            let location = self.namespace.body(key);
            self.transfers.store(&location, body, ttl).await?;
        }
        Ok(outcome)
    }

    /// Removes the entry of a key if the fence still holds; returns whether it does.
    pub(crate) async fn remove(
        &self,
        key: &CacheKey,
        fence: RedisFence,
    ) -> Result<bool, CommandError> {
        let Some(captured) = self.captured_token(&fence, key.resource()).await? else {
            return Ok(false);
        };
        let call = ScriptCall {
            script: &self.scripts.remove,
            keys: &[
                captured.key,
                self.namespace.namespace_token(),
                self.namespace.entry(key),
                self.namespace.body(key),
            ],
            arguments: || vec![Bytes::copy_from_slice(captured.token.as_ref())],
        };
        self.run(call, |reply| token_held(&reply)).await
    }

    /// Returns the token of a fence for a resource; `None` if it was captured on another server, or
    /// if a tombstone was there.
    ///
    /// The script compares it, and the namespace token that it was made under.
    async fn captured_token(
        &self,
        fence: &RedisFence,
        resource: &Resource,
    ) -> Result<Option<CapturedToken>, CommandError> {
        let connection = self.pool.connection().await?;
        let [lease_key, stripe_key] = self.namespace.fence_keys(resource);
        let (key, token, scope) = match &fence.tokens {
            FenceTokens::Resource(lease) => {
                (lease_key, Some(*lease), TokenScope::Resource(resource))
            }
            FenceTokens::AllStripes(tokens) => {
                (stripe_key, tokens[stripe_of(resource)], TokenScope::Stripe)
            }
        };
        let Some(token) = token else {
            return Ok(None);
        };
        let counts = token.is_of(connection.identity(), scope);
        let captured = CapturedToken {
            key,
            token,
            connection,
        };
        Ok(counts.then_some(captured))
    }

    async fn groups_under(
        &self,
        fence: &RedisFence,
        captured: &CapturedToken,
        response: &StoredResponse,
        now: Moment,
    ) -> Result<Option<GroupTokens>, CommandError> {
        let ttl = entry_ttl(response, now);
        let made_for = (captured.connection.identity(), captured.token.namespace());
        self.capture_groups(response, fence.all_groups, made_for, ttl)
            .await
    }

    /// The keys of an entry and, for a response with variants, of their rule and their list.
    fn entry_keys(&self, key: &CacheKey, encoded: &EncodedResponse) -> Vec<String> {
        let mut keys = vec![self.namespace.entry(key)];
        if encoded.has_vary_rule() {
            keys.push(self.namespace.entry(&key.primary()));
            keys.push(self.namespace.variants(key));
        }
        keys
    }
}
