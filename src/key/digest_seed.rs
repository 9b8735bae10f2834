//! Keyed digests of 128 or 64 bits, and the seed that keys them.

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, Hasher};

use siphasher::sip;
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::random::unpredictable_u128;

/// The secret that digests are keyed with.
///
/// All instances that share a backend need the same one. Default: a fixed seed that is publicly
/// known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DigestSeed([u8; 16]);

impl DigestSeed {
    /// Creates a seed from its bytes.
    #[must_use]
    pub const fn new(seed: [u8; 16]) -> Self {
        Self(seed)
    }

    /// Creates an unpredictable seed, for a cache that lives and dies with this process.
    #[must_use]
    pub fn random() -> Self {
        Self(unpredictable_u128().to_le_bytes())
    }

    /// Derives a seed from names.
    #[cfg(feature = "redis")]
    pub(crate) fn from_names(names: &[&str]) -> Self {
        let mut digester = Self::default().hasher();
        for name in names {
            digester.write_part(name.as_bytes());
        }
        Self(digester.finish().to_le_bytes())
    }

    /// Returns a digester that is keyed with this seed.
    pub(super) fn hasher(&self) -> Digester {
        Digester(SipHasher13::new_with_key(&self.0))
    }

    /// Returns the digest of 64 bits of one text, which this thread may remember.
    ///
    /// Most requests are for one of a few hosts: to look at the text again costs less than half of
    /// its digest.
    pub(super) fn short_digest_of(&self, text: &str) -> u128 {
        thread_local! {
            static REMEMBERED: RefCell<[RememberedDigest; REMEMBERED_DIGESTS]> =
                const { RefCell::new([RememberedDigest::NONE; REMEMBERED_DIGESTS]) };
        }
        let make = || {
            let mut digester = self.short_hasher();
            digester.write_text(text);
            digester.finish()
        };
        let digest = REMEMBERED.try_with(|remembered| {
            let last = text.as_bytes().last().copied().unwrap_or_default();
            let slot = (text.len() ^ usize::from(last)) % REMEMBERED_DIGESTS;
            remembered.borrow_mut()[slot].get(*self, text.as_bytes(), make)
        });
        // The slots are gone while the thread is being torn down.
        digest.unwrap_or_else(|_| make())
    }

    /// Returns a digester of 64 bits that is keyed with this seed.
    pub(super) fn short_hasher(&self) -> ShortDigester {
        ShortDigester(sip::SipHasher13::new_with_key(&self.0))
    }
}

impl Default for DigestSeed {
    /// Returns a fixed seed, equal on every instance but publicly known.
    ///
    /// A response under a colliding digest is never served, because the full key is compared. But
    /// an attacker could construct two keys that evict each other.
    fn default() -> Self {
        Self(*b"response-cache-1")
    }
}

impl fmt::Debug for DigestSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestSeed(..)")
    }
}

/// Hashes values that are made of keyed digests, such as cache keys. A client cannot choose these,
/// so folding them is all there is to do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DigestHash;

impl BuildHasher for DigestHash {
    type Hasher = DigestHasher;

    fn build_hasher(&self) -> DigestHasher {
        DigestHasher::default()
    }
}

