//! The header fields of a 304 (RFC 9110 §15.4.5).

use http::HeaderMap;
use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    LAST_MODIFIED, TRAILER,
};

use crate::semantics::fields::digest::{CONTENT_DIGEST, CONTENT_MD5};

/// Returns the header fields of a 304: of the representation's own only those that identify it.
///
/// The map is built anew: copying all fields and removing some costs more than sending the whole
/// head.
#[must_use]
pub fn not_modified_headers(headers: &HeaderMap) -> HeaderMap {
    // Most responses lose three of their fields. A map that is too large costs more than one that
    // grows.
    let mut kept = HeaderMap::with_capacity(headers.keys_len().saturating_sub(3));
    let mut is_tagged = false;
    for (name, value) in headers {
        match *name {
            CONTENT_LENGTH | CONTENT_TYPE | CONTENT_ENCODING | CONTENT_LANGUAGE | CONTENT_RANGE
            | TRAILER | LAST_MODIFIED => continue,
            // Of content that a 304 does not carry.
            _ if *name == CONTENT_DIGEST || *name == CONTENT_MD5 => continue,
            ETAG => is_tagged = true,
            _ => {}
        }
        kept.append(name, value.clone());
    }
    if !is_tagged && let Some(modified) = headers.get(LAST_MODIFIED) {
        kept.insert(LAST_MODIFIED, modified.clone());
    }
    kept
}
