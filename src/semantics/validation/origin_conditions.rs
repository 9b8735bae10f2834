//! The conditions that validate a stored response at the origin (RFC 9111 §4.3.1).

use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::entity_tag::EntityTag;

/// Returns the request fields that validate a stored response: its entity tag and its
/// `Last-Modified`, if it has them.
///
/// A tag that this cache made means nothing to the origin and is left out.
pub fn origin_conditions(stored: &HeaderMap) -> impl Iterator<Item = (HeaderName, &HeaderValue)> {
    let is_from_origin = |tag: &EntityTag<'_>| !tag.is_generated();
    let tag = EntityTag::from_headers(stored).filter(is_from_origin);
    let tag = tag.and_then(|_| stored.get(ETAG));
    let modified = stored.get(LAST_MODIFIED);
    let tag = tag.map(|value| (IF_NONE_MATCH, value));
    tag.into_iter()
        .chain(modified.map(|value| (IF_MODIFIED_SINCE, value)))
}
