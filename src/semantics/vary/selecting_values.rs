//! The values that selected a stored response.

use std::sync::Arc;

use http::HeaderMap;

use super::rule::VaryRule;

/// A rule with the values of the request that a stored response answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VarySelection {
    rule: Arc<VaryRule>,
    values: Box<[u8]>,
}

impl VarySelection {
    /// Takes the selecting values of a request.
    #[must_use]
    pub fn from_request(rule: Arc<VaryRule>, request: &HeaderMap) -> Self {
        let mut values = Vec::new();
        rule.write_selecting_values(request, |bytes| values.extend_from_slice(bytes));
        Self {
            rule,
            values: values.into_boxed_slice(),
        }
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
        self.rule.write_selecting_values(request, |bytes| {
            rest = rest.and_then(|rest| rest.strip_prefix(bytes));
        });
        rest.is_some_and(<[u8]>::is_empty)
    }

    /// Returns the bytes of memory that rule and values take.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.rule.weight() + self.values.len()
    }
}
