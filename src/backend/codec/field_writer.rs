//! Writes the fields of a stored response, each with its length.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName};

use crate::semantics::groups::Group;
use crate::semantics::ranges::PartialContent;

pub(super) fn put_bytes(to: &mut BytesMut, bytes: &[u8]) {
    to.put_u32_le(bytes.len() as u32);
    to.put_slice(bytes);
}

/// Writes nanoseconds; the largest number also stands for longer durations.
pub(super) fn put_duration(to: &mut BytesMut, duration: Duration) {
    to.put_u64_le(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}

pub(super) fn put_headers(
    to: &mut BytesMut,
    headers: &HeaderMap,
    skip: impl Fn(&HeaderName) -> bool,
) {
    let lines = || headers.iter().filter(|(name, _)| !skip(name));
    to.put_u32_le(lines().count() as u32);
    for (name, value) in lines() {
        put_bytes(to, name.as_str().as_bytes());
        put_bytes(to, value.as_bytes());
        to.put_u8(u8::from(value.is_sensitive()));
    }
}

pub(super) fn put_groups(to: &mut BytesMut, groups: &[Group]) {
    to.put_u32_le(groups.len() as u32);
    for group in groups {
        to.put_u128_le(group.digest());
    }
}

/// Writes the number of spans, which is 0 for a complete response, and the spans.
pub(super) fn put_parts(to: &mut BytesMut, parts: Option<&PartialContent>) {
    let Some(parts) = parts else {
        return to.put_u32_le(0);
    };
    to.put_u32_le(parts.spans().len() as u32);
    to.put_u64_le(parts.complete_length());
    for span in parts.spans() {
        to.put_u64_le(span.start);
        to.put_u64_le(span.end);
    }
}
