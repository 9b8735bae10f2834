//! The values that selected a stored response.

use std::sync::Arc;

use http::header::ACCEPT_LANGUAGE;
use http::{HeaderMap, HeaderName};

use super::normalize::{SelectingValue, selecting_value};
use super::preference::preferred_language;
use super::rule::{ABSENT, VaryRule};
use crate::semantics::allocation::allocated;
use crate::semantics::fields::limits::MAX_SELECTING_BYTES;

/// A rule with the values of the request that a stored response answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VarySelection {
    rule: Arc<VaryRule>,
    values: Box<[u8]>,
}

impl VarySelection {
    /// Takes the selecting values of a request; `None` if they are too long to be kept.
    #[must_use]
    pub fn from_request(rule: Arc<VaryRule>, request: &HeaderMap) -> Option<Self> {
        let mut values = Vec::new();
        let is_whole =
            rule.write_selecting_values(request, |bytes| values.extend_from_slice(bytes));
        is_whole.then(|| Self {
            rule,
            values: values.into_boxed_slice(),
        })
    }

    /// Restores a selection from its [`values`](Self::values).
    #[must_use]
    pub fn from_values(rule: Arc<VaryRule>, values: &[u8]) -> Self {
        let values = values.into();
        Self { rule, values }
    }

    /// Returns the values, to be saved. Only [`matches`](Self::matches) reads them.
    #[must_use]
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// Returns the rule.
    #[must_use]
    pub fn rule(&self) -> &Arc<VaryRule> {
        &self.rule
    }

    /// Returns whether a request selects the same response. Allocates for `Accept*` fields and for
    /// fields with several lines.
    #[must_use]
    pub fn matches(&self, request: &HeaderMap) -> bool {
        let mut rest = Some(&*self.values);
        let is_whole = self.rule.write_selecting_values(request, |bytes| {
            rest = rest.and_then(|rest| rest.strip_prefix(bytes));
        });
        is_whole && rest.is_some_and(<[u8]>::is_empty)
    }

    /// Returns whether a request differs in `Accept-Language` alone, and prefers the one language
    /// of the stored response to all others (RFC 9111 §4.1).
    #[must_use]
    pub fn matches_by_language(
        &self,
        request: &HeaderMap,
        stored_language: impl Fn() -> Option<Vec<u8>>,
    ) -> bool {
        let prefers = || {
            let preferred = preferred_language(request);
            preferred.is_some() && preferred == stored_language()
        };
        self.rule.selects_by_language() && prefers() && self.matches_apart_from_language(request)
    }

    /// Returns whether all selecting fields but `Accept-Language` match.
    fn matches_apart_from_language(&self, request: &HeaderMap) -> bool {
        let mut rest = &*self.values;
        let is_equal = |name: &HeaderName| {
            let (length, behind) = rest.split_first_chunk()?;
            let length = u64::from_le_bytes(*length);
            let value = match length {
                ABSENT => None,
                _ => Some(behind.get(..usize::try_from(length).ok()?)?),
            };
            rest = behind.get(value.map_or(0, <[u8]>::len)..)?;
            let is_requested = || match selecting_value(name, request, MAX_SELECTING_BYTES) {
                SelectingValue::Absent => value.is_none(),
                SelectingValue::Value(requested, _) => value == Some(&*requested),
                SelectingValue::BeyondLimit => false,
            };
            Some(name == ACCEPT_LANGUAGE || is_requested())
        };
        let mut fields = self.rule.names().iter().map(is_equal);
        fields.all(|is_equal| is_equal == Some(true))
    }

    /// Returns the bytes of memory that rule and values take.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.rule.weight() + allocated(self.values.len())
    }
}
