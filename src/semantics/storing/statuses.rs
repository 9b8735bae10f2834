//! Statuses in the decision to store.

use http::StatusCode;

/// Returns whether a status is never stored.
///
/// It is not final, or it answers a precondition, a range or an expectation of the request instead
/// of its key.
pub(super) fn is_never_stored(status: StatusCode) -> bool {
    status.is_informational() || matches!(status.as_u16(), 206 | 304 | 412 | 416 | 417)
}

/// Returns whether the cache implements the caching rules of a status (RFC 9111 §5.2.2.3).
pub(super) fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300..=303 | 307 | 308 | 400 | 401 | 403..=405 | 410 | 414 | 500..=505
    )
}
