//! A full key as bytes.

use super::key_parts::KeyParts;

const PARTS: usize = 5;
/// Bytes that the lengths of all parts take.
const LENGTHS: usize = PARTS * size_of::<u64>();

impl KeyParts<'_> {
    /// The full key: the lengths of all parts, then the parts, so that no two keys are the same bytes.
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

    /// Whether `identity` is this key's. Allocates nothing.
    pub(crate) fn matches(&self, scope: &str, identity: &[u8]) -> bool {
        let Some((lengths, mut rest)) = identity.split_first_chunk::<LENGTHS>() else {
            return false;
        };
        let (lengths, _) = lengths.as_chunks::<8>();
        for (part, stored) in self.all(scope).into_iter().zip(lengths) {
            if length(part) != u64::from_le_bytes(*stored) {
                return false;
            }
            // Most parts are absent or empty most of the time: those are not worth a comparison.
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                match rest.strip_prefix(part.as_bytes()) {
                    Some(behind) => rest = behind,
                    None => return false,
                }
            }
        }
        rest.is_empty()
    }

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

/// The authority of the full key that `identity` is.
pub(crate) fn authority_of_identity(identity: &[u8]) -> Option<&str> {
    let (lengths, text) = identity.split_first_chunk::<LENGTHS>()?;
    let (lengths, _) = lengths.as_chunks::<8>();
    let length = |at: usize| usize::try_from(u64::from_le_bytes(lengths[at])).ok();
    let behind_scope = text.get(length(0)?..)?;
    std::str::from_utf8(behind_scope.get(..length(1)?)?).ok()
}

/// A part's length as keys hold it; that of an absent one is no part's.
fn length(part: Option<&str>) -> u64 {
    part.map_or(u64::MAX, |part| part.len() as u64)
}
