//! `WriteInfo`: a write, as the `also_invalidate` hook sees it.

use http::{HeaderMap, Method, StatusCode, Uri, request, response};

/// A write that may have been committed: its request and, if there was one, the response head.
///
/// The hook of [`CacheLayer::also_invalidate`](crate::CacheLayer::also_invalidate) gets it. There
/// is no response if the inner service failed or panicked, or if the write was dropped before it
/// ended; it may have been committed all the same.
#[derive(Clone, Copy, Debug)]
pub struct WriteInfo<'w> {
    request: &'w request::Parts,
    response: Option<&'w response::Parts>,
}

impl<'w> WriteInfo<'w> {
    pub(crate) fn new(request: &'w request::Parts, response: Option<&'w response::Parts>) -> Self {
        Self { request, response }
    }

    /// Returns the method of the request.
    #[must_use]
    pub fn method(&self) -> &'w Method {
        &self.request.method
    }

    /// Returns the target of the request.
    #[must_use]
    pub fn uri(&self) -> &'w Uri {
        &self.request.uri
    }

    /// Returns the header fields of the request.
    #[must_use]
    pub fn headers(&self) -> &'w HeaderMap {
        &self.request.headers
    }

    /// Returns the status of the response; `None` if there was no response.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.response.map(|response| response.status)
    }

    /// Returns the header fields of the response; `None` if there was no response.
    #[must_use]
    pub fn response_headers(&self) -> Option<&'w HeaderMap> {
        self.response.map(|response| &response.headers)
    }
}
