//! Targeted `Cache-Control` (RFC 9213): fields for some caches only, which obey them instead of
//! `Cache-Control`.

use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::semantics::fields::has_any;

static DEFAULT: LazyLock<TargetedFields> =
    LazyLock::new(|| TargetedFields::new([HeaderName::from_static("cdn-cache-control")]));

/// The targeted fields that this cache obeys, the most important one first (RFC 9213 §2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetedFields(Arc<[HeaderName]>);

impl Default for TargetedFields {
    /// The default: `CDN-Cache-Control` (RFC 9213 §3.1).
    fn default() -> Self {
        DEFAULT.clone()
    }
}

impl TargetedFields {
    /// Creates the list of these fields, in this order.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = HeaderName>) -> Self {
        Self(names.into_iter().collect())
    }

    /// Reads the first field that is present, well-formed and not empty. The other fields, and
    /// `Cache-Control`, are ignored then (RFC 9213 §2.1).
    pub(super) fn dictionary(&self, headers: &HeaderMap) -> Option<Dictionary> {
        let mut present = self.0.iter().filter(|name| headers.contains_key(*name));
        present.find_map(|name| dictionary(headers, name))
    }

    /// Returns whether the response has any of the fields.
    pub(super) fn is_present(&self, headers: &HeaderMap) -> bool {
        has_any(headers, &self.0)
    }

    /// Returns whether a field has a value that cannot be read.
    pub(super) fn is_malformed(&self, headers: &HeaderMap) -> bool {
        let is_malformed = |name: &HeaderName| {
            let mut lines = headers.get_all(name).iter();
            lines.any(|line| !line.is_empty()) && dictionary(headers, name).is_none()
        };
        self.0.iter().any(is_malformed)
    }
}

/// Reads all lines of a field as one Dictionary; `None` if it is malformed or empty.
fn dictionary(headers: &HeaderMap, name: &HeaderName) -> Option<Dictionary> {
    let mut text = Vec::new();
    for line in headers.get_all(name) {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(line.as_bytes());
    }
    let members = Parser::new(&text).parse::<Dictionary>().ok()?;
    (!members.is_empty()).then_some(members)
}

/// Calls `take` with each member that is a directive.
///
/// A lifetime that is no Integer is ignored. A directive without argument is on unless its value is
/// `?0`.
pub(super) fn for_each_member(members: &Dictionary, mut take: impl FnMut(&[u8], Option<&[u8]>)) {
    for (key, member) in members {
        let name = key.as_str();
        let ListEntry::Item(item) = member else {
            continue;
        };
        let is_lifetime = matches!(
            name,
            "max-age" | "s-maxage" | "stale-while-revalidate" | "stale-if-error"
        );
        match &item.bare_item {
            BareItem::Integer(seconds) if is_lifetime => {
                take(name.as_bytes(), Some(seconds.to_string().as_bytes()));
            }
            BareItem::Boolean(false) => {}
            _ if is_lifetime => {}
            BareItem::String(text) => take(name.as_bytes(), Some(text.as_str().as_bytes())),
            BareItem::Token(text) => take(name.as_bytes(), Some(text.as_str().as_bytes())),
            _ => take(name.as_bytes(), None),
        }
    }
}
