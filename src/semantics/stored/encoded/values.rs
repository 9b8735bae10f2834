//! The values of fields: a number for well-known ones, otherwise length and bytes.

use std::sync::LazyLock;

use http::HeaderValue;

use super::dates;
use super::text_index::TextIndex;

/// The first byte of a value that has a number; smaller ones are the length of the bytes behind.
const FIRST_KNOWN: u8 = 160;
/// The first byte of a date. Its seconds follow.
const DATE: u8 = 253;
/// The first byte of a value whose length takes four bytes.
const LONG: u8 = 254;
/// The first byte of a value that is sensitive. The value itself follows.
const SENSITIVE: u8 = 255;

/// The values with a number. They cost one byte, and no reference count.
///
/// The numbers are part of the encoding: values are appended, never moved or removed.
#[rustfmt::skip]
static VALUES: [HeaderValue; 60] = {
    const fn v(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }
    [
        v("application/json"), v("application/json; charset=utf-8"),
        v("application/json;charset=utf-8"), v("application/problem+json"), v("application/xml"),
        v("application/javascript"), v("application/octet-stream"), v("application/pdf"),
        v("text/html"), v("text/html; charset=utf-8"), v("text/html;charset=utf-8"),
        v("text/html; charset=UTF-8"), v("text/plain"), v("text/plain; charset=utf-8"),
        v("text/css"), v("text/css; charset=utf-8"), v("text/javascript"),
        v("text/javascript; charset=utf-8"), v("image/png"), v("image/jpeg"), v("image/webp"),
        v("image/avif"), v("image/svg+xml"), v("image/gif"), v("image/x-icon"), v("font/woff2"),
        v("gzip"), v("br"), v("zstd"), v("deflate"), v("identity"), v("bytes"), v("none"),
        v("Accept-Encoding"), v("accept-encoding"), v("Accept-Encoding, Origin"), v("Accept"),
        v("Accept-Language"), v("Origin"), v("Cookie"),
        v("no-cache"), v("no-store"), v("public"), v("max-age=0"), v("max-age=60"),
        v("max-age=300"), v("max-age=600"), v("max-age=3600"), v("max-age=86400"),
        v("public, max-age=60"), v("public, max-age=300"), v("public, max-age=3600"),
        v("public, max-age=86400"), v("public, max-age=31536000"),
        v("public, max-age=31536000, immutable"),
        v("*"), v("true"), v("nosniff"), v("DENY"), v("SAMEORIGIN"),
    ]
};

static INDEX: LazyLock<TextIndex> =
    LazyLock::new(|| TextIndex::new(VALUES.iter().map(HeaderValue::as_bytes)));

/// A value as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) enum StoredValue<'b> {
    /// One with a number.
    Known(&'static HeaderValue),
    /// A date, in seconds since 1970.
    Date(u32),
    /// Any other, and whether it is sensitive.
    Bytes(&'b [u8], bool),
}

impl<'b> StoredValue<'b> {
    /// Returns the bytes of a value that is no date.
    pub(super) fn as_bytes(self) -> Option<&'b [u8]> {
        match self {
            Self::Known(value) => Some(value.as_bytes()),
            Self::Bytes(bytes, _) => Some(bytes),
            Self::Date(_) => None,
        }
    }

    /// Returns a copy of the value; `None` if the bytes are none of a field.
    pub(super) fn to_value(self) -> Option<HeaderValue> {
        match self {
            Self::Known(value) => Some(value.clone()),
            Self::Date(seconds) => Some(dates::value(seconds)),
            Self::Bytes(bytes, is_sensitive) => {
                let mut value = HeaderValue::from_bytes(bytes).ok()?;
                value.set_sensitive(is_sensitive);
                Some(value)
            }
        }
    }
}

/// Writes a value.
pub(super) fn put_value(to: &mut Vec<u8>, value: &HeaderValue) {
    if value.is_sensitive() {
        to.push(SENSITIVE);
        return put_bytes(to, value.as_bytes());
    }
    let known = INDEX.find(value.as_bytes(), |index| VALUES[index].as_bytes());
    match known {
        Some(index) => to.push(FIRST_KNOWN + index as u8),
        None => put_bytes(to, value.as_bytes()),
    }
}

