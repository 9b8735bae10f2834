//! Reads responses and rules.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::VARY;
use http::{HeaderMap, HeaderName};

use super::format::{DETACHED, FIXED, HEAD, MAGIC, RESPONSE, RULE, VERSION, checksum};
use super::untrusted_reader::FieldReader;
use super::{DecodeError, Decoded};
use crate::semantics::moment::Moment;
use crate::semantics::stored::{
    DetachedBody, Extras, PackedDuration, PackedHead, SelectedBy, StoredResponse,
};
use crate::semantics::vary::{Vary, VaryRule};

/// Decodes a response or a rule.
///
/// `now` is the moment of reading. `stored_for` returns how long the bytes with this stamp were
/// stored, by the clock of the backend, or `None` if it cannot tell. A large body is a slice of
/// `bytes`, without a copy. All else is copied at once, so that a small response does not keep
/// a large buffer.
///
/// # Errors
/// If `bytes` were not written by [`encode`](super::encode) or
/// [`encode_rule`](super::encode_rule) of this version. Never panics, whatever the bytes are.
pub fn decode(
    bytes: &Bytes,
    now: Moment,
    stored_for: impl FnOnce(u64) -> Option<Duration>,
) -> Result<Decoded, DecodeError> {
    decode_located(bytes, || None, now, stored_for)
}

/// Decodes a response or a rule as [`decode`] does, also a response whose body is elsewhere, at
/// `location`.
pub(crate) fn decode_located(
    bytes: &Bytes,
    location: impl FnOnce() -> Option<Box<str>>,
    now: Moment,
    stored_for: impl FnOnce(u64) -> Option<Duration>,
) -> Result<Decoded, DecodeError> {
    // Borrowed: a further handle of bytes that have only one is an allocation.
    let mut rest = &bytes[..];
    if rest.len() < HEAD || &rest[..3] != MAGIC {
        return Err(DecodeError::Magic);
    }
    if rest[3] != VERSION {
        return Err(DecodeError::Version(rest[3]));
    }
    rest.advance(4);
    if rest.get_u64_le() != checksum(rest) {
        return Err(DecodeError::Checksum);
    }
    let stored_for = stored_for(rest.get_u64_le()).ok_or(DecodeError::Undated)?;
    let kind = rest.get_u8();
    let length = rest.get_u32_le() as usize;
    if length > rest.len() {
        return Err(DecodeError::Malformed);
    }
    let body_length = rest.len() - length;
    let decoded = match kind {
        RESPONSE => decode_response((bytes, rest), (None, body_length), (now, stored_for))
            .map(|response| Decoded::Response(Arc::new(response))),
        DETACHED if body_length == 0 => location().and_then(|location| {
            let detached = take_detached(&mut rest, location)?;
            decode_response((bytes, rest), (Some(detached), 0), (now, stored_for))
                .map(|response| Decoded::Response(Arc::new(response)))
        }),
        RULE if body_length == 0 => decode_rule(bytes.slice_ref(rest)).map(Decoded::Rule),
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

/// Decodes the meta data of a response and its body, which are the end of `bytes`.
fn decode_response(
    (bytes, mut meta): (&Bytes, &[u8]),
    (detached, body_length): (Option<DetachedBody>, usize),
    times: (Moment, Duration),
) -> Option<StoredResponse> {
    let body_start = meta.len().checked_sub(body_length)?;
    if body_start < FIXED {
        return None;
    }
    let head = PackedHead {
        flags: meta.get_u16_le(),
        status: meta.get_u16_le(),
        age: PackedDuration::from_bits(meta.get_u64_le()),
        lifetime: PackedDuration::from_bits(meta.get_u64_le()),
        cost: meta.get_u32_le(),
    };
    let extras_length = meta.get_u32_le() as usize;
    let (extras, block) = meta.split_at_checked(extras_length)?;
    let (extras, selected) = match extras_length {
        0 => (Extras::default(), SelectedBy::default()),
        _ => FieldReader(bytes.slice_ref(extras)).extras()?,
    };
    let packed = (head, (extras, &selected));
    let response = StoredResponse::from_packed(packed, (bytes, block), detached, times)?;
    (response.body_bytes().len() == body_length).then_some(response)
}

/// Takes the description of a body off the meta data of a response. `None` if it is malformed.
fn take_detached(meta: &mut &[u8], location: Box<str>) -> Option<DetachedBody> {
    let length = meta.try_get_u64_le().ok()?;
    let seed = meta.try_get_u64_le().ok()?;
    let count = DetachedBody::chunk_count(length) as usize;
    if length == 0 || count > meta.len() / 8 {
        return None;
    }
    let checksums: Arc<[u64]> = (0..count).map(|_| meta.get_u64_le()).collect();
    Some(DetachedBody {
        location,
        length,
        seed,
        checksums,
    })
}
