//! The constants of the encoding, and its checksum.

use xxhash_rust::xxh3::xxh3_64;

pub(super) const MAGIC: &[u8; 3] = b"trc";
/// Changes with any change of the encoding. Bytes of another version are a miss.
pub(super) const VERSION: u8 = 4;
/// The offset of the first byte that the checksum covers.
pub(super) const CHECKED: usize = MAGIC.len() + 1 + 8;
/// The length of everything before the meta data.
pub(super) const HEAD: usize = CHECKED + 8 + 1 + 4;
/// The length of the parts of a response's meta data that have the same size in each.
pub(super) const FIXED: usize = 2 + 2 + 8 + 8 + 4 + 4;
/// The kind of a response.
pub(super) const RESPONSE: u8 = 0;
/// The kind of a rule.
pub(super) const RULE: u8 = 1;

/// The kind of a response whose body is stored elsewhere.
pub(super) const DETACHED: u8 = 2;

/// Detects accidents. It is no protection from a program that can write to the backend.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}
