//! Statuses that are never stored, and those that are understood.

use http::StatusCode;

/// Not final, or an answer to the request's precondition, range or expectation rather than to its key.
pub(super) fn never_stored(status: StatusCode) -> bool {
    status.is_informational() || matches!(status.as_u16(), 206 | 304 | 412 | 416 | 417)
}

/// The statuses of RFC 9110 whose caching this cache knows (RFC 9111 §5.2.2.3).
pub(super) fn understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300..=303 | 307 | 308 | 400 | 401 | 403..=405 | 410 | 414 | 500..=505
    )
}
