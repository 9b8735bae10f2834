//! A request's key, spelled out.

use std::borrow::Cow;

use http::request;

/// The parts of a request that tell its response from others, as received: nothing is decoded, reordered or folded.
///
/// Two requests share a stored response only if all parts are equal, byte for byte. A write invalidates what shares
/// authority and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyParts<'r> {
    scheme: Option<Cow<'r, str>>,
    authority: Cow<'r, str>,
    path: Cow<'r, str>,
    query: Option<Cow<'r, str>>,
}

impl<'r> KeyParts<'r> {
    /// The parts of a request's target, with the authority it is for.
    pub(crate) fn from_request(request: &'r request::Parts, authority: Cow<'r, str>) -> Self {
        Self {
            scheme: request.uri.scheme_str().map(Cow::Borrowed),
            authority,
            path: Cow::Borrowed(request.uri.path()),
            query: request.uri.query().map(Cow::Borrowed),
        }
    }

    /// The scheme, when the request's target has one: HTTP/2 and absolute-form targets do, origin-form ones do not.
    #[must_use]
    pub fn scheme(&self) -> Option<&str> {
        self.scheme.as_deref()
    }

    /// The authority, in lower case and without the default port.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query, without `?`; an empty query is `Some("")`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The same whatever the scheme: for where nothing that is stored depends on it, as behind a proxy that passes none on.
    #[must_use]
    pub fn without_scheme(self) -> Self {
        Self {
            scheme: None,
            ..self
        }
    }

    /// The same with another authority.
    #[must_use]
    pub fn with_authority(self, authority: impl Into<Cow<'r, str>>) -> Self {
        Self {
            authority: authority.into(),
            ..self
        }
    }

    /// The same with another path: that of the whole request, say, where a router has stripped a prefix.
    #[must_use]
    pub fn with_path(self, path: impl Into<Cow<'r, str>>) -> Self {
        Self {
            path: path.into(),
            ..self
        }
    }

    /// The same with another query, or none.
    #[must_use]
    pub fn with_query(self, query: Option<impl Into<Cow<'r, str>>>) -> Self {
        Self {
            query: query.map(Into::into),
            ..self
        }
    }
}
