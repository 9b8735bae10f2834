//! The fields that `Vary` names.

use std::sync::Arc;

use http::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderName, VARY};

use super::normalize::normalized_value;
use crate::semantics::fields;

/// The `Vary` of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// There is no `Vary`: every request selects the response.
    Absent,
    /// The values of these fields select the response.
    Fields(Arc<VaryRule>),
    /// `*`, or a member that is no field name: no other request is known to select the response.
    NeverMatches,
}

impl Vary {
    /// Reads `Vary` from the header fields of a response.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for member in fields::list(headers, &VARY) {
            match HeaderName::from_bytes(member) {
                Ok(name) if member != b"*" => names.push(name),
                _ => return Self::NeverMatches,
            }
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        if names.is_empty() {
            return Self::Absent;
        }
        Self::Fields(Arc::new(VaryRule {
            names: names.into_boxed_slice(),
        }))
    }
}

/// The length that stands for an absent field.
pub(super) const ABSENT: u64 = u64::MAX;

/// The names of the selecting fields, sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VaryRule {
    names: Box<[HeaderName]>,
}

impl VaryRule {
    /// Returns the names.
    #[must_use]
    pub fn names(&self) -> &[HeaderName] {
        &self.names
    }

    /// Returns whether `Accept-Language` is a selecting field.
    #[must_use]
    pub(crate) fn selects_by_language(&self) -> bool {
        self.names.contains(&ACCEPT_LANGUAGE)
    }

    /// Returns the bytes of memory that the rule takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>()
            + self
                .names
                .iter()
                .map(|name| size_of::<HeaderName>() + name.as_str().len())
                .sum::<usize>()
    }

    /// Passes the selecting values of a request to `sink`, each with its length before it.
    ///
    /// Two requests yield the same bytes exactly if they select the same variant (RFC 9111 §4.1).
    /// Values are in normal form. An absent field differs from an empty one.
    pub(crate) fn write_selecting_values(&self, request: &HeaderMap, mut sink: impl FnMut(&[u8])) {
        for name in &self.names {
            match normalized_value(name, request) {
                None => sink(&ABSENT.to_le_bytes()),
                Some(value) => {
                    sink(&(value.len() as u64).to_le_bytes());
                    sink(&value);
                }
            }
        }
    }
}
