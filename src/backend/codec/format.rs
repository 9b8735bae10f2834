//! The constants of the encoding, and its checksum.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

pub(super) const MAGIC: &[u8; 3] = b"trc";
/// Changes with any change of the encoding. Bytes of another version are a miss.
pub(super) const VERSION: u8 = 3;
/// The offset of the first byte that the checksum covers.
pub(super) const CHECKED: usize = MAGIC.len() + 1 + 8;
/// The length of everything before the meta data.
pub(super) const HEAD: usize = CHECKED + 8 + 1 + 4;
/// The kind of a response.
pub(super) const RESPONSE: u8 = 0;
/// The kind of a rule.
pub(super) const RULE: u8 = 1;

/// Detects accidents. It is no protection from a program that can write to the backend.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}
