//! Keyed digests.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// The secret that digests are keyed with: the same for everyone who shares what a backend stores.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DigestSeed([u8; 16]);

impl DigestSeed {
    /// A given seed.
    #[must_use]
    pub const fn new(seed: [u8; 16]) -> Self {
        Self(seed)
    }

    /// A seed nobody can guess, for what lives and dies with this process.
    #[must_use]
    pub fn random() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let half = || {
            RandomState::new()
                .hash_one(std::process::id())
                .to_le_bytes()
        };
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&half());
        seed[8..].copy_from_slice(&half());
        Self(seed)
    }

    /// The seed that these names stand for.
    #[cfg(feature = "redis")]
    pub(crate) fn from_names(names: &[&str]) -> Self {
        let mut digester = Self::default().hasher();
        for name in names {
            digester.part(name.as_bytes());
        }
        Self(digester.finish().to_le_bytes())
    }

    pub(super) fn hasher(&self) -> Digester {
        Digester(SipHasher13::new_with_key(&self.0))
    }
}

impl Default for DigestSeed {
    /// A fixed seed. Equal on every instance, but known to everyone: what is stored under a colliding digest is never
    /// served (the full key is compared), but a patient stranger could make two keys push each other out.
    fn default() -> Self {
        Self(*b"response-cache-1")
    }
}

impl fmt::Debug for DigestSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestSeed(..)")
    }
}

/// No scheme and query, or no variant.
pub(super) const NONE: u128 = 0;
/// The selector of a key that no request has: a resource's own record.
pub(super) const RECORD: u128 = u128::MAX;

pub(super) struct Digester(SipHasher13);

impl Digester {
    pub(super) fn part(&mut self, part: &[u8]) {
        self.length(part.len());
        self.0.write(part);
    }

    /// A fixed number of parts: all lengths, then all parts. In that order the lengths keep each other aligned, which
    /// makes them cheap.
    pub(super) fn parts<const N: usize>(&mut self, parts: [&str; N]) {
        for part in parts {
            self.length(part.len());
        }
        for part in parts {
            self.0.write(part.as_bytes());
        }
    }

    fn length(&mut self, length: usize) {
        // The hasher takes numbers as this machine writes them, but a digest is the same on all.
        self.0.write_u64((length as u64).to_le());
    }

    /// Never one of the two values that have a meaning of their own.
    pub(super) fn finish(&self) -> u128 {
        self.0.finish128().as_u128().clamp(NONE + 1, RECORD - 1)
    }
}
