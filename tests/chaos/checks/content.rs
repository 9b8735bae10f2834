//! Whole content, or the part that was asked for, and lengths that agree.

use std::ops::Range;

use http::{HeaderMap, Method, StatusCode, response};

use super::Asked;
use super::ranges::{parts, ranges, sent_range};
use crate::database::Representation;
use crate::origin::{CALL, Known, LIE, REPRESENTATION, field};

/// The body of an answer.
#[derive(Default)]
pub struct Content {
    pub bytes: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    /// The error it ended with, if there was one.
    pub error: Option<String>,
}

/// Checks a body that has ended; returns the version of its content.
pub fn check_content(
    known: &Known,
    asked: &Asked,
    head: &response::Parts,
    content: &Content,
) -> Option<u64> {
    if let Some(error) = &content.error {
        check_broken(known, asked, error);
    }
    let status = head.status.as_u16();
    let bodiless = [204, 304].contains(&status) || asked.method == Method::HEAD;
    if bodiless && !content.bytes.is_empty() {
        asked.broke(known, "content where none may be");
    }
    if !bodiless && content.error.is_none() {
        check_length(known, asked, head, content);
    }
    let id = field(&head.headers, REPRESENTATION).parse().ok()?;
    let named = known.database.representation_of_id(id)?;
    if head.headers.contains_key(LIE) {
        return None;
    }
    if !bodiless && ![412, 416].contains(&status) {
        check_bytes(known, asked, head, content, &named);
    }
    (content.error.is_none()).then_some(named.identity.version)
}

/// A body breaks off only if the origin's does, or if its reader is too slow for a small buffer.
fn check_broken(known: &Known, asked: &Asked, error: &str) {
    if known.plan.is_roomy && !known.database.has_failed() {
        asked.broke(known, &format!("a body breaks off out of nowhere: {error}"));
    }
}

/// `Content-Length` says how much came.
fn check_length(known: &Known, asked: &Asked, head: &response::Parts, content: &Content) {
    let Ok(said) = field(&head.headers, "content-length").parse::<usize>() else {
        return;
    };
    let call = field(&head.headers, CALL).parse().ok();
    let call = call.and_then(|number| known.database.call(number));
    // Such a body reaches the request of its call, and those that share it.
    let is_lie = call.is_some_and(|call| call.is_lie);
    let is_hit = field(&head.headers, "cache-status").contains("; hit");
    if said != content.bytes.len() && (is_hit || !is_lie) {
        let came = content.bytes.len();
        asked.broke(
            known,
            &format!("{came} bytes with a Content-Length of {said}"),
        );
    }
}

fn check_bytes(
    known: &Known,
    asked: &Asked,
    head: &response::Parts,
    content: &Content,
    named: &Representation,
) {
    let is_clean = content.error.is_none();
    if head.status != StatusCode::PARTIAL_CONTENT {
        let whole = 0..named.length();
        return compare(known, asked, &content.bytes, whole, is_clean, named);
    }
    let tag = field(&head.headers, "etag");
    let wanted = field(&asked.headers, "if-range");
    if wanted.contains('"') && tag.contains('"') && (wanted != tag || tag.starts_with("W/")) {
        asked.broke(
            known,
            &format!("a part of {tag} where only one of {wanted} is wanted"),
        );
    }
    let field_line = field(&head.headers, "content-range");
    if let Some((range, length)) = sent_range(&field_line) {
        check_part(known, asked, &range, length, named);
        return compare(known, asked, &content.bytes, range, is_clean, named);
    }
    if !is_clean {
        return;
    }
    let Some(parts) = parts(&content.bytes, &field(&head.headers, "content-type")) else {
        return asked.broke(known, &format!("no parts and no range: {field_line:?}"));
    };
    for (range, bytes) in parts {
        let Some((range, length)) = sent_range(&range) else {
            return asked.broke(known, &format!("a part without a range: {range:?}"));
        };
        check_part(known, asked, &range, length, named);
        compare(known, asked, bytes, range, true, named);
    }
}

/// A part is one that was asked for, of the right length.
fn check_part(
    known: &Known,
    asked: &Asked,
    part: &Range<usize>,
    length: usize,
    named: &Representation,
) {
    if length != named.length() || part.end > length {
        let right = named.length();
        asked.broke(
            known,
            &format!("{part:?} of {length} bytes, which are {right}"),
        );
    }
    let wanted = ranges(&field(&asked.headers, "range"), named.length()).unwrap_or_default();
    let wanted: Vec<_> = wanted.into_iter().flatten().collect();
    // Ranges that touch each other may come as one.
    let is_start = wanted.iter().any(|range| range.start == part.start);
    let is_end = wanted.iter().any(|range| range.end == part.end);
    if !is_start || !is_end {
        asked.broke(known, &format!("{part:?} where {wanted:?} was asked for"));
    }
}

/// Compares content with a range of a representation. What breaks off is the beginning of it.
fn compare(
    known: &Known,
    asked: &Asked,
    bytes: &[u8],
    range: Range<usize>,
    is_clean: bool,
    named: &Representation,
) {
    if range.end > named.length() {
        return;
    }
    let right = &named.content[range.clone()];
    let is_right = match is_clean {
        true => right == bytes,
        false => right.starts_with(bytes),
    };
    if !is_right {
        let beginning = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        let (id, came) = (named.id, bytes.len());
        asked.broke(
            known,
            &format!("{came} bytes that are not {range:?} of representation {id:x}: {beginning}"),
        );
    }
}
