//! Checks and conversions for header field values.
//!
//! Knows nothing of proxying.

use std::fmt::Display;

use http::HeaderValue;

/// The name this crate uses for itself in `Via`, `Cache-Status` and `Proxy-Status`.
pub(super) const DEFAULT_NAME: &str = "tower-response-cache";

/// Whether `text` is a token (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// Formats a value as a header field value; `None` if it contains bytes that a field cannot carry.
pub(super) fn header_value(value: impl Display) -> Option<HeaderValue> {
    HeaderValue::try_from(value.to_string()).ok()
}
