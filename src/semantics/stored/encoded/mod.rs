//! Header fields in few bytes: how a stored response keeps them, in memory and outside.
//!
//! ```text
//! length of names | names | length of values | values
//! name:  number 1                               one that stands in a table
//!        0 | length | text                      any other
//! value: number 1                               one that stands in a table
//!        253 | seconds since 1970 4             a date
//!        length | bytes                         any other
//! ```
//!
//! A field with several lines has its name once for each. [`EncodedFields`] writes, [`HeadFields`]
//! reads, [`HeadFields::check`] looks through bytes that may be damaged. `ready` makes header maps
//! of them, and remembers some.

mod dates;
mod names;
mod ready;
mod shape;
mod text_index;
mod values;

use http::header::{CONTENT_LENGTH, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue};

use self::names::{
    AGE_CODE, CACHE_STATUS_CODE, CONTENT_LENGTH_CODE, CUSTOM, ETAG_CODE, code_of, name_of,
};
pub use self::ready::{AnswerKey, AnswerValues};
pub(super) use self::ready::{EmptySlots, HeadSource, answer};
pub(super) use self::shape::HeadKind;
use self::values::{StoredValue, put_bytes, put_date, put_value, skip_value, take_value};
use crate::semantics::fields::{self, hop_by_hop};

/// The largest number of lines of fields that are read from bytes which may be damaged.
const MAX_LINES: usize = 8192;
/// The longest name with a length of one byte.
const SHORT: u8 = u8::MAX - 1;

/// Writes header fields.
#[derive(Clone, Debug)]
pub(super) struct EncodedFields {
    names: Vec<u8>,
    values: Vec<u8>,
}

impl EncodedFields {
    /// Creates a writer with room for copies of these fields.
    pub(super) fn with_room_for(headers: &HeaderMap) -> Self {
        let text: usize = headers.values().map(HeaderValue::len).sum();
        Self {
            names: Vec::with_capacity(64),
            values: Vec::with_capacity(text + headers.len() + 64),
        }
    }

    /// Appends a field without a value, for that of each answer.
    pub(super) fn push_slots(&mut self, has_status_slot: bool) {
        let codes = [AGE_CODE, CACHE_STATUS_CODE];
        for code in &codes[..1 + usize::from(has_status_slot)] {
            self.names.push(*code);
            put_bytes(&mut self.values, b"");
        }
    }

    /// Appends a field.
    pub(super) fn push(&mut self, name: &HeaderName, value: &HeaderValue) {
        match code_of(name) {
            Some(code) => self.names.push(code),
            None => {
                self.names.push(CUSTOM);
                put_with_length(&mut self.names, name.as_str().as_bytes());
            }
        }
        match *name {
            DATE | EXPIRES | LAST_MODIFIED => put_date(&mut self.values, value),
            _ => put_value(&mut self.values, value),
        }
    }

    /// Appends the `Content-Length`.
    pub(super) fn push_length(&mut self, length: usize) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut left = length;
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        self.names.push(CONTENT_LENGTH_CODE);
        put_bytes(&mut self.values, &digits[at..]);
    }

    /// Returns whether there is a field with this name.
    pub(super) fn contains(&self, name: &HeaderName) -> bool {
        Names(&self.names).any(|it| it.is(name))
    }

    /// Returns the bytes that all takes.
    pub(super) fn len(&self) -> usize {
        length_with_length(self.names.len()) + length_with_length(self.values.len())
    }

    /// Writes all.
    pub(super) fn write_to(&self, to: &mut Vec<u8>) {
        put_with_length(to, &self.names);
        put_with_length(to, &self.values);
    }
}

/// Writes bytes with their length before them.
pub(super) fn put_with_length(to: &mut Vec<u8>, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(short) if short <= SHORT => to.push(short),
        _ => {
            to.push(u8::MAX);
            let length = u32::try_from(bytes.len()).expect("a head of less than 4 GiB");
            to.extend_from_slice(&length.to_le_bytes());
        }
    }
    to.extend_from_slice(bytes);
}

/// Returns how long bytes of this length are with their length.
pub(super) fn length_with_length(length: usize) -> usize {
    length + 1 + 4 * usize::from(length > SHORT.into())
}

