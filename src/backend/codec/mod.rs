//! A stored response as bytes, for backends outside of this process.
//!
//! ```text
//! magic 3 | version 1 | checksum 8 | stamp 8 | kind 1 | length of meta 4 | meta | body
//! ```
//!
//! The checksum is over all that follows it. Everything is little-endian, text and lists are prefixed by their length.
//! Times are durations: no two machines' clocks are compared, so a response is as old as it was when it was written, plus
//! what the backend says it has been kept for, which it tells by the stamp that it gave. The body stands last, so that it
//! is a slice of what was read. A rule of responses that vary is kept in the same way: another kind, without body.
//!
//! What cannot be read is refused whole: another version, a flipped bit, a length that leads astray.

mod fields;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{AGE, VARY};
use http::{HeaderMap, HeaderName, StatusCode};
use siphasher::sip::SipHasher13;

use self::fields::{Reader, put_bytes, put_duration, put_groups, put_headers, put_parts};

use crate::semantics::cache_status::CACHE_STATUS;
use crate::semantics::freshness::Freshness;
use crate::semantics::freshness::Staleness;
use crate::semantics::moment::Moment;
use crate::semantics::ranges::PartialContent;
use crate::semantics::stored::{StoredHead, StoredResponse};
use crate::semantics::storing::StoragePolicy;
use crate::semantics::vary::{Vary, VaryRule, VarySelection};

const MAGIC: &[u8; 3] = b"trc";
/// Changes with everything below: what another version wrote is a miss.
const VERSION: u8 = 3;
const CHECKED: usize = MAGIC.len() + 1 + 8;
const HEAD: usize = CHECKED + 8 + 1 + 4;
const RESPONSE: u8 = 0;
const RULE: u8 = 1;

/// What was written down.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decoded {
    /// A response.
    Response(Arc<StoredResponse>),
    /// The rule of responses that vary.
    Rule(Arc<VaryRule>),
}

/// Why bytes are no stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// They do not begin like one.
    Magic,
    /// They are one of another version of this format.
    Version(u8),
    /// They are not what was written.
    Checksum,
    /// They contradict themselves.
    Malformed,
    /// There is no telling for how long they have been kept.
    Undated,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("not a stored response"),
            Self::Version(version) => write!(f, "a stored response of version {version}"),
            Self::Checksum => f.write_str("a stored response that was damaged"),
            Self::Malformed => f.write_str("a stored response that contradicts itself"),
            Self::Undated => f.write_str("a stored response of unknown age"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Writes a response as it is at `now`, behind `prefix`; `stamp` is for whoever keeps it, who will be asked by it for how
/// long that was.
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
        // The slots are made anew.
        name == AGE || (name == CACHE_STATUS && !response.has_upstream_status())
    });
    meta.put_u8(u8::from(response.trailers().is_some()));
    if let Some(trailers) = response.trailers() {
        put_headers(&mut meta, trailers, |_| false);
    }
    wrap(RESPONSE, stamp, prefix, &meta, response.body())
}

/// Writes the rule of responses that vary, behind `prefix`.
#[must_use]
pub fn encode_rule(rule: &VaryRule, stamp: u64, prefix: &[u8]) -> Bytes {
    let mut meta = BytesMut::new();
    meta.put_u32_le(rule.names().len() as u32);
    for name in rule.names() {
        put_bytes(&mut meta, name.as_str().as_bytes());
    }
    wrap(RULE, stamp, prefix, &meta, &[])
}

fn wrap(kind: u8, stamp: u64, prefix: &[u8], meta: &[u8], body: &[u8]) -> Bytes {
    let length = prefix.len() + HEAD + meta.len() + body.len();
    let mut whole = BytesMut::with_capacity(length);
    whole.put_slice(prefix);
    whole.put_slice(MAGIC);
    whole.put_u8(VERSION);
    whole.put_u64_le(0);
    whole.put_u64_le(stamp);
    whole.put_u8(kind);
    whole.put_u32_le(meta.len() as u32);
    whole.put_slice(meta);
    whole.put_slice(body);
    let checked = prefix.len() + CHECKED;
    let checksum = checksum(&whole[checked..]);
    whole[checked - 8..checked].copy_from_slice(&checksum.to_le_bytes());
    whole.freeze()
}

