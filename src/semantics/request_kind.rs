//! Cookies and credentials of a request, which may make its response personal.
//!
//! Storing, the reuse of stored refusals (401, 403) and the memory of uncacheable keys all go by
//! the [`RequestKind`]. [`CredentialFields`] computes it.

use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName};

use crate::semantics::fields::name_filter::NameFilter;

/// The names of the request fields that count as credentials by default, in lower case.
///
/// [`CacheLayer::credential_fields`](crate::CacheLayer::credential_fields) sets others.
pub const DEFAULT_CREDENTIAL_FIELDS: [&str; 5] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "x-auth-token",
    "x-access-token",
];

/// [`DEFAULT_CREDENTIAL_FIELDS`], parsed.
static DEFAULT: [HeaderName; 5] = [
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("x-access-token"),
];

/// Cookies and credentials of a request, which may make its response personal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// Neither cookies nor credentials.
    Plain,
    /// `Cookie`.
    WithCookies,
    /// A credential field.
    WithCredentials,
    /// `Cookie` and a credential field.
    WithBoth,
}

impl RequestKind {
    /// All kinds.
    pub(crate) const ALL: [Self; 4] = [
        Self::Plain,
        Self::WithCookies,
        Self::WithCredentials,
        Self::WithBoth,
    ];

    const fn new(has_cookies: bool, has_credentials: bool) -> Self {
        match (has_cookies, has_credentials) {
            (false, false) => Self::Plain,
            (true, false) => Self::WithCookies,
            (false, true) => Self::WithCredentials,
            (true, true) => Self::WithBoth,
        }
    }

    /// Returns whether the request has `Cookie`.
    #[must_use]
    pub const fn has_cookies(self) -> bool {
        matches!(self, Self::WithCookies | Self::WithBoth)
    }

    /// Returns whether the request has a credential field.
    #[must_use]
    pub const fn has_credentials(self) -> bool {
        matches!(self, Self::WithCredentials | Self::WithBoth)
    }
}

/// The request fields that count as credentials. `Authorization` is always one of them (RFC 9111
/// §3.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFields {
    /// `None`: the default list.
    names: Option<Arc<[HeaderName]>>,
    /// That of the names and of `Cookie`.
    filter: NameFilter,
}

impl Default for CredentialFields {
    fn default() -> Self {
        Self {
            names: None,
            filter: filter_of(&DEFAULT),
        }
    }
}

impl CredentialFields {
    /// Creates a list of these names and `Authorization`.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = HeaderName>) -> Self {
        let mut listed = vec![AUTHORIZATION];
        for name in names {
            if !listed.contains(&name) {
                listed.push(name);
            }
        }
        Self {
            filter: filter_of(&listed),
            names: (listed != DEFAULT).then(|| listed.into()),
        }
    }

    /// Returns a list of the names in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        match other.names().iter().all(|name| self.names().contains(name)) {
            true => self.clone(),
            false => Self::new(self.names().iter().chain(other.names()).cloned()),
        }
    }

    /// Returns the kind of a request with these header fields, which are read once.
    #[must_use]
    pub fn kind_of(&self, headers: &HeaderMap) -> RequestKind {
        let (mut has_cookies, mut has_credentials) = (false, false);
        for name in headers.keys() {
            if self.filter.may_contain(name) {
                has_cookies |= *name == COOKIE;
                has_credentials |= self.names().contains(name);
            }
        }
        RequestKind::new(has_cookies, has_credentials)
    }

    fn names(&self) -> &[HeaderName] {
        self.names.as_deref().unwrap_or(&DEFAULT)
    }
}

/// The filter of these names and of `Cookie`.
fn filter_of(names: &[HeaderName]) -> NameFilter {
    NameFilter::new(names.iter().chain([&COOKIE]))
}

#[cfg(test)]
mod tests {
    use super::RequestKind::{Plain, WithBoth, WithCookies, WithCredentials};
    use super::*;

    fn kind(fields: &CredentialFields, names: &[&'static str]) -> RequestKind {
        let lines = names
            .iter()
            .map(|name| (HeaderName::from_static(name), "x".parse().expect("a value")));
        fields.kind_of(&lines.collect())
    }

    /// RFC 9111 §3.5.
    #[test]
    fn section_3_5_the_kind_of_a_request_is_that_of_its_fields() {
        let default = CredentialFields::default();
        assert_eq!(
            DEFAULT.each_ref().map(HeaderName::as_str),
            DEFAULT_CREDENTIAL_FIELDS
        );
        for (names, expected) in [
            (&[][..], Plain),
            (
                &["accept", "host", "x-api-keys", "x-session", "user-agent"],
                Plain,
            ),
            (&["cookie"], WithCookies),
            (&["authorization"], WithCredentials),
            (&["proxy-authorization"], WithCredentials),
            (&["x-api-key"], WithCredentials),
            (&["x-auth-token"], WithCredentials),
            (&["host", "x-access-token", "accept"], WithCredentials),
            (&["cookie", "x-api-key"], WithBoth),
        ] {
            assert_eq!(kind(&default, names), expected, "{names:?}");
        }
    }

    /// RFC 9111 §3.5.
    #[test]
    fn section_3_5_authorization_is_a_credential_whatever_the_list_says() {
        let long = "x-session-of-a-service-whose-name-is-longer-than-all-of-the-others-together";
        let names = |names: &[&'static str]| {
            CredentialFields::new(names.iter().map(|name| HeaderName::from_static(name)))
        };
        let (none, session) = (names(&[]), names(&["x-session", long]));
        for (fields, name, expected) in [
            (&none, "authorization", WithCredentials),
            (&none, "x-api-key", Plain),
            (&none, "cookie", WithCookies),
            (&session, "authorization", WithCredentials),
            (&session, "x-session", WithCredentials),
            (&session, long, WithCredentials),
            (&session, "x-api-key", Plain),
            (&session.union(&none), "x-session", WithCredentials),
            (&none.union(&session), "x-session", WithCredentials),
            (&names(&["cookie"]), "cookie", WithBoth),
        ] {
            assert_eq!(kind(fields, &[name]), expected, "{fields:?} {name}");
        }
        let default = CredentialFields::default();
        assert_eq!(default.union(&none), default);
        assert_eq!(CredentialFields::new(DEFAULT.clone()), default);
        assert_eq!(
            kind(&default.union(&session), &["x-session"]),
            WithCredentials
        );
        assert_eq!(
            kind(&session.union(&default), &["x-api-key"]),
            WithCredentials
        );
    }
}
