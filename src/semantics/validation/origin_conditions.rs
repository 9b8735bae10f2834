//! Conditions that validate a stored response with the origin (RFC 9111 §4.3.1).

use http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::entity_tag::EntityTag;

/// The conditions that validate a stored response (RFC 9111 §4.3.1): its entity tag, and its `Last-Modified` where it has
/// one. A tag that this cache made means nothing to an origin.
pub fn origin_conditions(stored: &HeaderMap) -> impl Iterator<Item = (HeaderName, &HeaderValue)> {
    let is_an_origins = |tag: &EntityTag<'_>| !tag.is_generated();
    let tag = EntityTag::from_headers(stored).filter(is_an_origins);
    let tag = tag.and_then(|_| stored.get(ETAG));
    let modified = stored.get(LAST_MODIFIED);
    let tag = tag.map(|value| (IF_NONE_MATCH, value));
    tag.into_iter()
        .chain(modified.map(|value| (IF_MODIFIED_SINCE, value)))
}
