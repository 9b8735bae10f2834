//! Answers with parts of a stored response (RFC 9110 §15.3.7), and that it has no such parts (§15.5.17).

use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::semantics::conditional::tag_of;
use crate::semantics::range::{content_range, no_such_range, part_head};

/// A status with what goes with it.
pub(super) struct Cut {
    pub(super) status: StatusCode,
    pub(super) pieces: Vec<Bytes>,
}

/// One part: 206 with its `Content-Range`.
pub(super) fn part(headers: &mut HeaderMap, content: &Bytes, part: &Range<u64>) -> Cut {
    let piece = slice(content, part);
    headers.insert(CONTENT_RANGE, content_range(part, content.len() as u64));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(piece.len()));
    Cut {
        status: StatusCode::PARTIAL_CONTENT,
        pieces: vec![piece],
    }
}

/// Several: 206 as `multipart/byteranges` (§14.6), each part with a `Content-Range` of its own.
pub(super) fn parts(headers: &mut HeaderMap, content: &Bytes, parts: &[Range<u64>]) -> Cut {
    let length = content.len() as u64;
    let boundary = boundary_for(content);
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    for part in parts {
        pieces.push(Bytes::from(part_head(&boundary, headers, part, length)));
        pieces.push(slice(content, part));
    }
    pieces.push(Bytes::from(format!("\r\n--{boundary}--\r\n")));
    let media_type = format!("multipart/byteranges; boundary={boundary}");
    let media_type = HeaderValue::try_from(media_type).expect("hexadecimal digits");
    headers.insert(CONTENT_TYPE, media_type);
    let sent: usize = pieces.iter().map(Bytes::len).sum();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(sent));
    Cut {
        status: StatusCode::PARTIAL_CONTENT,
        pieces,
    }
}

/// None: 416 with the length that there is.
pub(super) fn none(headers: &mut HeaderMap, content: &Bytes) -> Cut {
    headers.remove(CONTENT_TYPE);
    headers.insert(CONTENT_RANGE, no_such_range(content.len() as u64));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    Cut {
        status: StatusCode::RANGE_NOT_SATISFIABLE,
        pieces: Vec::new(),
    }
}

/// A word that the content does not hold. It depends on all of it, so that nobody writes one that holds it.
fn boundary_for(content: &Bytes) -> String {
    let tag = tag_of(content);
    let digest = tag.to_str().unwrap_or_default().trim_matches('"');
    (0_u32..)
        .map(|turn| format!("{digest}-{turn}"))
        .find(|boundary| !holds(content, boundary.as_bytes()))
        .unwrap_or_default()
}

fn holds(content: &[u8], word: &[u8]) -> bool {
    content.windows(word.len()).any(|window| window == word)
}

fn slice(content: &Bytes, part: &Range<u64>) -> Bytes {
    // Within what is in memory, so a usize can hold it.
    content.slice(part.start as usize..part.end as usize)
}