/// What is behind the checksum, whatever it is, with a right one.
#[cfg(fuzzing)]
#[doc(hidden)]
#[must_use]
pub fn sealed(rest: &[u8]) -> Bytes {
    let checksum = checksum(rest).to_le_bytes();
    Bytes::from([&MAGIC[..], &[VERSION], &checksum, rest].concat())
}

/// Reads what was written down; `kept` tells by its stamp for how long that has been, `None` if it cannot. A response's
/// body is a slice of `bytes`.
///
/// # Errors
/// When `bytes` are not what [`encode`] or [`encode_rule`] of this version has written. Never panics, whatever they are.
pub fn decode(
    bytes: &Bytes,
    now: Moment,
    kept: impl FnOnce(u64) -> Option<Duration>,
) -> Result<Decoded, DecodeError> {
    let mut rest = bytes.clone();
    if rest.len() < HEAD || &rest[..3] != MAGIC {
        return Err(DecodeError::Magic);
    }
    if rest[3] != VERSION {
        return Err(DecodeError::Version(rest[3]));
    }
    rest.advance(4);
    if rest.get_u64_le() != checksum(&rest) {
        return Err(DecodeError::Checksum);
    }
    let kept = kept(rest.get_u64_le()).ok_or(DecodeError::Undated)?;
    let kind = rest.get_u8();
    let length = rest.get_u32_le() as usize;
    if length > rest.len() {
        return Err(DecodeError::Malformed);
    }
    let meta = rest.split_to(length);
    let decoded = match kind {
        RESPONSE => read(meta, rest, kept, now).map(|read| Decoded::Response(Arc::new(read))),
        RULE if rest.is_empty() => read_rule(meta).map(Decoded::Rule),
        _ => None,
    };
    decoded.ok_or(DecodeError::Malformed)
}

fn read_rule(meta: Bytes) -> Option<Arc<VaryRule>> {
    let mut meta = Reader(meta);
    let mut names = HeaderMap::new();
    for _ in 0..meta.0.try_get_u32_le().ok()? {
        let name = HeaderName::from_bytes(&meta.bytes()?).ok()?;
        names.try_append(VARY, name.into()).ok()?;
    }
    match Vary::from_headers(&names) {
        Vary::Fields(rule) if meta.0.is_empty() => Some(rule),
        _ => None,
    }
}

fn read(meta: Bytes, body: Bytes, kept: Duration, now: Moment) -> Option<StoredResponse> {
    let mut meta = Reader(meta);
    let identity: Arc<[u8]> = meta.bytes()?.as_ref().into();
    let status = StatusCode::from_u16(meta.0.try_get_u16_le().ok()?).ok()?;
    let age = meta.duration()?;
    let lifetime = Some(meta.duration()?).filter(|lifetime| *lifetime != Duration::MAX);
    let stale = Staleness {
        while_revalidate: meta.duration()?,
        if_error: meta.duration()?,
        if_unreachable: meta.duration()?,
        validation: meta.duration()?,
        is_forbidden: meta.flag()?,
    };
    let immutable = meta.flag()?;
    let cost = meta.duration()?;
    let values = meta.bytes()?;
    let groups = meta.groups()?;
    let parts = meta.parts()?;
    let headers = meta.headers()?;
    let trailers = match meta.flag()? {
        false => None,
        true => Some(meta.headers()?),
    };
    let selected = match Vary::from_headers(&headers) {
        Vary::Absent => None,
        Vary::Fields(rule) => Some(VarySelection::from_values(rule, &values)),
        Vary::NeverMatches => return None,
    };
    if !meta.0.is_empty() || (selected.is_none() && !values.is_empty()) {
        return None;
    }
    let is_filled = |parts: &PartialContent| parts.held() == body.len() as u64;
    if !parts.as_ref().is_none_or(is_filled) {
        return None;
    }
    let freshness = Freshness {
        received: now,
        initial_age: age.saturating_add(kept),
        lifetime,
        stale,
        immutable,
    };
    let grant = StoragePolicy {
        freshness,
        selected,
        groups,
        withheld: Box::default(),
    };
    let mut head = StoredHead::from_owned(identity, status, headers, grant);
    if let Some(parts) = parts {
        head = head.with_parts(parts);
    }
    Some(head.with_shared_body(body, trailers, cost))
}

/// Against accidents, not against whoever can write to the backend: he could store what he likes.
fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}
