//! The encoding of each field of a stored response: a writer, and a reader that trusts no length.

use std::ops::Range;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

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

/// Reads fields from bytes that may be anything.
pub(super) struct FieldReader(pub(super) Bytes);

impl FieldReader {
    pub(super) fn bytes(&mut self) -> Option<Bytes> {
        let length = self.0.try_get_u32_le().ok()? as usize;
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    pub(super) fn duration(&mut self) -> Option<Duration> {
        let nanoseconds = self.0.try_get_u64_le().ok()?;
        Some(match nanoseconds {
            u64::MAX => Duration::MAX,
            _ => Duration::from_nanos(nanoseconds),
        })
    }

    pub(super) fn headers(&mut self) -> Option<HeaderMap> {
        let count = self.0.try_get_u32_le().ok()? as usize;
        // A line takes at least nine bytes: nothing is reserved for more lines than there can be.
        if count > self.0.len() / 9 {
            return None;
        }
        let mut headers = HeaderMap::try_with_capacity(count).ok()?;
        for _ in 0..count {
            let name = HeaderName::from_bytes(&self.bytes()?).ok()?;
            let mut value = HeaderValue::from_maybe_shared(self.bytes()?).ok()?;
            value.set_sensitive(self.0.try_get_u8().ok()? == 1);
            headers.try_append(name, value).ok()?;
        }
        Some(headers)
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.0.try_get_u8().ok()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn groups(&mut self) -> Option<Box<[Group]>> {
        let count = self.count_of(size_of::<u128>())?;
        let group = |_| Some(Group::from_digest(self.0.try_get_u128_le().ok()?));
        (0..count).map(group).collect()
    }

    /// Reads the spans; `Some(None)` for a complete response.
    pub(super) fn parts(&mut self) -> Option<Option<PartialContent>> {
        let count = self.count_of(2 * size_of::<u64>())?;
        if count == 0 {
            return Some(None);
        }
        let complete = self.0.try_get_u64_le().ok()?;
        let mut number = || self.0.try_get_u64_le().ok();
        let spans: Option<Box<[Range<u64>]>> =
            (0..count).map(|_| Some(number()?..number()?)).collect();
        PartialContent::new(complete, spans?).map(Some)
    }

    /// Reads the length of a list of items of this size, if that many can follow: nothing is
    /// reserved for more.
    fn count_of(&mut self, size: usize) -> Option<usize> {
        let count = self.0.try_get_u32_le().ok()? as usize;
        (count <= self.0.len() / size).then_some(count)
    }
}
