//! Reads responses and rules.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::VARY;
use http::{HeaderMap, HeaderName, StatusCode};

use super::format::{HEAD, MAGIC, RESPONSE, RULE, VERSION, checksum};
use super::untrusted_reader::FieldReader;
use super::{DecodeError, Decoded};
use crate::semantics::freshness::{Freshness, Staleness};
use crate::semantics::moment::Moment;
use crate::semantics::ranges::PartialContent;
use crate::semantics::stored::{StoredHead, StoredResponse};
use crate::semantics::storing::StoragePolicy;
use crate::semantics::vary::{Vary, VaryRule, VarySelection};

/// Decodes a response or a rule.
///
/// `now` is the moment of reading. `stored_for` returns how long the bytes with this stamp were
/// stored, by the clock of the backend, or `None` if it cannot tell. The body of a response is a
/// slice of `bytes`; nothing is copied.
///
/// # Errors
/// If `bytes` were not written by [`encode`](super::encode) or
/// [`encode_rule`](super::encode_rule) of this version. Never panics, whatever the bytes are.
pub fn decode(
    bytes: &Bytes,
    now: Moment,
    stored_for: impl FnOnce(u64) -> Option<Duration>,
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
    let stored_for = stored_for(rest.get_u64_le()).ok_or(DecodeError::Undated)?;
    let kind = rest.get_u8();
    let length = rest.get_u32_le() as usize;
    if length > rest.len() {
        return Err(DecodeError::Malformed);
    }
    let meta = rest.split_to(length);
    let decoded = match kind {
        RESPONSE => decode_response(meta, rest, stored_for, now)
            .map(|response| Decoded::Response(Arc::new(response))),
        RULE if rest.is_empty() => decode_rule(meta).map(Decoded::Rule),
        _ => None,
    };
    decoded.ok_or(DecodeError::Malformed)
}

fn decode_rule(meta: Bytes) -> Option<Arc<VaryRule>> {
    let mut meta = FieldReader(meta);
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

fn decode_response(
    meta: Bytes,
    body: Bytes,
    stored_for: Duration,
    now: Moment,
) -> Option<StoredResponse> {
    let mut meta = FieldReader(meta);
    let identity: Arc<[u8]> = meta.bytes()?.as_ref().into();
    let status = StatusCode::from_u16(meta.0.try_get_u16_le().ok()?).ok()?;
    let freshness = read_freshness(&mut meta, stored_for, now)?;
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
    let fits_body = |parts: &PartialContent| parts.stored_bytes() == body.len() as u64;
    if !parts.as_ref().is_none_or(fits_body) {
        return None;
    }
    let policy = StoragePolicy {
        freshness,
        selected,
        groups,
        withheld: Box::default(),
    };
    let mut head = StoredHead::from_owned(identity, status, headers, policy);
    if let Some(parts) = parts {
        head = head.with_parts(parts);
    }
    Some(head.with_shared_body(body, trailers, cost))
}

fn read_freshness(meta: &mut FieldReader, stored_for: Duration, now: Moment) -> Option<Freshness> {
    let age = meta.duration()?;
    let lifetime = Some(meta.duration()?).filter(|lifetime| *lifetime != Duration::MAX);
    let stale = Staleness {
        while_revalidate: meta.duration()?,
        if_error: meta.duration()?,
        if_unreachable: meta.duration()?,
        validation: meta.duration()?,
        is_forbidden: meta.flag()?,
    };
    Some(Freshness {
        received: now,
        initial_age: age.saturating_add(stored_for),
        lifetime,
        stale,
        immutable: meta.flag()?,
    })
}
