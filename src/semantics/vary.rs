//! `Vary`: which request fields selected a response, and whether another request selects the same (RFC 9111 §4.1).

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, VARY};

use super::{accept, fields};

/// What a response's `Vary` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// No `Vary`: every request selects it.
    Nothing,
    /// Selected by the values of these fields.
    Fields(Arc<VaryRule>),
    /// `*`, or a member that is no field name: no other request is known to select it.
    Anything,
}

impl Vary {
    /// Reads it from a response's headers.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        for member in fields::list(headers, &VARY) {
            match HeaderName::from_bytes(member) {
                Ok(name) if member != b"*" => names.push(name),
                _ => return Self::Anything,
            }
        }
        names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        if names.is_empty() {
            return Self::Nothing;
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
    pub fn select(&self, request: &HeaderMap, mut sink: impl FnMut(&[u8])) {
        for name in &self.names {
            match accept::normalized(name, request) {
                None => sink(&u64::MAX.to_le_bytes()),
                Some(value) => {
                    sink(&(value.len() as u64).to_le_bytes());
                    sink(&value);
                }
            }
        }
    }
}

/// A rule with the values a stored response was selected by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    rule: Arc<VaryRule>,
    values: Box<[u8]>,
}

impl Selected {
    /// The values of the request that a response with this rule answers.
    #[must_use]
    pub fn by(rule: Arc<VaryRule>, request: &HeaderMap) -> Self {
        let mut values = Vec::new();
        rule.select(request, |bytes| values.extend_from_slice(bytes));
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
        self.rule.select(request, |bytes| {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = value.parse().expect("a field value");
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    }

    fn names(lines: &[&'static str]) -> Option<Vec<String>> {
        let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
        match Vary::of(&map(&lines)) {
            Vary::Nothing => Some(Vec::new()),
            Vary::Fields(rule) => Some(rule.names().iter().map(ToString::to_string).collect()),
            Vary::Anything => None,
        }
    }

    /// H05
    #[test]
    fn section_4_1_which_fields_select() {
        let fields = |list: &[&str]| Some(list.iter().map(ToString::to_string).collect());
        for (lines, expected) in [
            (&[][..], fields(&[])),
            (&[""], fields(&[])),
            (&["Accept"], fields(&["accept"])),
            (&["B, a", "A"], fields(&["a", "b"])),
            (&["*"], None),
            (&["accept, *"], None),
            (&["accept", "*"], None),
            (&["not a name"], None),
        ] {
            assert_eq!(names(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn section_4_1_same_selection() {
        let (a, b) = ("accept", "x-b");
        for (stored, asked, same) in [
            (&[][..], &[][..], true),
            (&[(a, "x")], &[(a, "x")], true),
            (&[(a, "x")], &[(a, " x ")], true),
            (&[(a, "x")], &[(a, "y")], false),
            (&[(a, "x")], &[], false),
            (&[], &[(a, "")], false),
            (&[(a, "x"), (a, "y")], &[(a, "x"), (a, "y")], true),
            (&[(a, "x"), (a, "y")], &[(a, "y"), (a, "x")], false),
            (&[(a, "x"), (a, "y")], &[(a, "x,y")], true),
            (&[(b, "x"), (b, "y")], &[(b, "x, y")], true),
            (&[(b, "x,y")], &[(b, "x, y")], false),
            (&[(a, "")], &[], false),
            (&[(a, "x"), (b, "y")], &[(a, "xy"), (b, "")], false),
            (
                &[(a, "x"), ("other", "1")],
                &[(a, "x"), ("other", "2")],
                true,
            ),
        ] {
            let Vary::Fields(rule) = Vary::of(&map(&[("vary", "accept, x-b")])) else {
                panic!("names fields");
            };
            let selected = Selected::by(rule, &map(stored));
            assert_eq!(selected.matches(&map(asked)), same, "{stored:?} {asked:?}");
        }
    }
}
