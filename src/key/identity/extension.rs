//! Keys that have more than the parts of a target: whatever a target does not tell apart, such as
//! the client that a response is for.
//!
//! An extended key belongs to the resource of the key that it extends, so that a write invalidates
//! both. Its full form is that of the other one with the extension behind it: no two keys have the
//! same bytes, because the full form of a target tells where it ends, and so does an extension.

use std::sync::Arc;

use crate::key::cache_key::CacheKey;
use crate::key::digest_seed::DigestSeed;

/// What a key has beside the parts of a target: a list of bytes, under a name of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyExtension(Box<[u8]>);

impl KeyExtension {
    /// Creates an extension of a kind. `kind` is not the beginning of another kind's name.
    pub(crate) fn new<'p>(kind: &str, parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut bytes = kind.as_bytes().to_vec();
        for part in parts {
            bytes.extend((part.len() as u64).to_le_bytes());
            bytes.extend(part);
        }
        // Ends the list: no part is as long.
        bytes.extend(u64::MAX.to_le_bytes());
        Self(bytes.into())
    }

    /// Returns the full form of a key with this extension, given that of the key without.
    pub(crate) fn extend_identity(&self, identity: &[u8]) -> Arc<[u8]> {
        let bytes = identity.iter().chain(&*self.0);
        bytes.copied().collect()
    }

    /// Returns a key with this extension, given the key without: of the same resource, and without
    /// variant.
    pub(crate) fn extend_key(&self, seed: &DigestSeed, key: &CacheKey) -> CacheKey {
        let mut digester = seed.hasher();
        digester.write_part(&self.0);
        digester.write_part(&key.selector().to_le_bytes());
        key.primary().with_selector(digester.finish())
    }

    /// Returns a digest of the extension alone.
    pub(crate) fn digest(&self, seed: &DigestSeed) -> u128 {
        let mut digester = seed.hasher();
        digester.write_part(&self.0);
        digester.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_extensions_are_equal_only_if_all_their_parts_are() {
        let lists: [&[&[u8]]; 7] = [
            &[],
            &[b""],
            &[b"", b""],
            &[b"a"],
            &[b"a", b""],
            &[b"", b"a"],
            &[b"ab", b"c"],
        ];
        let (seed, key) = (DigestSeed::default(), CacheKey::for_path("/a"));
        let all: Vec<_> = ["x", "y"]
            .iter()
            .flat_map(|kind| lists.map(|parts| KeyExtension::new(kind, parts.iter().copied())))
            .collect();
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                assert_ne!(one.extend_identity(b"k"), other.extend_identity(b"k"));
                assert_ne!(one.extend_key(&seed, &key), other.extend_key(&seed, &key));
            }
            assert_ne!(one.extend_key(&seed, &key), key);
            assert_eq!(one.extend_key(&seed, &key).resource(), key.resource());
        }
    }
}
