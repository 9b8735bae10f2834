//! The values that selected a stored response.

use std::sync::Arc;

use http::HeaderMap;

use super::rule::VaryRule;

/// A rule with the values a stored response was selected by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VarySelection {
    rule: Arc<VaryRule>,
    values: Box<[u8]>,
}

impl VarySelection {
    /// The values of the request that a response with this rule answers.
    #[must_use]
    pub fn from_request(rule: Arc<VaryRule>, request: &HeaderMap) -> Self {
        let mut values = Vec::new();
        rule.write_selecting_values(request, |bytes| values.extend_from_slice(bytes));
        Self {
            rule,
            values: values.into_boxed_slice(),
        }
    }

    /// The same values as they were written down, see [`values`](Self::values).
    #[must_use]
    pub fn from_values(rule: Arc<VaryRule>, values: &[u8]) -> Self {
        let values = values.into();
        Self { rule, values }
    }

    /// The values, to be written down. Never to be read by anything but [`matches`](Self::matches).
    #[must_use]
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> &Arc<VaryRule> {
        &self.rule
    }

    /// Whether `request` selects the same response. Allocates for what clients accept, and for fields of several lines.
    #[must_use]
    pub fn matches(&self, request: &HeaderMap) -> bool {
        let mut rest = Some(&*self.values);
        self.rule.write_selecting_values(request, |bytes| {
            rest = rest.and_then(|rest| rest.strip_prefix(bytes));
        });
        rest.is_some_and(<[u8]>::is_empty)
    }

    /// Bytes held.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.rule.weight() + self.values.len()
    }
}
