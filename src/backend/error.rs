use std::error::Error;
use std::fmt;

/// Why a backend could not do what it was asked.
///
/// It is counted and logged; it never reaches a client.
#[derive(Debug)]
pub struct BackendError {
    source: Box<dyn Error + Send + Sync>,
}

impl BackendError {
    /// An error with its cause.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
        }
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cache backend failed")
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
