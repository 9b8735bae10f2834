//! Conditions of a client's request (RFC 9110 §13.1).

use std::time::SystemTime;

use http::header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::entity_tag::EntityTag;
use crate::semantics::fields::{self, date};
use crate::semantics::moment::Moment;

/// Whether a request's own conditions say that it has the response already (RFC 9111 §4.3.2): `If-None-Match`, or else
/// `If-Modified-Since` (RFC 9110 §13.1.3). Both are for successful responses only (§13.2.1).
#[must_use]
pub fn is_not_modified(
    asked: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    received: Moment,
) -> bool {
    if !status.is_success() {
        return false;
    }
    match asked.get(IF_NONE_MATCH) {
        Some(line) if is_quoted(line) && stored.get(ETAG) == Some(line) => true,
        Some(_) => names(asked, stored),
        None => asked.contains_key(IF_MODIFIED_SINCE) && is_not_newer(asked, stored, received),
    }
}

/// Whether a value looks like a tag, which is all that most requests are found to be by: the very one that was sent.
fn is_quoted(value: &HeaderValue) -> bool {
    matches!(
        value.as_bytes(),
        [b'"', .., b'"'] | [b'W', b'/', b'"', .., b'"']
    )
}

/// §13.1.2: whether the list is `*` or names the response's tag, by weak comparison. What is no tag names nothing.
fn names(asked: &HeaderMap, stored: &HeaderMap) -> bool {
    let own = EntityTag::from_headers(stored);
    fields::list(asked, &IF_NONE_MATCH).any(|member| {
        let is_own = |tag: EntityTag<'_>| own.is_some_and(|own| own.matches_weakly(&tag));
        member == b"*" || EntityTag::parse(member).is_some_and(is_own)
    })
}

/// §13.1.3, with RFC 9111 §4.3.2 for responses without `Last-Modified`: then it is as old as its `Date`, or its receipt.
fn is_not_newer(asked: &HeaderMap, stored: &HeaderMap, received: Moment) -> bool {
    let Some(since) = only_date(asked, &IF_MODIFIED_SINCE, received) else {
        return false;
    };
    let modified = match stored.contains_key(LAST_MODIFIED) {
        true => only_date(stored, &LAST_MODIFIED, received),
        false => Some(only_date(stored, &DATE, received).unwrap_or(received.wall())),
    };
    modified.is_some_and(|modified| modified <= since)
}

/// A field's date; `None` where it has several lines, or one that is no date (§13.1.3: ignored).
fn only_date(headers: &HeaderMap, name: &HeaderName, now: Moment) -> Option<SystemTime> {
    date::parse(fields::single(headers, name)?.as_bytes(), now.wall())
}
