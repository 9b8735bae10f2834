//! Safe and unsafe methods (RFC 9110 §9.2.1).

use http::Method;

/// Returns whether a method is registered as safe. All others, unknown ones included, are writes.
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
