//! A request's key, spelled out.

use std::borrow::Cow;

use http::request;

/// The parts of a request that distinguish its response from others, as received.
///
/// Nothing is decoded, reordered or folded. Two requests share a stored response only if all parts
/// are equal, byte for byte. A write invalidates all responses with its authority and path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyParts<'r> {
    scheme: Option<Cow<'r, str>>,
    authority: Cow<'r, str>,
    path: Cow<'r, str>,
    query: Option<Cow<'r, str>>,
}

impl<'r> KeyParts<'r> {
    /// Takes the parts of a request's target, with the authority that it is for.
    pub(crate) fn from_request(request: &'r request::Parts, authority: Cow<'r, str>) -> Self {
        Self {
            scheme: request.uri.scheme_str().map(Cow::Borrowed),
            authority,
            path: Cow::Borrowed(request.uri.path()),
            query: request.uri.query().map(Cow::Borrowed),
        }
    }

    /// Returns the scheme, if the target has one: HTTP/2 and absolute-form targets do, origin-form
    /// ones do not.
    #[must_use]
    pub fn scheme(&self) -> Option<&str> {
        self.scheme.as_deref()
    }

    /// Returns the authority, in lower case and without the default port.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the query, without `?`. An empty query is `Some("")`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Removes the scheme, so that `http` and `https` share stored responses.
    ///
    /// Use it where no response depends on the scheme, as behind a proxy that does not pass it on.
    #[must_use]
    pub fn without_scheme(self) -> Self {
        Self {
            scheme: None,
            ..self
        }
    }

    /// Replaces the authority.
    #[must_use]
    pub fn with_authority(self, authority: impl Into<Cow<'r, str>>) -> Self {
        Self {
            authority: authority.into(),
            ..self
        }
    }

    /// Replaces the path: by that of the whole request, for example, where a router stripped a
    /// prefix.
    #[must_use]
    pub fn with_path(self, path: impl Into<Cow<'r, str>>) -> Self {
        Self {
            path: path.into(),
            ..self
        }
    }

    /// Replaces the query, or removes it.
    #[must_use]
    pub fn with_query(self, query: Option<impl Into<Cow<'r, str>>>) -> Self {
        Self {
            query: query.map(Into::into),
            ..self
        }
    }
}
