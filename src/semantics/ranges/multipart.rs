//! `multipart/byteranges` (RFC 9110 §14.6): the boundary, and the heads of the parts.

use std::ops::Range;

use http::HeaderMap;
use http::header::CONTENT_RANGE;

use crate::semantics::validation::generated_tag;

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

/// A boundary that does not occur in the content. It depends on all of the content, so that no
/// author can write content with the boundary in it.
#[must_use]
pub fn multipart_boundary(content: &[u8]) -> String {
    let tag = generated_tag(content);
    let digest = tag.to_str().unwrap_or_default().trim_matches('"');
    (0_u32..)
        .map(|turn| format!("{digest}-{turn}"))
        .find(|boundary| !holds(content, boundary.as_bytes()))
        .unwrap_or_default()
}

/// Whether a byte string occurs in the content.
fn holds(content: &[u8], word: &[u8]) -> bool {
    content.windows(word.len()).any(|window| window == word)
}
