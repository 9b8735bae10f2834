//! Safe and unsafe methods.

use http::Method;

/// Whether a method is safe (RFC 9110 §9.2.1, and the registered safe methods of other documents). Everything else,
/// unknown methods included, is a write.
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    matches!(
        method.as_str(),
        "GET"
            | "HEAD"
            | "OPTIONS"
            | "TRACE"
            | "CONNECT"
            | "QUERY"
            | "PROPFIND"
            | "REPORT"
            | "SEARCH"
    )
}
