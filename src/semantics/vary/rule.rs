//! The fields that `Vary` names.

use std::sync::Arc;

use http::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderName, VARY};

use super::normalize::{SelectingValue, selecting_value};
use crate::semantics::allocation::{allocated, allocated_counted};
use crate::semantics::fields;
use crate::semantics::fields::limits::{MAX_SELECTING_BYTES, MAX_SELECTING_FIELDS};

/// The `Vary` of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// There is no `Vary`: every request selects the response.
    Absent,
    /// The values of these fields select the response.
    Fields(Arc<VaryRule>),
    /// `*`, a member that is no field name, or more than [`MAX_SELECTING_FIELDS`] names: no other
    /// request is known to select the response.
    NeverMatches,
}

impl Vary {
    /// Reads `Vary` from the header fields of a response.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for member in fields::list(headers, &VARY) {
            match HeaderName::from_bytes(member) {
                Ok(name) if names.contains(&name) => {}
                Ok(name) if member != b"*" && names.len() < MAX_SELECTING_FIELDS => {
                    names.push(name);
                }
                _ => return Self::NeverMatches,
            }
        }
        Self::from_names(names)
    }

    /// Returns the rule with more selecting fields. Too many select nothing.
    #[must_use]
    pub fn with_fields<'n>(self, fields: impl Iterator<Item = &'n HeaderName>) -> Self {
        let mut names = match &self {
            Self::NeverMatches => return self,
            Self::Absent => Vec::new(),
            Self::Fields(rule) => rule.names.to_vec(),
        };
        for name in fields {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        match (names.len() > MAX_SELECTING_FIELDS, &self) {
            (true, _) => Self::NeverMatches,
            (false, Self::Fields(rule)) if rule.names.len() == names.len() => self,
            (false, _) => Self::from_names(names),
        }
    }

    fn from_names(mut names: Vec<HeaderName>) -> Self {
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
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
        let text = self.names.iter().map(|name| name.as_str().len());
        allocated_counted(size_of::<Self>())
            + allocated(size_of_val(&*self.names))
            + text.sum::<usize>()
    }

    /// Passes the selecting values of a request to `sink`, each with its length before it.
    ///
    /// Two requests yield the same bytes exactly if they select the same variant (RFC 9111 §4.1).
    /// Values are in normal form. An absent field differs from an empty one.
    ///
    /// Returns `false` for a request that selects no stored response, because its selecting fields
    /// are longer than [`MAX_SELECTING_BYTES`]. The bytes mean nothing then.
    #[must_use]
    pub(crate) fn write_selecting_values(
        &self,
        request: &HeaderMap,
        mut sink: impl FnMut(&[u8]),
    ) -> bool {
        let mut left = MAX_SELECTING_BYTES;
        for name in &self.names {
            match selecting_value(name, request, left) {
                SelectingValue::Absent => sink(&ABSENT.to_le_bytes()),
                SelectingValue::Value(value, length) => {
                    left -= length;
                    sink(&(value.len() as u64).to_le_bytes());
                    sink(&value);
                }
                SelectingValue::BeyondLimit => return false,
            }
        }
        true
    }
}
