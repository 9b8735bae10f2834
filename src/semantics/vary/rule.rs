//! The fields that `Vary` names.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, VARY};

use super::normalize::normalized_value;
use crate::semantics::fields;

/// What a response's `Vary` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// No `Vary`: every request selects it.
    Absent,
    /// Selected by the values of these fields.
    Fields(Arc<VaryRule>),
    /// `*`, or a member that is no field name: no other request is known to select it.
    NeverMatches,
}

impl Vary {
    /// Reads it from a response's headers.
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

/// The names of the selecting fields: sorted, each once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VaryRule {
    names: Box<[HeaderName]>,
}

impl VaryRule {
    /// The names.
    #[must_use]
    pub fn names(&self) -> &[HeaderName] {
        &self.names
    }

    /// Bytes this rule holds.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>()
            + self
                .names
                .iter()
                .map(|name| size_of::<HeaderName>() + name.as_str().len())
                .sum::<usize>()
    }

    /// Feeds `sink` with the selecting values of a request, length-prefixed, so that two requests yield the same bytes
    /// exactly when they select the same variant (§4.1): values are normalized by what is known of their field. An absent field differs from an empty one.
    pub(crate) fn write_selecting_values(&self, request: &HeaderMap, mut sink: impl FnMut(&[u8])) {
        for name in &self.names {
            match normalized_value(name, request) {
                None => sink(&u64::MAX.to_le_bytes()),
                Some(value) => {
                    sink(&(value.len() as u64).to_le_bytes());
                    sink(&value);
                }
            }
        }
    }
}
