//! `multipart/byteranges` (RFC 9110 §14.6): the boundary, and the heads of the parts.

use std::ops::Range;

use http::HeaderMap;
use http::header::CONTENT_RANGE;

use super::content_range::content_range;

/// Writes the head of one part: everything that stands before its bytes.
#[must_use]
pub fn multipart_part_head(
    boundary: &str,
    headers: &HeaderMap,
    part: &Range<u64>,
    length: u64,
) -> Vec<u8> {
    let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
    if let Some(media_type) = headers.get(http::header::CONTENT_TYPE) {
        head.extend_from_slice(b"content-type: ");
        head.extend_from_slice(media_type.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(CONTENT_RANGE.as_str().as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(content_range(part, length).as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    head
}

/// A boundary of 128 random bits (RFC 2046 §5.1.1).
///
/// A search for it in the content would take time in proportion to the content, for a few bytes of
/// it. No author of content knows the bits, and by chance they are in none.
#[must_use]
pub fn multipart_boundary(random_bits: u128) -> String {
    format!("{random_bits:032x}")
}