/// Writes a value that is a date as a number, if its form is that of most.
pub(super) fn put_date(to: &mut Vec<u8>, value: &HeaderValue) {
    match dates::read(value.as_bytes()) {
        Some(seconds) if !value.is_sensitive() => {
            to.push(DATE);
            to.extend_from_slice(&seconds.to_le_bytes());
        }
        _ => put_value(to, value),
    }
}

/// Writes the bytes of a value without a number.
pub(super) fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() < usize::from(FIRST_KNOWN) {
        to.push(bytes.len() as u8);
    } else {
        to.push(LONG);
        to.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    }
    to.extend_from_slice(bytes);
}

/// Reads a value from the front of the bytes, which it takes off. `None` if they are malformed.
#[inline]
pub(super) fn take_value<'b>(bytes: &mut &'b [u8]) -> Option<StoredValue<'b>> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    match first {
        SENSITIVE => {
            let (&length, rest) = bytes.split_first()?;
            *bytes = rest;
            Some(StoredValue::Bytes(take_bytes(bytes, length)?, true))
        }
        ..FIRST_KNOWN | LONG => Some(StoredValue::Bytes(take_bytes(bytes, first)?, false)),
        DATE => {
            let (seconds, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            Some(StoredValue::Date(u32::from_le_bytes(*seconds)))
        }
        known => VALUES
            .get(usize::from(known - FIRST_KNOWN))
            .map(StoredValue::Known),
    }
}

/// Takes a value off the front of the bytes, like [`take_value`], without reading it.
#[inline]
pub(super) fn skip_value(bytes: &mut &[u8]) -> Option<()> {
    let (&first, rest) = bytes.split_first()?;
    let length = match first {
        ..FIRST_KNOWN => usize::from(first),
        DATE => size_of::<u32>(),
        LONG | SENSITIVE => return take_value(bytes).map(drop),
        _ => 0,
    };
    *bytes = rest.get(length..)?;
    Some(())
}

/// Reads the bytes of a value with this first byte.
#[inline]
fn take_bytes<'b>(bytes: &mut &'b [u8], first: u8) -> Option<&'b [u8]> {
    let mut length = usize::from(first);
    if first >= FIRST_KNOWN {
        let (long, rest) = bytes.split_first_chunk()?;
        if first != LONG {
            return None;
        }
        length = u32::from_le_bytes(*long) as usize;
        *bytes = rest;
    }
    let (value, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_read_as_it_was_written() {
        let long = "x".repeat(70_000);
        let mut texts: Vec<&[u8]> = VALUES.iter().map(HeaderValue::as_bytes).collect();
        texts.extend([b"", &b"x"[..], b"caf\xe9\xff", &long.as_bytes()[..159]]);
        texts.extend([&long.as_bytes()[..160], long.as_bytes()]);
        for text in texts {
            for is_sensitive in [false, true] {
                let mut value = HeaderValue::from_bytes(text).expect("a field value");
                value.set_sensitive(is_sensitive);
                let mut bytes = Vec::new();
                put_value(&mut bytes, &value);
                bytes.push(7);
                let (mut rest, mut behind) = (&*bytes, &*bytes);
                let read = take_value(&mut rest).expect("a value");
                assert_eq!(skip_value(&mut behind), Some(()));
                assert_eq!((rest, behind), (&[7][..], rest));
                assert_eq!(read.as_bytes(), Some(text));
                let read = read.to_value().expect("a field value");
                assert_eq!((&read, read.is_sensitive()), (&value, is_sensitive));
                let whole = bytes.len() - 1;
                for cut in 0..whole {
                    assert!(take_value(&mut &bytes[..cut]).is_none(), "{cut}");
                }
            }
        }
    }

    #[test]
    fn a_date_takes_five_bytes() {
        for (text, length) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 5),
            ("Sun, 6 Nov 1994 08:49:37 GMT", 29),
            ("0", 2),
        ] {
            let mut bytes = Vec::new();
            put_date(&mut bytes, &HeaderValue::from_static(text));
            assert_eq!(bytes.len(), length, "{text}");
            let mut behind = &*bytes;
            assert_eq!((skip_value(&mut behind), behind), (Some(()), &[][..]));
            let read = take_value(&mut &*bytes).expect("a value");
            assert_eq!(read.to_value().expect("a field value"), text);
            assert!(take_value(&mut &bytes[..bytes.len() - 1]).is_none());
        }
    }
}
