//! How much is read of one field: the limits that bound the work a client causes by long fields.
//!
//! Each limit is a multiple of what clients and origins send in earnest. A field beyond it is not
//! read in part, because a part could mean something else than the whole. It means what costs its
//! sender alone:
//!
//! | field | beyond the limit |
//! |---|---|
//! | `Cache-Control`, `Pragma` of a request | `no-cache` and `no-store` |
//! | `If-None-Match`, `If-Modified-Since`, `Range`, `If-Range` | ignored: the whole response |
//! | fields that `Vary` names, together | the inner service answers; nothing is stored |
//! | `Accept-Language`, for a response in another list's language | no preference |
//! | `Accept`, `Accept-Charset`, `Accept-Encoding`, `Accept-Language` | not normalized |
//! | `Vary` of a response | not stored |
//! | `Connection` of a request to the proxy | 400 |

use http::header::GetAll;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The longest field of a request whose members are read, in bytes over all lines.
pub const MAX_REQUEST_FIELD: usize = 8 * 1024;

/// The longest value of a selecting field that is normalized, in bytes over all lines. Browsers
/// send a tenth of it. A longer one is compared as it is.
pub const MAX_NORMALIZED: usize = 1024;

/// The longest selecting fields of a request, in bytes over all lines of all fields that `Vary`
/// names. Servers accept 8 to 32 KiB of fields in all.
pub const MAX_SELECTING_BYTES: usize = 16 * 1024;

/// The largest number of fields that `Vary` may name, each counted once. Origins name up to ten.
pub const MAX_SELECTING_FIELDS: usize = 32;

/// The bytes that each line counts in addition to its value: many empty ones are work, too.
const LINE: usize = 2;

/// Returns whether the lines of a field are longer than `limit` bytes together. Two more bytes
/// count for each line, as if they were joined.
#[must_use]
pub fn is_longer_than(limit: usize, headers: &HeaderMap, name: &HeaderName) -> bool {
    length_within(limit, &headers.get_all(name)).is_none()
}

/// Returns the length of the lines of a field together; `None` if they are longer than `limit`.
#[must_use]
pub fn length_within(limit: usize, lines: &GetAll<'_, HeaderValue>) -> Option<usize> {
    lines.iter().try_fold(0_usize, |length, line| {
        let length = length.saturating_add(line.len() + LINE);
        (length <= limit).then_some(length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::COOKIE;

    #[test]
    fn all_lines_count() {
        let mut headers = HeaderMap::new();
        assert_eq!(length_within(0, &headers.get_all(COOKIE)), Some(0));
        for _ in 0..3 {
            headers.append(COOKIE, "12345678".parse().expect("a field value"));
        }
        assert_eq!(length_within(30, &headers.get_all(COOKIE)), Some(30));
        assert!(is_longer_than(29, &headers, &COOKIE));
        for _ in 0..1000 {
            headers.append(COOKIE, "".parse().expect("a field value"));
        }
        assert!(
            is_longer_than(2029, &headers, &COOKIE),
            "empty lines are work, too"
        );
    }
}
