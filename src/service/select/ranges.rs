//! Answers with parts of a stored response (RFC 9110 §15.3.7), and that it has no such parts (§15.5.17).

use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::backend::StoredResponse;
use crate::semantics::conditional::tag_of;
use crate::semantics::parts::Parts;
use crate::semantics::range::{content_range, no_such_range, part_head};

/// Content that parts are taken of: all of a representation, or what is held of it.
#[derive(Clone, Copy)]
pub(crate) struct Source<'s> {
    content: &'s Bytes,
    parts: Option<&'s Parts>,
}

impl<'s> Source<'s> {
    pub(crate) fn whole(content: &'s Bytes) -> Self {
        let parts = None;
        Self { content, parts }
    }

    pub(crate) fn of(stored: &'s StoredResponse) -> Self {
        Self {
            content: stored.body(),
            parts: stored.parts(),
        }
    }

    pub(crate) fn content(&self) -> &'s Bytes {
        self.content
    }

    /// Of the whole representation.
    pub(crate) fn length(&self) -> u64 {
        let held = self.content.len() as u64;
        self.parts.map_or(held, Parts::complete)
    }

    /// `None` if some of it is not there.
    pub(crate) fn slice(&self, part: &Range<u64>) -> Option<Bytes> {
        let part = match self.parts {
            Some(parts) => parts.find(part)?,
            None => part.clone(),
        };
        // Within what is in memory, so a usize can hold it.
        let (start, end) = (part.start as usize, part.end as usize);
        (start <= end && end <= self.content.len()).then(|| self.content.slice(start..end))
    }
}

/// A status with what goes with it.
pub(crate) struct Cut {
    pub(crate) status: StatusCode,
    pub(crate) pieces: Vec<Bytes>,
}

/// One part: 206 with its `Content-Range`. `None` if it is not held.
pub(crate) fn part(headers: &mut HeaderMap, source: Source<'_>, part: &Range<u64>) -> Option<Cut> {
    let piece = source.slice(part)?;
    headers.insert(CONTENT_RANGE, content_range(part, source.length()));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(piece.len()));
    Some(Cut {
        status: StatusCode::PARTIAL_CONTENT,
        pieces: vec![piece],
    })
}

/// Several: 206 as `multipart/byteranges` (§14.6), each part with a `Content-Range` of its own. `None` if not all are held.
pub(crate) fn parts(
    headers: &mut HeaderMap,
    source: Source<'_>,
    parts: &[Range<u64>],
) -> Option<Cut> {
    let boundary = boundary_for(source.content);
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    for part in parts {
        let head = part_head(&boundary, headers, part, source.length());
        pieces.push(Bytes::from(head));
        pieces.push(source.slice(part)?);
    }
    pieces.push(Bytes::from(format!("\r\n--{boundary}--\r\n")));
    let media_type = format!("multipart/byteranges; boundary={boundary}");
    let media_type = HeaderValue::try_from(media_type).expect("hexadecimal digits");
    headers.insert(CONTENT_TYPE, media_type);
    let sent: usize = pieces.iter().map(Bytes::len).sum();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(sent));
    Some(Cut {
        status: StatusCode::PARTIAL_CONTENT,
        pieces,
    })
}

/// None: 416 with the length that there is.
pub(crate) fn none(headers: &mut HeaderMap, source: Source<'_>) -> Cut {
    headers.remove(CONTENT_TYPE);
    headers.insert(CONTENT_RANGE, no_such_range(source.length()));
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
