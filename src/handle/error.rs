//! The error of an invalidation.

use std::error::Error;
use std::fmt;

use http::uri::InvalidUri;

use crate::backend::BackendError;

/// The error of an invalidation: the URI names no resource, or the backend did not acknowledge the
/// invalidation.
#[derive(Debug)]
pub struct InvalidationError {
    kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Uri(InvalidUri),
    NoPath,
    NoAuthority,
    Backend(BackendError),
}

impl InvalidationError {
    /// Returns whether the URI names no resource of this cache; trying again is then useless.
    #[must_use]
    pub fn is_invalid_uri(&self) -> bool {
        matches!(self.kind, Kind::Uri(_) | Kind::NoPath | Kind::NoAuthority)
    }

    /// Returns whether the backend failed or did not acknowledge in time.
    #[must_use]
    pub fn is_backend_failure(&self) -> bool {
        matches!(self.kind, Kind::Backend(_))
    }
}

impl fmt::Display for InvalidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Uri(_) => "invalidation failed: not a URI",
            Kind::NoPath => "invalidation failed: the URI has no path; begin a path with `/`",
            Kind::NoAuthority => {
                "invalidation failed: the URI has no valid host, which `Sites::ByAuthority` needs"
            }
            Kind::Backend(_) => "invalidation failed: the backend did not acknowledge it",
        })
    }
}

impl Error for InvalidationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Uri(error) => Some(error),
            Kind::NoPath | Kind::NoAuthority => None,
            Kind::Backend(error) => Some(error),
        }
    }
}

impl From<Kind> for InvalidationError {
    fn from(kind: Kind) -> Self {
        Self { kind }
    }
}
