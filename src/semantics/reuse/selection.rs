//! What of a response answers a request: all of it, that it has not changed, or parts (RFC 9110 §13, §14).

use std::ops::Range;

use http::header::{
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::semantics::moment::Moment;
use crate::semantics::ranges::{RequestedRanges, if_range_allows, requested_ranges};
use crate::semantics::validation::is_not_modified;

/// What a request gets of the response that is stored for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it.
    Whole,
    /// 304: the client has it (RFC 9110 §15.4.5).
    NotModified,
    /// 206 with one part (§15.3.7.1).
    Part(Range<u64>),
    /// 206 with several parts, in the order they were asked for (§15.3.7.2).
    Parts(Vec<Range<u64>>),
    /// 416: it has none of the parts that were asked for (§15.5.17).
    Unsatisfiable,
}

/// The response that a request may select from.
#[derive(Clone, Copy, Debug)]
pub struct StoredRepresentation<'s> {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: &'s HeaderMap,
    /// When it was received.
    pub received: Moment,
    /// The length of its content; `None` where that is not known, and for one with trailers: it has no parts then.
    pub length: Option<u64>,
}

/// Decides, in the order of RFC 9110 §13.2.2. Preconditions that are an origin's (`If-Match`, `If-Unmodified-Since`) are
/// not looked at (§13.1.1, §13.1.4).
#[must_use]
pub fn select_content(
    method: &Method,
    asked: &HeaderMap,
    subject: StoredRepresentation<'_>,
) -> Selection {
    if is_not_modified(asked, subject.status, subject.headers, subject.received) {
        return Selection::NotModified;
    }
    match subject.length {
        // A range is of a 200 to GET (§14.2).
        Some(length) if method == Method::GET && subject.status == StatusCode::OK => {
            part_of(asked, subject, length)
        }
        _ => Selection::Whole,
    }
}

fn part_of(asked: &HeaderMap, subject: StoredRepresentation<'_>, length: u64) -> Selection {
    if !asked.contains_key(RANGE) || !if_range_allows(asked, subject.headers, subject.received) {
        return Selection::Whole;
    }
    match requested_ranges(asked, length) {
        RequestedRanges::Whole => Selection::Whole,
        RequestedRanges::Unsatisfiable => Selection::Unsatisfiable,
        RequestedRanges::Parts(mut parts) if parts.len() == 1 => Selection::Part(parts.remove(0)),
        RequestedRanges::Parts(parts) => Selection::Parts(parts),
    }
}

/// Whether a request's field makes its answer one to conditions (RFC 9110 §13), or of a part (§14).
#[must_use]
pub fn is_condition_or_range(name: &HeaderName) -> bool {
    matches!(
        *name,
        IF_MATCH | IF_NONE_MATCH | IF_MODIFIED_SINCE | IF_UNMODIFIED_SINCE | IF_RANGE | RANGE
    )
}
