//! Stored responses as bytes, for backends outside of this process.
//!
//! [`encode`] and [`encode_rule`] write, [`decode`] reads. The bytes are laid out as follows, with
//! lengths in bytes; numbers are little-endian, text and lists begin with their length:
//!
//! ```text
//! magic 3 | version 1 | checksum 8 | stamp 8 | kind 1 | length of meta 4 | meta | body
//! ```
//!
//! * The checksum covers everything after it. [`decode`] refuses bytes of another version, with a
//!   flipped bit, or with a length that does not fit.
//! * All times are durations, so that the clocks of two machines are never compared: the age of a
//!   response is its age when it was written plus the time it was stored. The backend computes the
//!   latter from its own stamp.
//! * The body comes last, so that a decoded body is a slice of the bytes that were read.
//! * The rule of responses that vary is an encoding of another kind, without a body.
//!
//! Knows the stored response and nothing of backends. Start reading at [`encode`].

mod decode;
#[cfg(feature = "redis")]
mod detached;
mod encode;
mod field_writer;
mod format;
#[cfg(test)]
mod tests;
mod untrusted_reader;

use std::fmt;
use std::sync::Arc;

pub use self::decode::decode;
#[cfg(feature = "redis")]
pub(crate) use self::decode::decode_located;
#[cfg(feature = "redis")]
pub(crate) use self::detached::{encode_detached, matches_body};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use self::encode::sealed;
#[cfg(feature = "redis")]
pub(crate) use self::encode::{TELLING_LENGTH, rule_names_length};
pub use self::encode::{encode, encode_rule};
use super::{StoredResponse, VaryRule};

/// A decoded response or rule.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decoded {
    /// A stored response.
    Response(Arc<StoredResponse>),
    /// The rule of responses that vary.
    Rule(Arc<VaryRule>),
}

/// The reason for which bytes cannot be decoded. A backend treats them as a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are too short, or do not start with the magic number.
    Magic,
    /// The bytes have another version of this format.
    Version(u8),
    /// The checksum does not match.
    Checksum,
    /// The checksum matches, but a field is invalid.
    Malformed,
    /// The backend cannot tell how long the response was stored.
    Undated,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("not a stored response"),
            Self::Version(version) => write!(f, "stored response of version {version}"),
            Self::Checksum => f.write_str("stored response with a wrong checksum"),
            Self::Malformed => f.write_str("stored response with an invalid field"),
            Self::Undated => f.write_str("stored response of unknown age"),
        }
    }
}

impl std::error::Error for DecodeError {}