/// The hasher of [`DigestHash`].
#[derive(Debug, Default)]
pub(crate) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, digest: u128) {
        // Rotated, because equal digests must not cancel each other out.
        self.0 = self.0.rotate_left(23) ^ digest as u64 ^ (digest >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The digests that each thread remembers.
const REMEMBERED_DIGESTS: usize = 8;
/// The longest text whose digest is remembered.
const MAX_REMEMBERED_TEXT: usize = 47;

/// The digest of a text, which a thread remembers in 96 bytes.
struct RememberedDigest {
    seed: DigestSeed,
    text: [u8; MAX_REMEMBERED_TEXT],
    length: u8,
    /// [`NONE`] if it is that of no text yet.
    digest: u128,
}

impl RememberedDigest {
    const NONE: Self = Self {
        seed: DigestSeed::new([0; 16]),
        text: [0; MAX_REMEMBERED_TEXT],
        length: 0,
        digest: NONE,
    };

    /// Returns the digest of a text, and remembers it in the place of another one.
    #[inline]
    fn get(&mut self, seed: DigestSeed, text: &[u8], make: impl FnOnce() -> u128) -> u128 {
        let is_known = self.digest != NONE && self.seed == seed;
        if is_known && self.text[..usize::from(self.length)] == *text {
            return self.digest;
        }
        let digest = make();
        if let Some(room) = self.text.get_mut(..text.len()) {
            room.copy_from_slice(text);
            (self.seed, self.length, self.digest) = (seed, text.len() as u8, digest);
        }
        digest
    }
}

/// The digest of no scheme and query, or of no variant.
pub(super) const NONE: u128 = 0;
/// The variant of a request that selects none.
pub(super) const UNSELECTED: u128 = u128::MAX;
/// The selector of a key that no request has: the record of a resource.
pub(super) const RECORD: u128 = u128::MAX;

/// Computes a digest of 64 bits, which takes less time: enough to tell apart the responses of one
/// resource.
pub(super) struct ShortDigester(sip::SipHasher13);

impl ShortDigester {
    /// Adds a text without its length.
    pub(super) fn write_text(&mut self, text: &str) {
        if !text.is_empty() {
            self.0.write(text.as_bytes());
        }
    }

    /// Adds a mark that no text contains: it has a byte that UTF-8 does not use.
    pub(super) fn write_mark(&mut self, mark: u8) {
        self.0.write(&[0xff, mark]);
    }

    /// Returns the digest, which is never [`NONE`] or [`RECORD`].
    pub(super) fn finish(&self) -> u128 {
        u128::from(self.0.finish().max(1))
    }
}

/// Computes one digest.
pub(super) struct Digester(SipHasher13);

impl Digester {
    /// Adds a part, with its length before it.
    pub(super) fn write_part(&mut self, part: &[u8]) {
        self.write_length(part.len());
        self.0.write(part);
    }

    /// Adds a fixed number of parts: all lengths, then all parts.
    ///
    /// This order keeps the lengths aligned, which makes hashing them cheap.
    pub(super) fn write_parts<const N: usize>(&mut self, parts: [&str; N]) {
        for part in parts {
            self.write_length(part.len());
        }
        for part in parts {
            self.write_text(part);
        }
    }

    /// Adds two parts, and a third one that nothing may follow: its length is not added.
    pub(super) fn write_and_end(&mut self, parts: [&str; 2], last: &str) {
        let [first, second] = parts.map(|part| part.len() as u64);
        self.0.write_u64((first ^ second.rotate_left(32)).to_le());
        let [first, second] = parts;
        self.write_text(first);
        self.write_text(second);
        self.write_text(last);
    }

    /// Adds a text without its length.
    pub(super) fn write_text(&mut self, text: &str) {
        // Most have an empty part.
        if !text.is_empty() {
            self.0.write(text.as_bytes());
        }
    }

    /// Adds the length of a part.
    fn write_length(&mut self, length: usize) {
        // The hasher uses the byte order of this machine; a digest is equal on all machines.
        self.0.write_u64((length as u64).to_le());
    }

    /// Returns the digest, which is never [`NONE`] or [`RECORD`].
    pub(super) fn finish(&self) -> u128 {
        self.0.finish128().as_u128().clamp(NONE + 1, RECORD - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts that meet in one slot, whose beginnings are equal, that are empty or too long.
    #[test]
    fn a_remembered_digest_is_the_one_that_would_be_made() {
        let seeds = [1, 2].map(|seed| DigestSeed::new([seed; 16]));
        let long = "x".repeat(MAX_REMEMBERED_TEXT + 9);
        let texts = [
            "",
            "a",
            "aa",
            "aaaaaaaaa",
            "baaaaaaaa",
            "shop.example:3000",
            &long[..MAX_REMEMBERED_TEXT],
            &long[..MAX_REMEMBERED_TEXT + 1],
            &long,
        ];
        for _ in 0..3 {
            for (seed, text) in seeds.iter().flat_map(|seed| texts.map(|text| (seed, text))) {
                let mut digester = seed.short_hasher();
                digester.write_text(text);
                for _ in 0..2 {
                    assert_eq!(seed.short_digest_of(text), digester.finish(), "{text}");
                }
            }
        }
    }
}
