//! Writes responses and rules.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::AGE;

use super::field_writer::{put_bytes, put_duration, put_groups, put_headers, put_parts};
use super::format::{CHECKED, HEAD, MAGIC, RESPONSE, RULE, VERSION, checksum};
use crate::semantics::cache_status::CACHE_STATUS;
use crate::semantics::moment::Moment;
use crate::semantics::stored::StoredResponse;
use crate::semantics::vary::{VaryRule, VarySelection};

/// Encodes a response as it is at `now`, after the bytes of `prefix`.
///
/// `stamp` is the time of the backend's clock, in a unit of its own. [`decode`](super::decode)
/// passes it back to ask how long the response was stored.
#[must_use]
pub fn encode(response: &StoredResponse, now: Moment, stamp: u64, prefix: &[u8]) -> Bytes {
    let mut meta = BytesMut::with_capacity(1024);
    let freshness = response.freshness();
    put_bytes(&mut meta, response.identity());
    meta.put_u16_le(response.status().as_u16());
    put_duration(&mut meta, freshness.age(now));
    put_duration(&mut meta, freshness.lifetime.unwrap_or(Duration::MAX));
    let stale = &freshness.stale;
    for window in [
        stale.while_revalidate,
        stale.if_error,
        stale.if_unreachable,
        stale.validation,
    ] {
        put_duration(&mut meta, window);
    }
    meta.put_u8(u8::from(stale.is_forbidden));
    meta.put_u8(u8::from(freshness.immutable));
    put_duration(&mut meta, response.cost());
    put_bytes(
        &mut meta,
        response.vary_selection().map_or(&[], VarySelection::values),
    );
    put_groups(&mut meta, response.groups());
    put_parts(&mut meta, response.parts());
    put_headers(&mut meta, response.headers(), |name| {
        // Placeholders for the values of each answer, which `decode` creates anew.
        name == AGE || (name == CACHE_STATUS && !response.has_upstream_status())
    });
    meta.put_u8(u8::from(response.trailers().is_some()));
    if let Some(trailers) = response.trailers() {
        put_headers(&mut meta, trailers, |_| false);
    }
    wrap(RESPONSE, stamp, prefix, &meta, response.body())
}

/// Encodes the rule of responses that vary, after the bytes of `prefix`.
#[must_use]
pub fn encode_rule(rule: &VaryRule, stamp: u64, prefix: &[u8]) -> Bytes {
    let mut meta = BytesMut::new();
    meta.put_u32_le(rule.names().len() as u32);
    for name in rule.names() {
        put_bytes(&mut meta, name.as_str().as_bytes());
    }
    wrap(RULE, stamp, prefix, &meta, &[])
}

/// Returns the length of the names of fields, which end an encoded rule. The rest of it differs
/// each time: prefix, checksum, stamp.
#[cfg(feature = "redis")]
pub(crate) fn rule_names_length(rule: &[u8], prefix: usize) -> usize {
    rule.len().saturating_sub(prefix + HEAD)
}

fn wrap(kind: u8, stamp: u64, prefix: &[u8], meta: &[u8], body: &[u8]) -> Bytes {
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
