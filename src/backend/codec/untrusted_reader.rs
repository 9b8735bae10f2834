//! Reads the fields of a stored response from bytes that may be damaged: no length or count in them
//! is trusted.

use std::ops::Range;

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::semantics::groups::Group;
use crate::semantics::ranges::PartialContent;
use crate::semantics::stored::{Extras, SelectedBy};

/// Reads fields from bytes that may be anything.
pub(super) struct FieldReader(pub(super) Bytes);

impl FieldReader {
    /// Reads what few responses have, the values that selected the response, and the selecting
    /// fields that it does not name.
    pub(super) fn extras(mut self) -> Option<(Extras, SelectedBy)> {
        let values = self.bytes()?;
        let groups = self.groups()?;
        let parts = self.parts()?.map(Box::new);
        let trailers = match self.flag()? {
            false => None,
            true => Some(Box::new(self.headers()?)),
        };
        let extras = Extras {
            selected: None,
            trailers,
            groups,
            parts,
        };
        let beside_vary = match self.0.is_empty() {
            true => Vec::new(),
            false => self.names()?,
        };
        let selected = SelectedBy {
            values,
            beside_vary,
        };
        self.0.is_empty().then_some((extras, selected))
    }

    fn names(&mut self) -> Option<Vec<HeaderName>> {
        // A name takes at least five bytes.
        let count = self.count_of(5)?;
        let mut name = || HeaderName::from_bytes(&self.bytes()?).ok();
        (0..count).map(|_| name()).collect()
    }

    pub(super) fn bytes(&mut self) -> Option<Bytes> {
        let length = self.0.try_get_u32_le().ok()? as usize;
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn headers(&mut self) -> Option<HeaderMap> {
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

    fn flag(&mut self) -> Option<bool> {
        match self.0.try_get_u8().ok()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn groups(&mut self) -> Option<Box<[Group]>> {
        let count = self.count_of(size_of::<u128>())?;
        let group = |_| Some(Group::from_digest(self.0.try_get_u128_le().ok()?));
        (0..count).map(group).collect()
    }

    /// Reads the spans; `Some(None)` for a complete response.
    fn parts(&mut self) -> Option<Option<PartialContent>> {
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
