//! Storing and removing entries, each in one step, under a token that still holds.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::groups::GroupsToStore;
use super::invalidation::changed_stripe;
use super::protocol_client::ProtocolClient;
use super::transfers::LateBody;
use crate::backend::redis::connection::{CommandError, Connection, ScriptCall};
use crate::backend::redis::protocol::entry::{EncodedResponse, telling_bytes};
use crate::backend::redis::protocol::fence::{FenceTokens, RedisFence};
use crate::backend::redis::protocol::keys::{entry_of_body, stripe_of};
use crate::backend::redis::protocol::replies::{Receipt, put_outcome, stored_if, token_held};
use crate::backend::redis::protocol::tokens::{TOMBSTONE, Token, TokenScope};
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
        let Some(groups) = GroupsToStore::new(response, fence.all_groups) else {
            return Ok(PutOutcome::Superseded);
        };
        let (server, stamp) = (captured.connection.identity(), captured.connection.stamp());
        let encoded = EncodedResponse::new(key, response, stamp, (now, self.lease_ttl));
        if let Some(body) = encoded.body() {
            let name = self.namespace.temporary_body(key, &body.suffix);
            self.transfers.stores.store(name, &body.bytes).await?;
        }
        let mut keys = vec![captured.key, self.namespace.namespace_token()];
        keys.extend(self.entry_keys(key, &encoded));
        keys.extend(self.group_keys(&groups));
        let call = ScriptCall {
            script: &self.scripts.put,
            keys: &keys,
            arguments: || {
                let mut arguments = encoded.script_arguments(&lease, self.max_variants);
                arguments.push(groups.all_groups());
                arguments.extend(groups.new_tokens(server, lease.namespace()));
                arguments
            },
        };
        let put = self.run(call, |reply| put_outcome(&reply)).await;
        self.record_sent(key, &encoded, put.as_ref().ok());
        put
    }

    /// Reads a range of the body of a stored response; `None` if it is gone or damaged. An entry
    /// whose body is gone is of no use, and is removed.
    pub(crate) async fn read_body(
        &self,
        body: &DetachedBody,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, CommandError> {
        // A longer one is of an instance that stores longer ones.
        if body.length > self.transfers.reads.max_length() {
            return Ok(None);
        }
        let read = self.transfers.read(body, range).await?;
        if read.is_none() {
            self.remove_useless(body).await;
        }
        Ok(read)
    }

    /// Removes the entry of a body that is gone. If that fails, the entry expires.
    async fn remove_useless(&self, body: &DetachedBody) {
        let call = ScriptCall {
            script: &self.scripts.remove_useless,
            keys: &[entry_of_body(&body.location), body.location.to_string()],
            arguments: || vec![telling_bytes(body)],
        };
        if let Err(error) = self.run(call, |reply| token_held(&reply)).await {
            let error: &dyn Error = &error;
            tracing::debug!(error, "redis entry without a body not removed");
        }
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
        let captured = self.captured_token(&fence, resource).await?;
        let groups = GroupsToStore::new(response, fence.all_groups);
        let Some((captured, groups)) = captured.zip(groups) else {
            self.invalidate_resources(&[*resource]).await?;
            return Ok(PutOutcome::Superseded);
        };
        let (server, stamp) = (captured.connection.identity(), captured.connection.stamp());
        let namespace = captured.token.namespace();
        let new_lease = Token::random(server, namespace, TokenScope::Resource(resource));
        let encoded = EncodedResponse::new(key, response, stamp, (now, self.lease_ttl));
        let mut keys = vec![captured.key];
        keys.extend(self.namespace.fence_keys(resource));
        keys.push(self.namespace.namespace_token());
        keys.extend(self.entry_keys(key, &encoded));
        keys.extend(self.group_keys(&groups));
        let receipt = Receipt::random();
        // A retry offers the same lease again, unlike other scripts. That is safe: the first
        // attempt that stored has removed the captured token, so a second one stores nothing.
        let arguments = || {
            let mut arguments = encoded.script_arguments(&captured.token, self.max_variants);
            arguments.push(groups.all_groups());
            arguments.push(Bytes::copy_from_slice(new_lease.as_ref()));
            arguments.push(Bytes::from_static(TOMBSTONE));
            arguments.extend(changed_stripe());
            arguments.push(receipt.argument());
            arguments.extend(groups.new_tokens(server, namespace));
            arguments
        };
        let call = ScriptCall {
            script: &self.scripts.replace,
            keys: &keys,
            arguments,
        };
        let parse = |reply| receipt.result(reply).map(stored_if);
        let outcome = self.run(call, parse).await?;
        self.record_sent(key, &encoded, Some(&outcome));
        if let (PutOutcome::Stored, Some(body)) = (outcome, encoded.body()) {
            // A write waits for the acknowledged invalidation alone. The body is no part of it.
            let (name, count) = (self.namespace.entry(key), groups.count());
            let entry = encoded.stored_entry(name, new_lease, count);
            let late = LateBody {
                script: self.scripts.attach_body.clone(),
                arguments: encoded.attach_arguments(&entry),
                entry,
                location: self.namespace.body(key),
                temporary: self.namespace.temporary_body(key, &body.suffix),
                bytes: body.bytes.clone(),
            };
            (self.transfers.stores).attach_in_background(late, self.pool.clone());
        }
        Ok(outcome)
    }

    /// Records the size of an entry that was sent, for the deadlines of lookups and their batches.
    fn record_sent(&self, key: &CacheKey, encoded: &EncodedResponse, outcome: Option<&PutOutcome>) {
        self.pool.count_transferred(encoded.length());
        if outcome == Some(&PutOutcome::Stored) {
            self.batcher.record_stored(key, encoded.length());
        }
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
