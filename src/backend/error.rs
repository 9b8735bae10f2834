use std::error::Error;
use std::fmt;

/// Why a backend could not do what it was asked.
///
/// It is counted and logged; it never reaches a client.
#[derive(Debug)]
pub struct BackendError {
    kind: Kind,
    source: Box<dyn Error + Send + Sync>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Failed,
    Refused,
    Unavailable,
}

impl BackendError {
    /// The backend failed, or did not answer.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(Kind::Failed, source)
    }

    /// The backend is well, but will not do this: it has no room, say. Nothing has changed.
    pub fn refused(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(Kind::Refused, source)
    }

    /// The backend was not asked, because it is known to be of no use at the moment.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(Kind::Unavailable, source)
    }

    fn of(kind: Kind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: source.into(),
        }
    }

    /// Whether the backend answered, and is well: see [`refused`](Self::refused).
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.kind == Kind::Refused
    }

    /// Whether the backend was not even asked: see [`unavailable`](Self::unavailable).
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unavailable
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Failed => "the cache backend failed",
            Kind::Refused => "the cache backend refused",
            Kind::Unavailable => "the cache backend was not asked",
        })
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
