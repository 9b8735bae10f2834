//! A write, as the `also_invalidate` hook sees it.

use http::{HeaderMap, Method, StatusCode, Uri, request, response};

/// An unsafe request and, where one came, its answer.
///
/// There is no answer when the inner service failed, panicked or was left by its client: the write may have committed all
/// the same.
#[derive(Clone, Copy, Debug)]
pub struct Write<'w> {
    request: &'w request::Parts,
    response: Option<&'w response::Parts>,
}

impl<'w> Write<'w> {
    pub(crate) fn new(request: &'w request::Parts, response: Option<&'w response::Parts>) -> Self {
        Self { request, response }
    }

    /// The request's method.
    #[must_use]
    pub fn method(&self) -> &'w Method {
        &self.request.method
    }

    /// The request's target.
    #[must_use]
    pub fn uri(&self) -> &'w Uri {
        &self.request.uri
    }

    /// The request's header fields.
    #[must_use]
    pub fn headers(&self) -> &'w HeaderMap {
        &self.request.headers
    }

    /// The answer's status, if there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.response.map(|response| response.status)
    }

    /// The answer's header fields, if there was an answer.
    #[must_use]
    pub fn response_headers(&self) -> Option<&'w HeaderMap> {
        self.response.map(|response| &response.headers)
    }
}
