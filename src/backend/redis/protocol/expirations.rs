//! The tokens that a lease, or the token of a group, has had before its entries were made stale.
//!
//! ```text
//! lease = token 48 | listed entries 17 each | expirations
//! group = token 48 | expirations
//! expiration = 'x' | random part of an earlier token 16 | stamp of the server's clock 16
//! ```
//!
//! An entry with an earlier token is used as one whose lifetime ended then. The scripts `EXPIRE`
//! and `EXPIRE_GROUPS` change the token and keep the last four before it; an entry with an older
//! one is a miss.

use bytes::Bytes;

use super::tokens::Token;

/// The letter that an expiration begins with. No listed entry begins with it.
const LETTER: u8 = b'x';
/// The length of one.
const LENGTH: usize = 1 + 16 + 16;
/// The length of a listed entry.
const LISTED_LENGTH: usize = 17;

/// Returns the stamp of a time, as an expiration has it.
pub(crate) fn stamp_argument(stamp: u64) -> Bytes {
    let mut argument = [0; 16];
    argument[..8].copy_from_slice(&stamp.to_le_bytes());
    Bytes::copy_from_slice(&argument)
}

/// Returns the stamp of the time when an earlier token was changed, by the value of the lease or
/// group that has another one now; `None` if the value does not say.
pub(crate) fn expired_at(value: &[u8], earlier: &Token) -> Option<u64> {
    let mut rest = value.get(Token::LENGTH..)?;
    if value[..Token::RANDOM] != earlier.as_ref()[..Token::RANDOM] {
        return None;
    }
    while rest.first().is_some_and(|letter| *letter != LETTER) {
        rest = rest.get(LISTED_LENGTH..)?;
    }
    let expirations = rest.chunks_exact(LENGTH);
    let mut of_token = expirations.filter(|expiration| {
        expiration[0] == LETTER && expiration[1..17] == earlier.as_ref()[Token::RANDOM..]
    });
    let stamp = of_token.next()?[17..25].try_into().ok()?;
    Some(u64::from_le_bytes(stamp))
}
