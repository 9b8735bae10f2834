//! Entries: a stored response behind the tokens that it depends on.
//!
//! ```text
//! entry = lease token 48 | number of groups 1 | group tokens 48 each | encoded response
//! ```
//!
//! The scripts that store put the tokens in front. A large body is not part of the entry. The entry
//! has checksums of its chunks, which tell it from any other body under the same key.
//!
//! Start with [`EncodedResponse::new`] and [`decode_entry`].

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use uuid::Uuid;

use super::expirations::expired_at;
use super::keys::listed_entry;
use super::tokens::Token;
use super::ttl::{entry_ttl, ttl_millis};
use crate::backend::codec::{self, Decoded};
use crate::backend::{Lookup, StoredResponse};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::stored::DetachedBody;

/// The largest body that is stored in its entry, in bytes. A larger one has a key of its own, so
/// that no lookup has to wait for it.
const MAX_BODY_IN_ENTRY: usize = 32 * 1024;

/// The tokens of the groups that a response is in, in the order of its groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupTokens(Arc<[Token]>);

impl GroupTokens {
    /// The number of groups that an entry has room for.
    pub(crate) const MAX: usize = u8::MAX as usize;

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn as_slice(&self) -> &[Token] {
        &self.0
    }

    /// Splits the tokens off an entry without its lease; `None` if it is too short.
    fn split_from(entry: &mut Bytes) -> Option<Self> {
        let count = usize::from(*entry.first()?);
        if count == 0 {
            entry.advance(1);
            return Some(Self::default());
        }
        let length = 1 + count * Token::LENGTH;
        if entry.len() < length {
            return None;
        }
        let tokens = entry.split_to(length).slice(1..);
        let tokens = tokens.chunks_exact(Token::LENGTH).map(Token::from_bytes);
        Some(Self(tokens.collect::<Option<_>>()?))
    }
}

/// A response, and the rule of its variants, encoded for the scripts that store.
pub(crate) struct EncodedResponse {
    /// The entry without its tokens.
    response: Bytes,
    /// The body, if it is not in the entry.
    body: Option<SeparateBody>,
    /// Empty for a response without variants.
    vary_rule: Bytes,
    /// The length of the names of fields at the end of the rule.
    vary_names: usize,
    ttl: Bytes,
    lease_ttl: Bytes,
    /// What the lease lists.
    listed: Bytes,
}

/// A body that has a key of its own.
pub(crate) struct SeparateBody {
    pub(crate) bytes: Bytes,
    /// What its temporary name ends with: see [`Namespace::temporary_body`].
    ///
    /// [`Namespace::temporary_body`]: super::keys::Namespace::temporary_body
    pub(crate) suffix: Box<str>,
}

impl EncodedResponse {
    /// Encodes a response with `stamp` as the server's time of writing. Its lease outlives it by
    /// `lease_ttl`.
    pub(crate) fn new(
        key: &CacheKey,
        response: &StoredResponse,
        stamp: u64,
        (now, lease_ttl): (Moment, Duration),
    ) -> Self {
        let rule = response.vary_rule();
        let ttl = entry_ttl(response, now);
        let vary_rule = rule.map_or_else(Bytes::new, |rule| codec::encode_rule(rule, stamp, &[]));
        let is_large = response.body_bytes().len() > MAX_BODY_IN_ENTRY;
        let encode = match is_large {
            true => codec::encode_detached,
            false => codec::encode,
        };
        Self {
            response: encode(response, now, stamp, &[]),
            body: is_large.then(|| SeparateBody {
                bytes: response.body(),
                suffix: Uuid::new_v4().simple().to_string().into(),
            }),
            vary_names: codec::rule_names_length(&vary_rule),
            vary_rule,
            ttl: ttl_millis(ttl),
            lease_ttl: ttl_millis(ttl.saturating_add(lease_ttl)),
            listed: Bytes::copy_from_slice(&listed_entry(key, (rule.is_some(), is_large))),
        }
    }

    /// Returns the number of bytes of the response in its entry.
    pub(crate) fn length(&self) -> usize {
        self.response.len()
    }

    /// Returns the body, if it is not in the entry.
    pub(crate) fn body(&self) -> Option<&SeparateBody> {
        self.body.as_ref()
    }

    /// Returns what tells the entry of this response from all others, if it is stored under `key`
    /// and `lease` with the tokens of so many groups.
    pub(crate) fn stored_entry(&self, key: String, lease: Token, groups: usize) -> StoredEntry {
        StoredEntry {
            key,
            lease,
            response_at: Token::LENGTH * (1 + groups) + 1,
            response: self.response.slice(..codec::TELLING_LENGTH),
        }
    }

