//! Names that options list: of query parameters and of cookies.

use std::fmt;

/// A name, or all names with a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamePattern {
    name: Box<str>,
    is_prefix: bool,
}

impl NamePattern {
    /// Reads a name. A `*` at the end matches any rest.
    pub(super) fn new(text: &str) -> Self {
        let prefix = text.strip_suffix('*');
        Self {
            name: prefix.unwrap_or(text).into(),
            is_prefix: prefix.is_some(),
        }
    }

    /// Returns whether a name as received, byte for byte, is one of them.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let own = self.name.as_bytes();
        match self.is_prefix {
            true => name.starts_with(own),
            false => name == own,
        }
    }
}

/// Writes the name as it was read.
impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = if self.is_prefix { "*" } else { "" };
        write!(f, "{}{rest}", self.name)
    }
}
