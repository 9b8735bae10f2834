//! The validators of a message (RFC 9110 §8.8).

use std::time::{Duration, SystemTime};

use http::header::{DATE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue};

use super::entity_tag::EntityTag;
use crate::semantics::fields::date;
use crate::semantics::moment::Moment;

/// How much older than the response its `Last-Modified` must be to be a strong validator (RFC 9110
/// §8.8.2.2).
const STRONG_AFTER: Duration = Duration::from_secs(60);

/// Returns whether a message has a validator that can be read.
#[must_use]
pub fn has_validator(headers: &HeaderMap) -> bool {
    EntityTag::from_headers(headers).is_some() || date::is_in_field(headers, &LAST_MODIFIED)
}

/// Returns the strong validator of a response, to be sent in `If-Range`: its entity tag, or its
/// `Last-Modified`.
#[must_use]
pub fn strong_validator(headers: &HeaderMap, received: Moment) -> Option<&HeaderValue> {
    match EntityTag::from_headers(headers) {
        Some(tag) => headers.get(ETAG).filter(|_| !tag.is_weak),
        None => strong_date(headers, received).and_then(|_| headers.get(LAST_MODIFIED)),
    }
}

/// Returns whether two responses are parts of one representation, byte for byte (RFC 9111 §3.4).
///
/// They are if they have the same strong validator.
#[must_use]
pub fn is_same_representation(
    headers: &HeaderMap,
    received: Moment,
    other: &HeaderMap,
    now: Moment,
) -> bool {
    strong_validator(headers, received).is_some_and(|own| strong_validator(other, now) == Some(own))
}

/// Returns `Last-Modified` if it is a strong validator. A response without `Date` was made when it
/// arrived (RFC 9110 §6.6.1).
#[must_use]
pub fn strong_date(headers: &HeaderMap, received: Moment) -> Option<SystemTime> {
    let received = received.wall();
    let modified = date::of_field(headers, &LAST_MODIFIED, received)?;
    let sent = match headers.contains_key(DATE) {
        true => date::of_field(headers, &DATE, received)?,
        false => received,
    };
    let passed = sent.duration_since(modified).unwrap_or_default();
    (passed >= STRONG_AFTER).then_some(modified)
}
