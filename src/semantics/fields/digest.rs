//! Digests of content (RFC 9530).

use http::{HeaderMap, HeaderName};

/// The digest of the content of one message (RFC 9530 §2).
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
/// Its predecessor (RFC 2616 §14.15).
pub const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
/// The digest of the whole representation, whatever part of it a message carries (RFC 9530 §3).
pub const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// Its predecessor (RFC 3230 §4.3.2).
pub const DIGEST: HeaderName = HeaderName::from_static("digest");

/// Removes the digests of the content, for a message that carries other content of the
/// representation. Those of the representation stay.
pub fn remove_from_content(headers: &mut HeaderMap) {
    headers.remove(CONTENT_DIGEST);
    headers.remove(CONTENT_MD5);
}
