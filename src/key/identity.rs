//! The full key as bytes ("identity"), as it is stored with a response.
//!
//! It consists of the lengths of all parts, then the parts: no two keys have the same bytes.

use super::key_parts::KeyParts;

/// The number of parts.
const PARTS: usize = 5;
/// The number of bytes that the lengths take.
const LENGTHS: usize = PARTS * size_of::<u64>();

impl KeyParts<'_> {
    /// Returns the full key of these parts within a scope.
    pub(crate) fn identity(&self, scope: &str) -> Box<[u8]> {
        let parts = self.all(scope);
        let text: usize = parts.iter().flatten().map(|part| part.len()).sum();
        let mut bytes = Vec::with_capacity(LENGTHS + text);
        for part in parts {
            bytes.extend_from_slice(&length(part).to_le_bytes());
        }
        for part in parts.into_iter().flatten() {
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.into_boxed_slice()
    }

    /// Returns whether `identity` is the full key of these parts. Allocates nothing.
    pub(crate) fn matches(&self, scope: &str, identity: &[u8]) -> bool {
        let Some((lengths, mut rest)) = identity.split_first_chunk::<LENGTHS>() else {
            return false;
        };
        let (lengths, _) = lengths.as_chunks::<8>();
        for (part, stored) in self.all(scope).into_iter().zip(lengths) {
            if length(part) != u64::from_le_bytes(*stored) {
                return false;
            }
            // Most parts are absent or empty: those are not worth a comparison.
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                match rest.strip_prefix(part.as_bytes()) {
                    Some(behind) => rest = behind,
                    None => return false,
                }
            }
        }
        rest.is_empty()
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
    let (lengths, text) = identity.split_first_chunk::<LENGTHS>()?;
    let (lengths, _) = lengths.as_chunks::<8>();
    let length = |at: usize| usize::try_from(u64::from_le_bytes(lengths[at])).ok();
    let behind_scope = text.get(length(0)?..)?;
    std::str::from_utf8(behind_scope.get(..length(1)?)?).ok()
}

/// Returns the length of a part as it is stored; `u64::MAX` stands for an absent one.
fn length(part: Option<&str>) -> u64 {
    part.map_or(u64::MAX, |part| part.len() as u64)
}
