//! The content that a request gets of a stored response: all of it, none because the client has it,
//! or parts.
//!
//! This is the order of RFC 9110 §13.2.2.

use std::ops::Range;

use http::header::{
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};

use crate::semantics::moment::Moment;
use crate::semantics::ranges::{RequestedRanges, if_range_allows, requested_ranges};
use crate::semantics::validation::is_not_modified;

/// The content that a request gets of the response stored for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it.
    Whole,
    /// 304: the client has it (RFC 9110 §15.4.5).
    NotModified,
    /// 206 with one part (RFC 9110 §15.3.7.1).
    Part(Range<u64>),
    /// 206 with several parts, in the order of the request (RFC 9110 §15.3.7.2).
    Parts(Vec<Range<u64>>),
    /// 416: it has none of the requested parts (RFC 9110 §15.5.17).
    Unsatisfiable,
}

/// The stored response that a request selects from.
#[derive(Clone, Copy, Debug)]
pub struct StoredRepresentation<'s> {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: &'s HeaderMap,
    /// When it arrived.
    pub received: Moment,
    /// The length of its content. `None` if it is unknown, or if there are trailers: it has no
    /// parts then.
    pub length: Option<u64>,
}

/// Decides what a request gets, in the order of RFC 9110 §13.2.2.
///
/// `If-Match` and `If-Unmodified-Since` are not evaluated: they are for the origin (RFC 9110
/// §13.1.1, §13.1.4).
#[must_use]
pub fn select_content(
    method: &Method,
    request: &HeaderMap,
    stored: StoredRepresentation<'_>,
) -> Selection {
    if is_not_modified(request, stored.status, stored.headers, stored.received) {
        return Selection::NotModified;
    }
    match stored.length {
        // Ranges apply to a 200 to GET (RFC 9110 §14.2).
        Some(length) if method == Method::GET && stored.status == StatusCode::OK => {
            select_parts(request, stored, length)
        }
        _ => Selection::Whole,
    }
}

/// Evaluates `If-Range` and `Range` for content of `length` bytes.
fn select_parts(request: &HeaderMap, stored: StoredRepresentation<'_>, length: u64) -> Selection {
    if !request.contains_key(RANGE) || !if_range_allows(request, stored.headers, stored.received) {
        return Selection::Whole;
    }
    match requested_ranges(request, length) {
        RequestedRanges::Whole => Selection::Whole,
        RequestedRanges::Unsatisfiable => Selection::Unsatisfiable,
        RequestedRanges::Parts(mut parts) if parts.len() == 1 => Selection::Part(parts.remove(0)),
        RequestedRanges::Parts(parts) => Selection::Parts(parts),
    }
}

/// Returns whether a request field is a precondition (RFC 9110 §13) or asks for a part (§14).
#[must_use]
pub fn is_condition_or_range(name: &HeaderName) -> bool {
    matches!(
        *name,
        IF_MATCH | IF_NONE_MATCH | IF_MODIFIED_SINCE | IF_UNMODIFIED_SINCE | IF_RANGE | RANGE
    )
}
