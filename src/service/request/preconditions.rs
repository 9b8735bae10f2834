//! The preconditions and ranges of a request that the cache answers itself.

use http::{HeaderMap, Method, request};

/// What a client asks of a stored response: all of it, or what its conditions and ranges select.
#[derive(Clone, Copy)]
pub(crate) struct Preconditions<'r> {
    pub(crate) method: &'r Method,
    /// The header fields, if they may select less than the whole response.
    pub(crate) fields: Option<&'r HeaderMap>,
}

impl<'r> Preconditions<'r> {
    /// The preconditions of a request; `is_selective` tells whether its fields have any.
    pub(crate) fn new(request: &'r request::Parts, is_selective: bool) -> Self {
        Self {
            method: &request.method,
            fields: is_selective.then_some(&request.headers),
        }
    }
}
