//! Directives of a response (RFC 9111 §5.2.2).

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, LOCATION, VARY};
use http::{HeaderMap, HeaderName};

use super::delta_seconds::{lifetime, smallest};
use super::readable::{has_pragma_no_cache, is_directive, is_structured_directive};
use super::targeted::{TargetedFields, for_each_member};
use crate::semantics::fields;

/// The directives of a response's `Cache-Control` (RFC 9111 §5.2.2), or of a targeted field in its
/// place (RFC 9213).
///
/// `no-cache` and `private` with field names concern these fields only, see [`withheld_fields`]. If
/// a name cannot be read, or is that of a field needed to reuse the response, they concern the
/// whole response, as both sections allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// `immutable` (RFC 8246): the response does not change while it is fresh.
    pub immutable: bool,
    /// Whether the directives come from a targeted field. `Expires` is ignored then (RFC 9213
    /// §2.1).
    pub is_targeted: bool,
    /// `max-age` (RFC 9111 §5.2.2.1): an explicit lifetime.
    pub max_age: Option<Duration>,
    /// `must-revalidate` (§5.2.2.2): never served stale. Allows storing with `Authorization`
    /// (§3.5).
    pub must_revalidate: bool,
    /// `must-understand` (§5.2.2.3): stored only if the status is understood, and then despite
    /// `no-store`.
    pub must_understand: bool,
    /// `no-cache` (§5.2.2.4): never served without validation.
    pub no_cache: bool,
    /// `no-store` (§5.2.2.5).
    pub no_store: bool,
    /// `private` (§5.2.2.7).
    pub private: bool,
    /// `proxy-revalidate` (§5.2.2.8): never served stale. Does not allow storing with
    /// `Authorization`.
    pub proxy_revalidate: bool,
    /// `public` (§5.2.2.9).
    pub public: bool,
    /// `s-maxage` (§5.2.2.10): an explicit lifetime in shared caches, before `max-age` and
    /// `Expires`.
    pub s_maxage: Option<Duration>,
    /// `stale-if-error` (RFC 5861 §4): how stale the response may be in the place of an error.
    pub stale_if_error: Option<Duration>,
    /// `stale-while-revalidate` (RFC 5861 §3): how stale the response may be while it is refreshed.
    pub stale_while_revalidate: Option<Duration>,
    /// Whether the response has [`withheld_fields`].
    pub withholds_fields: bool,
    /// Whether a member is no directive, or seems to be a misspelt one. A response like that
    /// clearly states no lifetime and forbids no storing.
    pub has_unreadable: bool,
}

