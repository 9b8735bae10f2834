//! Entity tags (RFC 9110 §8.8.3).

use http::header::ETAG;
use http::{HeaderMap, HeaderValue};
use siphasher::sip128::SipHasher13;

use crate::semantics::fields;

/// What the tags that this cache makes begin with.
const GENERATED: &[u8] = b"\"trc-";

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
    pub fn from_headers(headers: &'v HeaderMap) -> Option<Self> {
        Self::parse(fields::single(headers, &ETAG)?.as_bytes().trim_ascii())
    }

    /// Strong comparison (§8.8.3.2): byte for byte the same.
    #[must_use]
    pub fn matches_strongly(&self, other: &Self) -> bool {
        !self.is_weak && !other.is_weak && self.opaque == other.opaque
    }

    /// Weak comparison (§8.8.3.2): one is as good as the other.
    #[must_use]
    pub fn matches_weakly(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }

    /// Whether this cache made the tag, see [`tag_of`].
    #[must_use]
    pub fn is_generated(&self) -> bool {
        self.opaque.starts_with(GENERATED)
    }
}

/// A strong entity tag for content that came without a validator: the same for the same bytes (RFC 9110 §8.8.3.1).
#[must_use]
pub fn generated_tag(content: &[u8]) -> HeaderValue {
    let digest = SipHasher13::new().hash(content).as_u128();
    let tag = format!("\"trc-{digest:032x}\"");
    HeaderValue::try_from(tag).expect("hexadecimal digits")
}
