//! The conditions of a client's request (RFC 9110 §13.1).

use http::header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::entity_tag::EntityTag;
use crate::semantics::fields::limits::{MAX_REQUEST_FIELD, is_longer_than};
use crate::semantics::fields::{self, date};
use crate::semantics::moment::Moment;

/// Returns whether a request's conditions say that the client has the response already (RFC 9111
/// §4.3.2).
///
/// `If-None-Match` is evaluated, or else `If-Modified-Since` (RFC 9110 §13.1.3). Both apply to
/// successful responses only (§13.2.1).
#[must_use]
pub fn is_not_modified(
    request: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    received: Moment,
) -> bool {
    if !status.is_success() {
        return false;
    }
    let tag = stored.get(ETAG).map(HeaderValue::as_bytes);
    match request.get(IF_NONE_MATCH) {
        Some(line) if is_tag(line, tag) => true,
        Some(_) => if_none_match_matches(request, stored),
        None => request.contains_key(IF_MODIFIED_SINCE) && is_not_newer(request, stored, received),
    }
}

/// Returns whether a request names the tag of the stored response, letter by letter, and nothing
/// else: it [has the response](is_not_modified) then. That needs one field of the stored ones, and
/// answers most conditional requests.
#[must_use]
pub fn has_stored_tag(request: &HeaderMap, status: StatusCode, tag: Option<&[u8]>) -> bool {
    let line = request.get(IF_NONE_MATCH);
    status.is_success() && line.is_some_and(|line| is_tag(line, tag))
}

/// Returns whether a value is this tag.
fn is_tag(line: &HeaderValue, tag: Option<&[u8]>) -> bool {
    let line = line.as_bytes();
    let is_quoted = matches!(line, [b'"', .., b'"'] | [b'W', b'/', b'"', .., b'"']);
    is_quoted && tag == Some(line)
}

/// Returns whether the list is `*` or has the stored tag, compared weakly (RFC 9110 §13.1.2).
/// Malformed tags are ignored, and so is a list beyond [`MAX_REQUEST_FIELD`].
fn if_none_match_matches(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if is_longer_than(MAX_REQUEST_FIELD, request, &IF_NONE_MATCH) {
        return false;
    }
    let own = EntityTag::from_headers(stored);
    fields::list(request, &IF_NONE_MATCH).any(|member| {
        let is_own = |tag: EntityTag<'_>| own.is_some_and(|own| own.matches_weakly(&tag));
        member == b"*" || EntityTag::parse(member).is_some_and(is_own)
    })
}

/// Returns whether the stored response is no newer than `If-Modified-Since` (RFC 9110 §13.1.3).
///
/// A value that is no date is ignored. Without `Last-Modified` the stored `Date` counts, or else
/// its arrival (RFC 9111 §4.3.2).
fn is_not_newer(request: &HeaderMap, stored: &HeaderMap, received: Moment) -> bool {
    let date_of = |headers, name| date::of_field(headers, name, received.wall());
    let Some(since) = date_of(request, &IF_MODIFIED_SINCE) else {
        return false;
    };
    let modified = match stored.contains_key(LAST_MODIFIED) {
        true => date_of(stored, &LAST_MODIFIED),
        false => Some(date_of(stored, &DATE).unwrap_or(received.wall())),
    };
    modified.is_some_and(|modified| modified <= since)
}
