//! Ranges of stored bytes: 206 with one part or several (RFC 9110 §15.3.7), and 416 (§15.5.17).

use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::backend::StoredResponse;
use crate::random::unpredictable_u128;
use crate::semantics::fields::digest;
use crate::semantics::ranges::PartialContent;
use crate::semantics::ranges::{
    content_range, multipart_boundary, multipart_part_head, remove_representation,
    unsatisfied_content_range,
};

/// Stored bytes that ranges are cut from: a whole representation, or the stored parts of one.
#[derive(Clone)]
pub(crate) struct Source<'s> {
    /// The bytes that are here.
    content: Bytes,
    /// Where in the representation they begin.
    start: u64,
    /// The length of the representation, unless there are parts of it.
    length: u64,
    parts: Option<&'s PartialContent>,
}

impl<'s> Source<'s> {
    /// All bytes of a representation.
    pub(crate) fn whole(content: Bytes) -> Self {
        Self {
            start: 0,
            length: content.len() as u64,
            content,
            parts: None,
        }
    }

    /// The bytes of a stored response, whole or parts.
    pub(crate) fn from_stored(stored: &'s StoredResponse) -> Self {
        Self {
            content: stored.body(),
            start: stored.body_start(),
            length: stored.body_length(),
            parts: stored.parts(),
        }
    }

    /// The stored bytes.
    pub(crate) fn content(&self) -> Bytes {
        self.content.clone()
    }

    /// The length of the whole representation, in bytes.
    pub(crate) fn length(&self) -> u64 {
        let parts = self.parts;
        parts.map_or(self.length, PartialContent::complete_length)
    }

    /// The bytes of a range, without a copy; `None` if some of them are not here.
    pub(crate) fn slice(&self, part: &Range<u64>) -> Option<Bytes> {
        let part = match self.parts {
            Some(parts) => parts.find(part)?,
            None => part.clone(),
        };
        let offset = |at: u64| usize::try_from(at.checked_sub(self.start)?).ok();
        let (start, end) = (offset(part.start)?, offset(part.end)?);
        (start <= end && end <= self.content.len()).then(|| self.content.slice(start..end))
    }
}

/// The length of the whole representation of a stored response, in bytes.
pub(crate) fn complete_length(stored: &StoredResponse) -> u64 {
    let parts = stored.parts();
    parts.map_or_else(|| stored.body_length(), PartialContent::complete_length)
}

/// The status and the body pieces of a cut response.
pub(crate) struct Cut {
    pub(crate) status: StatusCode,
    pub(crate) pieces: Vec<Bytes>,
}

/// A 206 with one part and its `Content-Range`; `None` if the part is not stored.
pub(crate) fn single_part(
    headers: &mut HeaderMap,
    source: &Source<'_>,
    part: &Range<u64>,
) -> Option<Cut> {
    let piece = source.slice(part)?;
    digest::remove_from_content(headers);
    headers.insert(CONTENT_RANGE, content_range(part, source.length()));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(piece.len()));
    Some(Cut {
        status: StatusCode::PARTIAL_CONTENT,
        pieces: vec![piece],
    })
}

/// A 206 with several parts as `multipart/byteranges` (RFC 9110 §14.6), each with its
/// `Content-Range`; `None` if not all are stored.
pub(crate) fn multipart(
    headers: &mut HeaderMap,
    source: &Source<'_>,
    parts: &[Range<u64>],
) -> Option<Cut> {
    let boundary = multipart_boundary(unpredictable_u128());
    let mut pieces = Vec::with_capacity(2 * parts.len() + 1);
    for part in parts {
        let head = multipart_part_head(&boundary, headers, part, source.length());
        pieces.push(Bytes::from(head));
        pieces.push(source.slice(part)?);
    }
    pieces.push(Bytes::from(format!("\r\n--{boundary}--\r\n")));
    digest::remove_from_content(headers);
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

/// A 416 with the length of the representation, and without the fields that describe it or let it
/// be stored: a 416 is not it.
pub(crate) fn unsatisfiable(headers: &mut HeaderMap, source: &Source<'_>) -> Cut {
    remove_representation(headers);
    headers.insert(CONTENT_RANGE, unsatisfied_content_range(source.length()));
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    Cut {
        status: StatusCode::RANGE_NOT_SATISFIABLE,
        pieces: Vec::new(),
    }
}
