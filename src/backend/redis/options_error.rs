//! The error of options that cannot be used.
//!
//! Errors of a running backend are [`BackendError`](crate::backend::BackendError)s.

use std::error::Error;
use std::fmt;

use redis::RedisError;

use super::protocol::keys::MAX_NAMESPACE_LENGTH;

/// The reason why [`RedisOptions`](super::RedisOptions) were rejected.
///
/// The URL is left out of the text, because it may contain a password.
#[derive(Debug)]
pub struct RedisOptionsError(Kind);

#[derive(Debug)]
enum Kind {
    InvalidUrl(RedisError),
    InvalidNamespace(Box<str>),
    TlsDisabled,
}

impl RedisOptionsError {
    pub(super) fn invalid_url(source: RedisError) -> Self {
        Self(Kind::InvalidUrl(source))
    }

    pub(super) fn invalid_namespace(name: &str) -> Self {
        Self(Kind::InvalidNamespace(name.into()))
    }

    pub(super) fn tls_disabled() -> Self {
        Self(Kind::TlsDisabled)
    }
}

impl fmt::Display for RedisOptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::InvalidUrl(_) => f.write_str(
                "invalid Redis URL: use redis://[user][:password@]host[:port][/database]",
            ),
            Kind::InvalidNamespace(name) => write!(
                f,
                "invalid Redis namespace {name:?}: \
                 use 1 to {MAX_NAMESPACE_LENGTH} letters, digits, '.', '_' or '-'"
            ),
            Kind::TlsDisabled => {
                f.write_str("unsupported scheme rediss://: enable the feature redis-tls")
            }
        }
    }
}

impl Error for RedisOptionsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::InvalidUrl(source) => Some(source),
            Kind::InvalidNamespace(_) | Kind::TlsDisabled => None,
        }
    }
}