impl ResponseDirectives {
    /// Reads the directives of a response.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, targeted: &TargetedFields) -> Self {
        let mut directives = Self::default();
        // One pass: every fill comes here.
        if targeted.is_present(headers) && directives.add_targeted(headers, targeted) {
            return directives;
        }
        let mut is_absent = true;
        for member in fields::list(headers, &CACHE_CONTROL) {
            is_absent = false;
            let (name, value) = fields::parameter(member);
            directives.add(name, value.as_deref());
            directives.has_unreadable |= !is_directive(member);
        }
        if is_absent && !headers.contains_key(CACHE_CONTROL) {
            directives.has_unreadable |= has_pragma_no_cache(headers);
        }
        directives
    }

    /// Drops the directives that concern shared caches alone (RFC 9111 §5.2.2.8, §5.2.2.10).
    pub(crate) const fn keep_those_of_private_caches(&mut self) {
        self.s_maxage = None;
        self.proxy_revalidate = false;
    }

    /// Returns whether a directive forbids to serve the response stale, in any window.
    pub(crate) const fn is_never_stale(&self) -> bool {
        self.must_revalidate || self.proxy_revalidate || self.no_cache
    }

    /// Takes the directives of the targeted field that counts. Returns whether there is one.
    #[cold]
    fn add_targeted(&mut self, headers: &HeaderMap, targeted: &TargetedFields) -> bool {
        let Some(members) = targeted.dictionary(headers) else {
            self.has_unreadable = targeted.is_malformed(headers);
            return false;
        };
        for_each_member(&members, |name, value| self.add(name, value));
        self.has_unreadable = !members
            .iter()
            .all(|(name, member)| is_structured_directive(name.as_str(), member));
        self.is_targeted = true;
        true
    }

    /// Takes one directive and its argument.
    fn add(&mut self, name: &[u8], value: Option<&[u8]>) {
        // Comparing the lengths first spares most calls.
        let is = |directive: &str| {
            directive.len() == name.len() && name.eq_ignore_ascii_case(directive.as_bytes())
        };
        if is("max-age") {
            smallest(&mut self.max_age, lifetime(value));
        } else if is("s-maxage") {
            smallest(&mut self.s_maxage, lifetime(value));
        } else if is("stale-if-error") {
            smallest(&mut self.stale_if_error, lifetime(value));
        } else if is("stale-while-revalidate") {
            smallest(&mut self.stale_while_revalidate, lifetime(value));
        } else if is("no-cache") {
            self.qualify(value, |directives| &mut directives.no_cache);
        } else if is("private") {
            self.qualify(value, |directives| &mut directives.private);
        } else if let Some(flag) = self.flag(name) {
            *flag = true;
        }
    }

    /// Returns the switch of a directive without argument.
    fn flag(&mut self, name: &[u8]) -> Option<&mut bool> {
        let flags = [
            ("immutable", &mut self.immutable),
            ("must-revalidate", &mut self.must_revalidate),
            ("must-understand", &mut self.must_understand),
            ("no-store", &mut self.no_store),
            ("proxy-revalidate", &mut self.proxy_revalidate),
            ("public", &mut self.public),
        ];
        let mut flags = flags.into_iter();
        let flag = flags.find(|(flag, _)| {
            flag.len() == name.len() && name.eq_ignore_ascii_case(flag.as_bytes())
        });
        flag.map(|(_, flag)| flag)
    }

    /// Takes `no-cache` or `private`, which concern the whole response unless they name fields.
    fn qualify(&mut self, value: Option<&[u8]>, all: impl FnOnce(&mut Self) -> &mut bool) {
        match value.and_then(field_names) {
            Some(_) => self.withholds_fields = true,
            None => *all(self) = true,
        }
    }
}

/// Calls `take` with each directive of a response.
fn for_each_directive(
    headers: &HeaderMap,
    targeted: &TargetedFields,
    mut take: impl FnMut(&[u8], Option<&[u8]>),
) {
    if let Some(members) = targeted.dictionary(headers) {
        return for_each_member(&members, take);
    }
    for member in fields::list(headers, &CACHE_CONTROL) {
        let (name, value) = fields::parameter(member);
        take(name, value.as_deref());
    }
}

/// Returns the fields that `no-cache` and `private` name (RFC 9111 §5.2.2.4, §5.2.2.7).
///
/// They are not stored; the rest of the response is.
#[must_use]
pub fn withheld_fields(headers: &HeaderMap, targeted: &TargetedFields) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for_each_directive(headers, targeted, |name, value| {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        if is("no-cache") || is("private") {
            names.extend(value.and_then(field_names).into_iter().flatten());
        }
    });
    names
}

/// The fields without which a response must not be reused.
const NEEDED: [HeaderName; 6] = [
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    CONTENT_TYPE,
    LOCATION,
    VARY,
];

/// Reads a list of field names.
///
/// `None` if the list is empty, if a member is no field name, or if one is that of a field without
/// which the response must not be reused: it tells what the content is, or for which requests.
fn field_names(list: &[u8]) -> Option<Vec<HeaderName>> {
    let members = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let names: Option<Vec<_>> = members
        .filter(|member| !member.is_empty())
        .map(|member| HeaderName::from_bytes(member).ok())
        .collect();
    names.filter(|names| {
        let is_needed = |name: &HeaderName| NEEDED.contains(name);
        !names.is_empty() && !names.iter().any(is_needed)
    })
}