/// Takes bytes with their length off the front.
#[inline]
pub(super) fn take_with_length<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (&short, mut rest) = bytes.split_first()?;
    let mut length = usize::from(short);
    if short > SHORT {
        let (long, behind) = rest.split_first_chunk()?;
        length = u32::from_le_bytes(*long) as usize;
        rest = behind;
    }
    let (taken, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// The name of a field as it is stored.
#[derive(Clone, Copy)]
enum StoredName<'b> {
    Known(&'static HeaderName),
    Custom(&'b [u8]),
}

impl StoredName<'_> {
    fn is(self, name: &HeaderName) -> bool {
        match self {
            Self::Known(known) => known == name,
            Self::Custom(text) => text == name.as_str().as_bytes(),
        }
    }

    fn to_name(self) -> Option<HeaderName> {
        match self {
            Self::Known(known) => Some(known.clone()),
            Self::Custom(text) => HeaderName::from_lowercase(text).ok(),
        }
    }
}

/// The names that are left to be read. Ends at the first that is malformed.
#[derive(Clone, Copy)]
struct Names<'b>(&'b [u8]);

impl<'b> Iterator for Names<'b> {
    type Item = StoredName<'b>;

    #[inline]
    fn next(&mut self) -> Option<StoredName<'b>> {
        let (&code, rest) = self.0.split_first()?;
        let mut behind = rest;
        let name = match code {
            CUSTOM => StoredName::Custom(take_with_length(&mut behind)?),
            _ => StoredName::Known(name_of(code)?),
        };
        self.0 = behind;
        Some(name)
    }
}

/// Encoded header fields.
#[derive(Clone, Copy, Default)]
pub(super) struct HeadFields<'b> {
    names: &'b [u8],
    values: &'b [u8],
}

impl<'b> HeadFields<'b> {
    /// Takes what [`EncodedFields::write_to`] has written off the front. `None` if that cannot be.
    #[inline]
    pub(super) fn take(bytes: &mut &'b [u8]) -> Option<Self> {
        let names = take_with_length(bytes)?;
        let values = take_with_length(bytes)?;
        Some(Self { names, values })
    }

    /// Returns all fields, each line of its own.
    fn lines(self) -> impl Iterator<Item = (StoredName<'b>, StoredValue<'b>)> {
        let Self { names, mut values } = self;
        Names(names).map_while(move |name| Some((name, take_value(&mut values)?)))
    }

    /// Returns the first value of `ETag`. Most conditional requests need no other field.
    pub(super) fn etag(self) -> Option<&'b [u8]> {
        let Self {
            mut names,
            mut values,
        } = self;
        loop {
            let (&code, behind) = names.split_first()?;
            names = behind;
            match code {
                ETAG_CODE => return take_value(&mut values)?.as_bytes(),
                CUSTOM => drop(take_with_length(&mut names)?),
                _ => {}
            }
            skip_value(&mut values)?;
        }
    }

    /// Returns a header map with all lines.
    pub(super) fn to_map(self) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in self.lines() {
            if let (Some(name), Some(value)) = (name.to_name(), value.to_value()) {
                // A map that is full stays as it is.
                let _ = map.try_append(name, value);
            }
        }
        map
    }

    /// Returns a header map with the lines of one field. No other value is made.
    pub(super) fn lines_of(self, name: &HeaderName) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (_, value) in self.lines().filter(|(line, _)| line.is(name)) {
            if let Some(value) = value.to_value() {
                let _ = map.try_append(name.clone(), value);
            }
        }
        map
    }

    /// Looks through bytes that may be damaged: every line has a name and a value, none is of a
    /// connection, and a length is that of a body of `length` bytes.
    pub(super) fn check(self, length: usize) -> Option<()> {
        let Self { names, mut values } = self;
        let mut names = Names(names);
        let mut lines = 0;
        for name in names.by_ref() {
            let value = take_value(&mut values)?;
            if let StoredName::Custom(text) = name {
                is_custom_name(text).then_some(())?;
            }
            if let StoredValue::Bytes(bytes, _) = value {
                // Without an early end, which would make it a loop of single bytes.
                let are_allowed = bytes.iter().fold(true, |all, byte| all & is_allowed(*byte));
                are_allowed.then_some(())?;
            }
            if name.is(&CONTENT_LENGTH) {
                (fields::decimal(value.as_bytes()?)? == length as u64).then_some(())?;
            }
            lines += 1;
        }
        (names.0.is_empty() && values.is_empty() && lines <= MAX_LINES).then_some(())
    }
}

/// Returns whether a name in full is one of a field that may be stored.
fn is_custom_name(text: &[u8]) -> bool {
    let name = HeaderName::from_lowercase(text);
    name.is_ok_and(|name| !hop_by_hop::is_of_connection(&name))
}

/// Returns whether the value of a field may have this byte.
fn is_allowed(byte: u8) -> bool {
    ((byte >= b' ') & (byte != 0x7f)) | (byte == b'\t')
}
