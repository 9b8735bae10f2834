//! A request's key, spelled out.

use std::borrow::Cow;

use http::request;

/// The parts of a request that distinguish its response from others.
///
/// Path and query are as received: nothing is decoded, reordered or folded. The authority is in
/// normal form. Two requests share a stored response only if all parts are equal, byte for byte.
/// Which of them a write invalidates together is documented at [`Resource`](super::Resource).
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
            scheme: None,
            authority,
            path: Cow::Borrowed(request.uri.path()),
            query: request.uri.query().map(Cow::Borrowed),
        }
    }

    /// Returns the scheme; `None` unless [`with_scheme`](Self::with_scheme) added one.
    #[must_use]
    pub fn scheme(&self) -> Option<&str> {
        self.scheme.as_deref()
    }

    /// Returns the authority, in lower case and without the default port; empty if the request has
    /// none.
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

    /// Adds the scheme, so that `http` and `https` do not share stored responses.
    ///
    /// Use it where responses depend on the scheme. By default the scheme is no part of the key:
    /// only HTTP/2 and absolute-form targets have one, and one URL over HTTP/1.1 and HTTP/2 is one
    /// stored response. Take the scheme from where the inner service takes it:
    ///
    /// ```
    /// # use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    /// let layer = CacheLayer::new(MemoryBackend::default()).key_by(|request, key| {
    ///     let scheme = request.headers.get("x-forwarded-proto")?.to_str().ok()?;
    ///     Some(key.with_scheme(scheme))
    /// });
    /// ```
    #[must_use]
    pub fn with_scheme(self, scheme: impl Into<Cow<'r, str>>) -> Self {
        Self {
            scheme: Some(scheme.into()),
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
