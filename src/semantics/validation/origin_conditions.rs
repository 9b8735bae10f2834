//! The conditions that validate a stored response at the origin (RFC 9111 §4.3.1).

use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::entity_tag::EntityTag;
use crate::semantics::fields::{date, single};

/// Returns the request fields that validate a stored response: its entity tag and its
/// `Last-Modified`, if it has them.
///
/// A tag that this cache made means nothing to the origin and is left out. So is a `Last-Modified`
/// that is no date: a recipient must ignore it (RFC 9110 §13.1.3). There are none for a redirect or
/// an error: the origin evaluates conditions on the response that it would make now, and only if
/// that is a success (§13.2.1), so a 304 would be about another response.
pub fn origin_conditions(
    status: StatusCode,
    stored: &HeaderMap,
) -> impl Iterator<Item = (HeaderName, &HeaderValue)> {
    let is_from_origin = |tag: &EntityTag<'_>| !tag.is_generated();
    let is_own = |line: &&HeaderValue| EntityTag::of_line(line).filter(is_from_origin).is_some();
    let tag = single(stored, &ETAG).filter(is_own);
    // The date is looked at only by callers who need more than the tag.
    let modified = std::iter::once_with(|| {
        let is_date = date::is_in_field(stored, &LAST_MODIFIED);
        stored.get(LAST_MODIFIED).filter(|_| is_date)
    });
    let tag = tag.map(|value| (IF_NONE_MATCH, value));
    let modified = modified.flatten().map(|value| (IF_MODIFIED_SINCE, value));
    let conditions = tag.into_iter().chain(modified);
    conditions.filter(move |_| status.is_success())
}
