//! The names of fields as numbers.

use std::sync::LazyLock;

use http::HeaderName;
use http::header::*;

use super::text_index::TextIndex;
use crate::semantics::fields::digest;

/// Stands for a name that has no number: its length and its text follow.
pub(super) const CUSTOM: u8 = 0;
/// The number of `Age`.
pub(super) const AGE_CODE: u8 = 1;
/// The number of `Cache-Status`.
pub(super) const CACHE_STATUS_CODE: u8 = 2;
/// The number of `Content-Length`.
pub(super) const CONTENT_LENGTH_CODE: u8 = 3;
/// The number of `ETag`.
pub(super) const ETAG_CODE: u8 = 5;

/// The names with a number, which is the index plus one. No field of a connection is among them.
///
/// The numbers are part of the encoding: names are appended, never moved or removed.
#[rustfmt::skip]
static NAMES: [HeaderName; 66] = [
    AGE, CACHE_STATUS, CONTENT_LENGTH, DATE, ETAG, LAST_MODIFIED, VARY, CONTENT_TYPE, CACHE_CONTROL,
    EXPIRES, CONTENT_ENCODING, CONTENT_LANGUAGE, ACCEPT_RANGES, SERVER, VIA, LINK, LOCATION,
    CONTENT_LOCATION, CONTENT_DISPOSITION, CONTENT_RANGE, PRAGMA, WARNING, ALLOW, ALT_SVC,
    SET_COOKIE, RETRY_AFTER, REFRESH, TRAILER, STRICT_TRANSPORT_SECURITY, CONTENT_SECURITY_POLICY,
    CONTENT_SECURITY_POLICY_REPORT_ONLY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    X_XSS_PROTECTION, X_DNS_PREFETCH_CONTROL, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CDN_CACHE_CONTROL, WWW_AUTHENTICATE,
    digest::CONTENT_DIGEST, digest::CONTENT_MD5, digest::DIGEST, digest::REPR_DIGEST,
    HeaderName::from_static("cache-groups"),
    HeaderName::from_static("cross-origin-embedder-policy"),
    HeaderName::from_static("cross-origin-opener-policy"),
    HeaderName::from_static("cross-origin-resource-policy"),
    HeaderName::from_static("permissions-policy"),
    HeaderName::from_static("server-timing"),
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("surrogate-key"),
    HeaderName::from_static("timing-allow-origin"),
    HeaderName::from_static("x-cache"),
    HeaderName::from_static("x-powered-by"),
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-robots-tag"),
    HeaderName::from_static("x-runtime"),
    HeaderName::from_static("x-total-count"),
];

static INDEX: LazyLock<TextIndex> =
    LazyLock::new(|| TextIndex::new(NAMES.iter().map(|name| name.as_str().as_bytes())));

/// Returns the number of a name, if it has one.
pub(super) fn code_of(name: &HeaderName) -> Option<u8> {
    let text = name.as_str().as_bytes();
    let index = INDEX.find(text, |index| NAMES[index].as_str().as_bytes())?;
    Some(index as u8 + 1)
}

/// Returns the name with a number; `None` if there is none.
#[inline]
pub(super) fn name_of(code: u8) -> Option<&'static HeaderName> {
    NAMES.get(usize::from(code).wrapping_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::fields::hop_by_hop;

    #[test]
    fn every_name_is_found_under_its_number_and_none_is_of_a_connection() {
        for (index, name) in NAMES.iter().enumerate() {
            let code = index as u8 + 1;
            assert_eq!(code_of(name), Some(code), "{name}");
            assert_eq!(name_of(code), Some(name));
            assert!(!hop_by_hop::is_of_connection(name), "{name}");
        }
        assert_eq!(NAMES[usize::from(AGE_CODE) - 1], AGE);
        assert_eq!(NAMES[usize::from(CACHE_STATUS_CODE) - 1], CACHE_STATUS);
        assert_eq!(NAMES[usize::from(CONTENT_LENGTH_CODE) - 1], CONTENT_LENGTH);
        assert_eq!(name_of(ETAG_CODE), Some(&ETAG));
        assert_eq!(name_of(CUSTOM), None);
        assert_eq!(name_of(u8::MAX), None);
        assert_eq!(code_of(&HeaderName::from_static("x-other")), None);
    }
}
