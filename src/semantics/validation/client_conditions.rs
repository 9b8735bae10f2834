//! The conditions of a client's request (RFC 9110 §13.1).

use std::time::SystemTime;

use http::header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::entity_tag::EntityTag;
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
    match request.get(IF_NONE_MATCH) {
        Some(line) if is_quoted(line) && stored.get(ETAG) == Some(line) => true,
        Some(_) => if_none_match_matches(request, stored),
        None => request.contains_key(IF_MODIFIED_SINCE) && is_not_newer(request, stored, received),
    }
}

/// Returns whether a value looks like one tag. Comparing it as a whole answers most requests.
fn is_quoted(value: &HeaderValue) -> bool {
    matches!(
        value.as_bytes(),
        [b'"', .., b'"'] | [b'W', b'/', b'"', .., b'"']
    )
}

/// Returns whether the list is `*` or has the stored tag, compared weakly (RFC 9110 §13.1.2).
/// Malformed tags are ignored.
fn if_none_match_matches(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let own = EntityTag::from_headers(stored);
    fields::list(request, &IF_NONE_MATCH).any(|member| {
        let is_own = |tag: EntityTag<'_>| own.is_some_and(|own| own.matches_weakly(&tag));
        member == b"*" || EntityTag::parse(member).is_some_and(is_own)
    })
}

/// Returns whether the stored response is no newer than `If-Modified-Since` (RFC 9110 §13.1.3).
///
/// Without `Last-Modified` its `Date` counts, or else its arrival (RFC 9111 §4.3.2).
fn is_not_newer(request: &HeaderMap, stored: &HeaderMap, received: Moment) -> bool {
    let Some(since) = only_date(request, &IF_MODIFIED_SINCE, received) else {
        return false;
    };
    let modified = match stored.contains_key(LAST_MODIFIED) {
        true => only_date(stored, &LAST_MODIFIED, received),
        false => Some(only_date(stored, &DATE, received).unwrap_or(received.wall())),
    };
    modified.is_some_and(|modified| modified <= since)
}

/// Reads the date of a field; `None` if it has several lines or is no date (RFC 9110 §13.1.3:
/// ignored).
fn only_date(headers: &HeaderMap, name: &HeaderName, now: Moment) -> Option<SystemTime> {
    date::parse(fields::single(headers, name)?.as_bytes(), now.wall())
}
