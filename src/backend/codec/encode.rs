//! Writes responses and rules.

use bytes::{BufMut, Bytes, BytesMut};

use super::field_writer::{put_extras, put_names};
use super::format::{CHECKED, FIXED, HEAD, MAGIC, RESPONSE, RULE, VERSION, checksum};
use crate::semantics::moment::Moment;
use crate::semantics::stored::StoredResponse;
use crate::semantics::vary::VaryRule;

/// Encodes a response as it is at `now`, after the bytes of `prefix`.
///
/// `stamp` is the time of the backend's clock, in a unit of its own. [`decode`](super::decode)
/// passes it back to ask how long the response was stored.
#[must_use]
pub fn encode(response: &StoredResponse, now: Moment, stamp: u64, prefix: &[u8]) -> Bytes {
    let mut meta = Vec::with_capacity(FIXED + response.packed_fields().len());
    put_response(&mut meta, response, now);
    wrap(RESPONSE, stamp, prefix, &meta, response.body_bytes())
}

/// Writes a response without its body.
pub(super) fn put_response(meta: &mut Vec<u8>, response: &StoredResponse, now: Moment) {
    let head = response.packed_head(now);
    meta.put_u16_le(head.flags);
    meta.put_u16_le(head.status);
    meta.put_u64_le(head.age.to_bits());
    meta.put_u64_le(head.lifetime.to_bits());
    meta.put_u32_le(head.cost);
    meta.put_u32_le(0);
    let start = meta.len();
    if let Some(extras) = response.packed_extras() {
        put_extras(meta, extras, &response.selecting_beside_vary());
        let length = (meta.len() - start) as u32;
        meta[start - 4..start].copy_from_slice(&length.to_le_bytes());
    }
    meta.put_slice(response.packed_fields());
}

/// Encodes the rule of responses that vary, after the bytes of `prefix`.
#[must_use]
pub fn encode_rule(rule: &VaryRule, stamp: u64, prefix: &[u8]) -> Bytes {
    let mut meta = Vec::new();
    put_names(&mut meta, rule.names());
    wrap(RULE, stamp, prefix, &meta, &[])
}

/// Returns the length of the names of fields, which end a rule encoded without a prefix. The rest
/// of it differs each time: checksum, stamp.
#[cfg(feature = "redis")]
pub(crate) fn rule_names_length(rule: &[u8]) -> usize {
    rule.len().saturating_sub(HEAD)
}

/// The number of bytes at the start of an encoded response, with the checksum of the rest, that
/// tell it from any other.
#[cfg(feature = "redis")]
pub(crate) const TELLING_LENGTH: usize = CHECKED;

pub(super) fn wrap(kind: u8, stamp: u64, prefix: &[u8], meta: &[u8], body: &[u8]) -> Bytes {
    let length = prefix.len() + HEAD + meta.len() + body.len();
    let mut encoded = BytesMut::with_capacity(length);
    encoded.put_slice(prefix);
    encoded.put_slice(MAGIC);
    encoded.put_u8(VERSION);
    encoded.put_u64_le(0);
    encoded.put_u64_le(stamp);
    encoded.put_u8(kind);
    encoded.put_u32_le(meta.len() as u32);
    encoded.put_slice(meta);
    encoded.put_slice(body);
    let checked = prefix.len() + CHECKED;
    let checksum = checksum(&encoded[checked..]);
    encoded[checked - 8..checked].copy_from_slice(&checksum.to_le_bytes());
    encoded.freeze()
}

/// Prepends magic number, version and a matching checksum to arbitrary bytes.
#[cfg(fuzzing)]
#[doc(hidden)]
#[must_use]
pub fn sealed(rest: &[u8]) -> Bytes {
    let checksum = checksum(rest).to_le_bytes();
    Bytes::from([&MAGIC[..], &[VERSION], &checksum, rest].concat())
}
