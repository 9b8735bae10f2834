//! Validators and the conditions made of them (RFC 9110 §8.8, §13; RFC 9111 §4.3).

use std::time::SystemTime;

use http::header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::moment::Moment;
use super::{date, fields};

/// An entity tag (RFC 9110 §8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'v> {
    /// Whether it only says "as good as", not "byte for byte".
    pub is_weak: bool,
    /// With its quotes.
    opaque: &'v [u8],
}

impl<'v> EntityTag<'v> {
    /// Reads one; `None` for what is none, an unquoted word above all.
    #[must_use]
    pub fn parse(value: &'v [u8]) -> Option<Self> {
        let (is_weak, opaque) = match value.strip_prefix(b"W/") {
            Some(opaque) => (true, opaque),
            None => (false, value),
        };
        let [b'"', inside @ .., b'"'] = opaque else {
            return None;
        };
        let is_allowed = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..=0xff);
        inside
            .iter()
            .all(is_allowed)
            .then_some(Self { is_weak, opaque })
    }

    /// The one a message carries; `None` where it has none, several, or one that cannot be read.
    #[must_use]
    pub fn of(headers: &'v HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(ETAG).iter();
        match (lines.next(), lines.next()) {
            (Some(line), None) => Self::parse(line.as_bytes().trim_ascii()),
            _ => None,
        }
    }

    /// Strong comparison (§8.8.3.2): byte for byte the same.
    #[must_use]
    pub fn is_strongly(&self, other: &Self) -> bool {
        !self.is_weak && !other.is_weak && self.opaque == other.opaque
    }

    /// Weak comparison (§8.8.3.2): one is as good as the other.
    #[must_use]
    pub fn is_weakly(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }
}

/// Whether a request's own conditions say that it has the response already (RFC 9111 §4.3.2): `If-None-Match`, or else
/// `If-Modified-Since` (RFC 9110 §13.1.3). Both are for successful responses only (§13.2.1).
#[must_use]
pub fn is_unmodified(
    asked: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    received: Moment,
) -> bool {
    if !status.is_success() {
        return false;
    }
    if asked.contains_key(IF_NONE_MATCH) {
        return names(asked, stored);
    }
    asked.contains_key(IF_MODIFIED_SINCE) && is_not_newer(asked, stored, received)
}

/// §13.1.2: whether the list is `*` or names the response's tag, by weak comparison. What is no tag names nothing.
fn names(asked: &HeaderMap, stored: &HeaderMap) -> bool {
    let own = EntityTag::of(stored);
    fields::list(asked, &IF_NONE_MATCH).any(|member| {
        let is_own = |tag: EntityTag<'_>| own.is_some_and(|own| own.is_weakly(&tag));
        member == b"*" || EntityTag::parse(member).is_some_and(is_own)
    })
}

/// §13.1.3, with RFC 9111 §4.3.2 for responses without `Last-Modified`: then it is as old as its `Date`, or its receipt.
fn is_not_newer(asked: &HeaderMap, stored: &HeaderMap, received: Moment) -> bool {
    let Some(since) = only_date(asked, &IF_MODIFIED_SINCE, received) else {
        return false;
    };
    let modified = match stored.contains_key(LAST_MODIFIED) {
        true => only_date(stored, &LAST_MODIFIED, received),
        false => Some(only_date(stored, &DATE, received).unwrap_or(received.wall())),
    };
    modified.is_some_and(|modified| modified <= since)
}

/// A field's date; `None` where it has several lines, or one that is no date (§13.1.3: ignored).
fn only_date(headers: &HeaderMap, name: &HeaderName, now: Moment) -> Option<SystemTime> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => date::parse(line.as_bytes(), now.wall()),
        _ => None,
    }
}

/// Whether a message has anything that it could be validated by.
#[must_use]
pub fn has_validator(headers: &HeaderMap) -> bool {
    EntityTag::of(headers).is_some() || headers.contains_key(LAST_MODIFIED)
}

/// The conditions that validate a stored response (RFC 9111 §4.3.1): its entity tag, and its `Last-Modified` where it has
/// one.
pub fn validating(stored: &HeaderMap) -> impl Iterator<Item = (HeaderName, &HeaderValue)> {
    let tag = EntityTag::of(stored).and_then(|_| stored.get(ETAG));
    let modified = stored.get(LAST_MODIFIED);
    let tag = tag.map(|value| (IF_NONE_MATCH, value));
    tag.into_iter()
        .chain(modified.map(|value| (IF_MODIFIED_SINCE, value)))
}

/// What a 304 to a stored response's validators says of it (RFC 9111 §4.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validated {
    /// It is still right; its fields are to be updated.
    This,
    /// The 304 is about another response: it says nothing of the stored one, and must not be used for it.
    Another,
}

/// Decides by the validators of both.
///
/// A strong tag must be the same, strongly compared; a weak one must match; without a tag `Last-Modified` must not
/// contradict. A 304 without any validator is taken for the answer to the conditions it was asked by: only one stored
/// response was named in them.
#[must_use]
pub fn validated(stored: &HeaderMap, not_modified: &HeaderMap) -> Validated {
    let is_this = match (EntityTag::of(stored), EntityTag::of(not_modified)) {
        (Some(own), Some(new)) if !new.is_weak => own.is_strongly(&new),
        (Some(own), Some(new)) => own.is_weakly(&new),
        // A tag that was not there before: of something else, as far as anybody can know.
        (None, Some(new)) => new.is_weak && agree(stored, not_modified, &LAST_MODIFIED),
        (_, None) => agree(stored, not_modified, &LAST_MODIFIED),
    };
    if is_this {
        Validated::This
    } else {
        Validated::Another
    }
}

/// Whether a field of the new message is the stored one's, where it has it.
fn agree(stored: &HeaderMap, new: &HeaderMap, name: &HeaderName) -> bool {
    new.get(name)
        .is_none_or(|value| stored.get(name).is_none_or(|own| own == value))
}

/// Whether a 200 to HEAD is about the stored response (RFC 9111 §4.3.5): the same validators, and the same length, as far
/// as it has them.
#[must_use]
pub fn describes(head: &HeaderMap, stored: &HeaderMap) -> bool {
    use http::header::CONTENT_LENGTH;
    [ETAG, LAST_MODIFIED, CONTENT_LENGTH].iter().all(|name| {
        head.get(name)
            .is_none_or(|value| stored.get(name) == Some(value))
    })
}
