//! Directives of a response (RFC 9111 §5.2.2).

use std::time::Duration;

use http::header::{CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderName};

use super::delta_seconds::{lifetime, smallest};
use super::targeted::TargetedFields;
use crate::semantics::fields;

/// What a response's `Cache-Control` says to a shared cache (RFC 9111 §5.2.2), or a field in its place (RFC 9213).
///
/// `no-cache` and `private` that name fields are about these alone, see [`withheld`]; where what they name cannot be read,
/// or is needed to reuse the response, they are about all of it, which both sections allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseDirectives {
    /// RFC 8246: it does not change while it is fresh.
    pub immutable: bool,
    /// Whether a targeted field said all this: then `Expires` says nothing (RFC 9213 §2.1).
    pub is_targeted: bool,
    /// §5.2.2.1: explicit lifetime.
    pub max_age: Option<Duration>,
    /// §5.2.2.2: stale is never reused unvalidated; also lets answers to `Authorization` be stored (§3.5).
    pub must_revalidate: bool,
    /// §5.2.2.3: stored only by who understands its status, and then in spite of `no-store`.
    pub must_understand: bool,
    /// §5.2.2.4: never reused unvalidated.
    pub no_cache: bool,
    /// §5.2.2.5
    pub no_store: bool,
    /// §5.2.2.7
    pub private: bool,
    /// §5.2.2.8: the same for shared caches, but for what is said of `Authorization`.
    pub proxy_revalidate: bool,
    /// §5.2.2.9
    pub public: bool,
    /// §5.2.2.10: explicit lifetime for shared caches; wins over `max-age` and `Expires`.
    pub s_maxage: Option<Duration>,
    /// RFC 5861 §4: for how long it may be used, stale, in the place of an error.
    pub stale_if_error: Option<Duration>,
    /// RFC 5861 §3: for how long it may be used, stale, while it is fetched anew.
    pub stale_while_revalidate: Option<Duration>,
    /// Whether some fields are [`withheld`].
    pub withholds: bool,
}

impl ResponseDirectives {
    /// Reads them from a response's headers.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, targets: &TargetedFields) -> Self {
        let mut said = Self::default();
        said.is_targeted = each(headers, targets, |name, value| said.hear(name, value));
        said
    }

    fn hear(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        if is("max-age") {
            smallest(&mut self.max_age, lifetime(value));
        } else if is("s-maxage") {
            smallest(&mut self.s_maxage, lifetime(value));
        } else if is("stale-if-error") {
            smallest(&mut self.stale_if_error, lifetime(value));
        } else if is("stale-while-revalidate") {
            smallest(&mut self.stale_while_revalidate, lifetime(value));
        } else if is("no-cache") {
            self.qualify(value, |said| &mut said.no_cache);
        } else if is("private") {
            self.qualify(value, |said| &mut said.private);
        } else if let Some(flag) = self.flag(name) {
            *flag = true;
        }
    }

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
        let flag = flags.find(|(flag, _)| name.eq_ignore_ascii_case(flag.as_bytes()));
        flag.map(|(_, flag)| flag)
    }

    fn qualify(&mut self, value: Option<&[u8]>, all: impl FnOnce(&mut Self) -> &mut bool) {
        match value.and_then(named) {
            Some(_) => self.withholds = true,
            None => *all(self) = true,
        }
    }
}

/// Hands over each directive of a response; whether a targeted field holds them.
fn each(
    headers: &HeaderMap,
    targets: &TargetedFields,
    mut take: impl FnMut(&[u8], Option<&[u8]>),
) -> bool {
    if targets.each(headers, &mut take) {
        return true;
    }
    for member in fields::list(headers, &CACHE_CONTROL) {
        let (name, value) = fields::parameter(member);
        take(name, value.as_deref());
    }
    false
}

/// The fields that `no-cache` and `private` name (§5.2.2.4, §5.2.2.7): not reused, though the response is.
#[must_use]
pub fn withheld_fields(headers: &HeaderMap, targets: &TargetedFields) -> Vec<HeaderName> {
    let mut names = Vec::new();
    each(headers, targets, |name, value| {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        if is("no-cache") || is("private") {
            names.extend(value.and_then(named).into_iter().flatten());
        }
    });
    names
}

/// The names of a list; `None` where there are none, where one is no name, and where one is of a field without which the
/// response must not be reused.
fn named(list: &[u8]) -> Option<Vec<HeaderName>> {
    let members = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let names: Option<Vec<_>> = members
        .filter(|member| !member.is_empty())
        .map(|member| HeaderName::from_bytes(member).ok())
        .collect();
    names.filter(|names| {
        let is_needed = |name: &HeaderName| [CACHE_CONTROL, VARY].contains(name);
        !names.is_empty() && !names.iter().any(is_needed)
    })
}
