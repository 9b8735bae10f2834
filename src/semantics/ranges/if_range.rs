//! The `If-Range` of a request (RFC 9110 §13.1.5).

use http::HeaderMap;
use http::header::IF_RANGE;

use crate::semantics::fields::date;
use crate::semantics::fields::limits::MAX_REQUEST_FIELD;
use crate::semantics::moment::Moment;
use crate::semantics::validation::{EntityTag, strong_date};

/// Returns whether `If-Range` lets `Range` count: it is absent, or names the response by a strong
/// validator.
#[must_use]
pub fn if_range_allows(request: &HeaderMap, headers: &HeaderMap, received: Moment) -> bool {
    let mut lines = request.get_all(IF_RANGE).iter();
    let line = match (lines.next(), lines.next()) {
        (None, _) => return true,
        (Some(line), None) if line.len() <= MAX_REQUEST_FIELD => line.as_bytes().trim_ascii(),
        (Some(_), _) => return false,
    };
    if let Some(tag) = EntityTag::parse(line) {
        return EntityTag::from_headers(headers).is_some_and(|own| own.matches_strongly(&tag));
    }
    let named = date::parse(line, received.wall());
    named.is_some() && named == strong_date(headers, received)
}
