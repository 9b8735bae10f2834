//! Ranges as they are asked for and as they are sent, read without the crate's help.

use std::ops::Range;

/// One range of content with this length: `None` if the field asks for none or several, or cannot
/// be read; `Some(None)` if there is no such part.
pub fn one_range(field: &str, length: usize) -> Option<Option<Range<usize>>> {
    let ranges = ranges(field, length)?;
    match ranges.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}

/// The ranges that a field asks for, those aside that cannot be read as a whole.
pub fn ranges(field: &str, length: usize) -> Option<Vec<Option<Range<usize>>>> {
    let (unit, list) = field.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let members = list
        .split(',')
        .map(str::trim)
        .filter(|member| !member.is_empty());
    members.map(|member| range(member, length)).collect()
}

fn range(member: &str, length: usize) -> Option<Option<Range<usize>>> {
    let (first, last) = member.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // More than any length, if it is too long to be read.
    let number = |text: &str| text.parse::<usize>().unwrap_or(usize::MAX);
    if first.is_empty() {
        let suffix = is_number(last).then(|| number(last))?;
        let start = length.saturating_sub(suffix);
        return Some((start < length).then_some(start..length));
    }
    let start = is_number(first).then(|| number(first))?;
    let end = match last {
        "" => length,
        _ => is_number(last).then(|| number(last))?.saturating_add(1),
    };
    if end <= start && !last.is_empty() {
        return None;
    }
    Some((start < length).then_some(start..end.min(length)))
}

/// The range and the complete length that a `Content-Range` says.
pub fn sent_range(field: &str) -> Option<(Range<usize>, usize)> {
    let (range, length) = field.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    Some((first..last + 1, length.parse().ok()?))
}

/// The parts of a `multipart/byteranges` content, each with its `Content-Range`.
pub fn parts<'c>(content: &'c [u8], media_type: &str) -> Option<Vec<(String, &'c [u8])>> {
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=")?;
    let delimiter = format!("\r\n--{boundary}");
    let mut parts = Vec::new();
    let mut rest = content.strip_prefix(delimiter.as_bytes())?;
    loop {
        if rest == b"--\r\n" {
            return Some(parts);
        }
        let (head, content) = split(rest.strip_prefix(b"\r\n")?, b"\r\n\r\n")?;
        let head = std::str::from_utf8(head).ok()?.to_ascii_lowercase();
        let mut lines = head.split("\r\n");
        let range = lines.find_map(|line| line.strip_prefix("content-range: "))?;
        let (part, next) = split(content, delimiter.as_bytes())?;
        parts.push((range.to_owned(), part));
        rest = next;
    }
}

fn split<'c>(content: &'c [u8], at: &[u8]) -> Option<(&'c [u8], &'c [u8])> {
    let found = content.windows(at.len()).position(|window| window == at)?;
    Some((&content[..found], &content[found + at.len()..]))
}
