//! Errors of the guard's own.

use std::error::Error;
use std::fmt;

/// Why the backend was not asked, or did not answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Guarding {
    Open,
    Undelivered,
    Late,
}

impl fmt::Display for Guarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "it has failed too often",
            Self::Undelivered => "an invalidation is still to be delivered",
            Self::Late => "it did not answer in time",
        })
    }
}

impl Error for Guarding {}
