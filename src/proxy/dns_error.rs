//! The error of a DNS lookup.

use std::error::Error;
use std::{fmt, io};

/// The error of a host name that has no address.
#[derive(Debug)]
pub(super) struct DnsError(pub(super) io::Error);

impl DnsError {
    pub(super) fn no_address() -> Self {
        Self(io::Error::new(
            io::ErrorKind::NotFound,
            "the host has no address",
        ))
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DNS lookup failed")
    }
}

impl Error for DnsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
