//! The span of a request in the log: all that is logged about the request says its method and path.

use http::request;
use tracing::{Level, Span};

use crate::config::Config;

/// Whether requests have spans. That costs a hit one comparison, while they have none.
#[inline]
pub(crate) fn is_enabled() -> bool {
    tracing::enabled!(Level::DEBUG)
}

/// The span of a request. Its query is left out unless the layer logs it: queries may hold secrets.
pub(crate) fn span_of(config: &Config, request: &request::Parts) -> Span {
    let (method, path) = (&request.method, request.uri.path());
    match request.uri.query().filter(|_| config.log_query) {
        Some(query) => tracing::debug_span!("cache", %method, path, query),
        None => tracing::debug_span!("cache", %method, path),
    }
}