    /// Returns the arguments of the script `ATTACH_BODY` for an entry of this response.
    pub(crate) fn attach_arguments(&self, entry: &StoredEntry) -> Vec<Bytes> {
        let suffix = self.body.as_ref().map_or("", |body| &body.suffix);
        vec![
            Bytes::copy_from_slice(entry.lease.as_ref()),
            entry.response_at.to_string().into(),
            entry.response.clone(),
            Bytes::copy_from_slice(suffix.as_bytes()),
            self.ttl.clone(),
        ]
    }

    pub(crate) fn has_vary_rule(&self) -> bool {
        !self.vary_rule.is_empty()
    }

    /// Returns the first nine arguments of the scripts `PUT` and `REPLACE`.
    pub(crate) fn script_arguments(&self, captured: &Token, max_variants: usize) -> Vec<Bytes> {
        let suffix = self.body.as_ref().map_or("", |body| &body.suffix);
        vec![
            Bytes::copy_from_slice(captured.as_ref()),
            self.response.clone(),
            self.ttl.clone(),
            self.lease_ttl.clone(),
            self.vary_rule.clone(),
            max_variants.to_string().into(),
            self.vary_names.to_string().into(),
            self.listed.clone(),
            Bytes::copy_from_slice(suffix.as_bytes()),
        ]
    }
}

/// An entry that has been stored, and how it begins.
#[derive(Clone, Debug)]
pub(crate) struct StoredEntry {
    pub(crate) key: String,
    lease: Token,
    /// Where the encoded response begins, behind the tokens.
    response_at: usize,
    /// The first bytes of the encoded response.
    response: Bytes,
}

impl StoredEntry {
    /// Returns how many bytes of a value tell whether it is this entry.
    pub(crate) fn telling_length(&self) -> usize {
        self.response_at + self.response.len()
    }

    /// Returns whether a value that begins so is this entry.
    pub(crate) fn is_beginning(&self, value: &[u8]) -> bool {
        value.starts_with(self.lease.as_ref())
            && value.get(self.response_at..self.telling_length()) == Some(&self.response[..])
    }
}

/// Returns bytes that the entry of a body contains, and no other entry: the body's length, and its
/// random number.
pub(crate) fn telling_bytes(body: &DetachedBody) -> Bytes {
    let numbers = [body.length.to_le_bytes(), body.seed.to_le_bytes()];
    Bytes::copy_from_slice(numbers.as_flattened())
}

/// A lease that counts, with its whole value.
#[derive(Clone, Debug)]
pub(crate) struct ReadLease {
    pub(crate) token: Token,
    pub(crate) value: Vec<u8>,
}

/// When the entry's token was changed, if it is an earlier one of the lease's.
#[cold]
fn expired_at_in(entry: &[u8], read: &ReadLease) -> Option<u64> {
    let token = Token::from_bytes(entry.get(..Token::LENGTH)?)?;
    expired_at(&read.value, &token)
}

/// Returns a response as one whose lifetime ended so long ago.
pub(crate) fn expired(
    response: Arc<StoredResponse>,
    now: Moment,
    time: Duration,
) -> Arc<StoredResponse> {
    let age = response.freshness().age(now).saturating_sub(time);
    response.made_stale_at_age(age).map_or(response, Arc::new)
}

/// Decodes an entry that must have been stored under `lease`, or under a token that it had before
/// its entries were made stale; anything else is a miss.
///
/// `max_age` returns the time since a stamp, and `body` the key of a body of its own. A
/// member of groups is returned with their tokens, which have to be compared before it may be used.
pub(crate) fn decode_entry(
    entry: Option<Vec<u8>>,
    read: &ReadLease,
    now: Moment,
    max_age: impl Fn(u64) -> Option<Duration>,
    body: impl FnOnce() -> String,
) -> (Lookup<Token>, GroupTokens) {
    let lease = read.token;
    let miss = (Lookup::Miss(lease), GroupTokens::default());
    let Some(mut entry) = entry.map(Bytes::from) else {
        return miss;
    };
    let mut expired_for = None;
    if !entry.starts_with(lease.as_ref()) {
        expired_for = expired_at_in(&entry, read).and_then(&max_age);
        if expired_for.is_none() {
            return miss;
        }
    }
    entry.advance(Token::LENGTH);
    let Some(groups) = GroupTokens::split_from(&mut entry) else {
        return miss;
    };
    let location = || Some(body().into_boxed_str());
    match codec::decode_located(&entry, location, now, &max_age) {
        Ok(Decoded::Response(response)) => {
            let response = match expired_for {
                None => response,
                Some(time) => expired(response, now, time),
            };
            (Lookup::Found(response, lease), groups)
        }
        Ok(Decoded::Rule(rule)) => (Lookup::Varies(rule, lease), GroupTokens::default()),
        Err(error) => {
            tracing::debug!(%error, "redis entry cannot be decoded; treated as a miss");
            miss
        }
    }
}
