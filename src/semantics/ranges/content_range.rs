//! `Content-Range` and `Range`, written and read for one part (RFC 9110 §14.4).

use std::ops::Range;

use http::header::CONTENT_RANGE;
use http::{HeaderMap, HeaderValue};

use crate::semantics::fields;

/// Writes the `Content-Range` of a part.
#[must_use]
pub fn content_range(part: &Range<u64>, length: u64) -> HeaderValue {
    let text = format!("bytes {}-{}/{length}", part.start, part.end - 1);
    HeaderValue::try_from(text).expect("digits")
}

/// Reads the part that a 206 carries and the length of the whole; `None` if `Content-Range` is
/// absent, given twice, malformed or contradicts itself.
#[must_use]
pub fn parse_content_range(headers: &HeaderMap) -> Option<(Range<u64>, u64)> {
    let line = fields::single(headers, &CONTENT_RANGE)?;
    let (unit, rest) = line.as_bytes().trim_ascii().split_at_checked(6)?;
    let slash = rest.iter().position(|byte| *byte == b'/')?;
    let (part, complete) = (&rest[..slash], &rest[slash + 1..]);
    let dash = part.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (
        fields::decimal(&part[..dash])?,
        fields::decimal(&part[dash + 1..])?,
    );
    let complete = fields::decimal(complete)?;
    let is_sound = unit.eq_ignore_ascii_case(b"bytes ") && first <= last && last < complete;
    is_sound.then(|| (first..last + 1, complete))
}

/// Writes `Range` for one part.
#[must_use]
pub fn range_header(part: &Range<u64>) -> HeaderValue {
    let text = format!("bytes={}-{}", part.start, part.end - 1);
    HeaderValue::try_from(text).expect("digits")
}

/// Writes the `Content-Range` of a 416.
#[must_use]
pub fn unsatisfied_content_range(length: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes */{length}")).expect("digits")
}
