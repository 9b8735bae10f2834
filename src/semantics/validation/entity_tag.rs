//! Entity tags (RFC 9110 §8.8.3).

use http::header::ETAG;
use http::{HeaderMap, HeaderValue};
use siphasher::sip128::SipHasher13;

use crate::semantics::fields;

/// The first bytes of the tags that this cache makes.
const GENERATED: &[u8] = b"\"trc-";

/// An entity tag (RFC 9110 §8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'v> {
    /// Whether the tag only says that two responses are equivalent, not that they are equal byte
    /// for byte.
    pub is_weak: bool,
    /// The tag with its quotes, without `W/`.
    opaque: &'v [u8],
}

impl<'v> EntityTag<'v> {
    /// Reads a tag; `None` if the value is none, such as an unquoted word.
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

    /// Reads the tag of a message; `None` if it has none, several, or one that is malformed.
    #[must_use]
    pub fn from_headers(headers: &'v HeaderMap) -> Option<Self> {
        Self::of_line(fields::single(headers, &ETAG)?)
    }

    /// Reads the tag of the only line of its field.
    pub(super) fn of_line(line: &'v HeaderValue) -> Option<Self> {
        Self::parse(line.as_bytes().trim_ascii())
    }

    /// Returns the tag with its quotes, without `W/`.
    #[must_use]
    pub const fn opaque(&self) -> &'v [u8] {
        self.opaque
    }

    /// Compares strongly (RFC 9110 §8.8.3.2): equal byte for byte.
    #[must_use]
    pub fn matches_strongly(&self, other: &Self) -> bool {
        !self.is_weak && !other.is_weak && self.opaque == other.opaque
    }

    /// Compares weakly (RFC 9110 §8.8.3.2): equivalent.
    #[must_use]
    pub fn matches_weakly(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }

    /// Returns whether this cache made the tag, see [`generated_tag`].
    #[must_use]
    pub fn is_generated(&self) -> bool {
        self.opaque.starts_with(GENERATED)
    }
}

/// Makes a strong tag for content without a validator: equal for equal bytes (RFC 9110 §8.8.3.1).
#[must_use]
pub fn generated_tag(content: &[u8]) -> HeaderValue {
    let digest = SipHasher13::new().hash(content).as_u128();
    let tag = format!("\"trc-{digest:032x}\"");
    HeaderValue::try_from(tag).expect("hexadecimal digits")
}
