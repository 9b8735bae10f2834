//! The full key as bytes ("identity"), as it is stored with a response.
//!
//! It consists of all parts, each with its length before it: no two keys have the same bytes.

mod extension;

pub(crate) use self::extension::KeyExtension;

use std::iter::repeat_n;
use std::sync::Arc;

use crate::key::key_parts::KeyParts;

/// The number of parts.
const PARTS: usize = 5;
/// The longest part with a length of one byte.
const SHORT: u8 = 253;
/// Stands for a length of four bytes, which follow.
const LONG: u8 = 254;
/// Stands for a part that is absent.
const ABSENT: u8 = 255;

impl KeyParts<'_> {
    /// Returns the full key of these parts within a scope.
    pub(crate) fn identity(&self, scope: &str) -> Arc<[u8]> {
        let parts = self.all(scope);
        let length = |part: &str| part.len() + 1 + 4 * usize::from(part.len() > SHORT.into());
        let whole = parts.iter().map(|part| part.map_or(1, length)).sum();
        // Allocated once, with zeros that are replaced.
        let mut identity: Arc<[u8]> = repeat_n(0, whole).collect();
        if let Some(mut rest) = Arc::get_mut(&mut identity) {
            for part in parts {
                rest = put_part(rest, part);
            }
        }
        identity
    }

    /// Returns whether `identity` is the full key of these parts. Allocates nothing.
    pub(crate) fn matches(&self, scope: &str, identity: &[u8]) -> bool {
        let [scope, authority, path, scheme, query] = self.all(scope);
        // In this order, written out: every hit comes here.
        let behind = strip_part(identity, scope)
            .and_then(|rest| strip_part(rest, authority))
            .and_then(|rest| strip_part(rest, path))
            .and_then(|rest| strip_part(rest, scheme))
            .and_then(|rest| strip_part(rest, query));
        behind.is_some_and(<[u8]>::is_empty)
    }

    /// Returns all parts in their order.
    fn all<'a>(&'a self, scope: &'a str) -> [Option<&'a str>; PARTS] {
        [
            Some(scope),
            Some(self.authority()),
            Some(self.path()),
            self.scheme(),
            self.query(),
        ]
    }
}

/// Returns the authority in a full key; `None` if the bytes are malformed.
pub(crate) fn authority_of_identity(identity: &[u8]) -> Option<&str> {
    let mut rest = identity;
    take_part(&mut rest)?;
    std::str::from_utf8(take_part(&mut rest)??).ok()
}

/// Returns the path in a full key; `None` if the bytes are malformed.
pub(crate) fn path_of_identity(identity: &[u8]) -> Option<&str> {
    let mut rest = identity;
    take_part(&mut rest)?;
    take_part(&mut rest)?;
    std::str::from_utf8(take_part(&mut rest)??).ok()
}

/// Writes a part with its length. Returns the bytes behind it.
fn put_part<'b>(to: &'b mut [u8], part: Option<&str>) -> &'b mut [u8] {
    let Some(part) = part else {
        return put(to, &[ABSENT]);
    };
    let behind_length = match u8::try_from(part.len()) {
        Ok(short) if short <= SHORT => put(to, &[short]),
        _ => {
            let length = u32::try_from(part.len()).expect("a request of less than 4 GiB");
            let behind = put(to, &[LONG]);
            put(behind, &length.to_le_bytes())
        }
    };
    put(behind_length, part.as_bytes())
}

/// Writes bytes. Returns those behind them.
fn put<'b>(to: &'b mut [u8], bytes: &[u8]) -> &'b mut [u8] {
    let (place, behind) = to.split_at_mut(bytes.len());
    place.copy_from_slice(bytes);
    behind
}

/// Returns the bytes behind this part; `None` if they begin with another one.
#[inline]
fn strip_part<'b>(bytes: &'b [u8], part: Option<&str>) -> Option<&'b [u8]> {
    let (&first, behind) = bytes.split_first()?;
    let Some(part) = part else {
        return (first == ABSENT).then_some(behind);
    };
    if first > SHORT || usize::from(first) != part.len() {
        return strip_long_part(bytes, part);
    }
    let (stored, rest) = behind.split_at_checked(part.len())?;
    // Most scopes are empty.
    (part.is_empty() || *stored == *part.as_bytes()).then_some(rest)
}

/// Does what [`strip_part`] does for a part that may be long.
#[cold]
fn strip_long_part<'b>(mut bytes: &'b [u8], part: &str) -> Option<&'b [u8]> {
    let stored = take_part(&mut bytes)??;
    (*stored == *part.as_bytes()).then_some(bytes)
}

/// Takes a part off the front; `Some(None)` if it is absent, `None` if the bytes are malformed.
fn take_part<'b>(bytes: &mut &'b [u8]) -> Option<Option<&'b [u8]>> {
    let (&first, mut rest) = bytes.split_first()?;
    let mut length = usize::from(first);
    if first > SHORT {
        if first == ABSENT {
            *bytes = rest;
            return Some(None);
        }
        let (long, behind) = rest.split_first_chunk()?;
        length = u32::from_le_bytes(*long) as usize;
        rest = behind;
    }
    let (part, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(Some(part))
}
