//! Updates the header fields of a stored response (RFC 9111 §3.2).

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, TRAILER,
};
use http::{HeaderMap, HeaderName};

use super::response::StoredResponse;
use crate::semantics::cache_status::CACHE_STATUS;
use crate::semantics::fields::{digest, hop_by_hop};
use crate::semantics::validation::EntityTag;

/// The fields of the stored content, which an update never changes (RFC 9111 §3.2).
///
/// A 304 that has such a field describes content that it does not carry, and confirms the stored
/// one by a validator that may be weak: it replaces neither the length nor a digest.
const CONTENT_FIELDS: [HeaderName; 9] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    TRAILER,
    digest::CONTENT_DIGEST,
    digest::CONTENT_MD5,
    digest::DIGEST,
    digest::REPR_DIGEST,
];

/// Returns the stored fields, updated by those of a 304 to its validators or of a 200 to HEAD that
/// describes it.
///
/// A field of the new message replaces all lines of the stored one. `Date` and `Age` come from the
/// new message alone: they tell when it was made. A stored weak tag is never replaced by a strong
/// one: the new message does not show that the stored bytes are those that the strong tag names.
#[must_use]
pub fn updated_headers(stored: &StoredResponse, new: &HeaderMap) -> HeaderMap {
    let mut headers = stored.headers();
    headers.remove(AGE);
    headers.remove(DATE);
    if !stored.has_upstream_status() {
        headers.remove(CACHE_STATUS);
    }
    let mut new = new.clone();
    hop_by_hop::remove(&mut new);
    let keeps_tag = EntityTag::from_headers(&headers).is_some_and(|tag| tag.is_weak)
        && EntityTag::from_headers(&new).is_some_and(|tag| !tag.is_weak);
    let is_updated =
        |name: &HeaderName| !(CONTENT_FIELDS.contains(name) || (keeps_tag && *name == ETAG));
    for name in new.keys().filter(|name| is_updated(name)) {
        headers.remove(name);
        for value in new.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use http::StatusCode;

    use super::*;
    use crate::semantics::freshness::{Freshness, Staleness};
    use crate::semantics::moment::Moment;
    use crate::semantics::stored::StoredHead;
    use crate::semantics::storing::StoragePolicy;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a field value"));
        }
        headers
    }

    fn stored(lines: &[(&'static str, &'static str)]) -> StoredResponse {
        let grant = StoragePolicy {
            freshness: Freshness {
                received: Moment::new(Duration::ZERO, UNIX_EPOCH),
                initial_age: Duration::ZERO,
                lifetime: None,
                stale: Staleness::default(),
                immutable: false,
            },
            selected: None,
            groups: Box::default(),
            withheld: Box::default(),
        };
        let head = StoredHead::new(Arc::default(), StatusCode::OK, &map(lines), grant);
        head.with_body("text".into(), None, Duration::ZERO)
    }

    /// RFC 9111 §3.2, RFC 9530 §2.
    #[test]
    fn section_3_2_which_fields_are_updated() {
        let old = stored(&[
            ("cache-control", "max-age=1"),
            ("content-type", "text/plain"),
            ("content-encoding", "gzip"),
            ("content-digest", "sha-256=:b2xk:"),
            ("content-md5", "b2xk"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("age", "7"),
            ("x-old", "1"),
            ("x-both", "1"),
            ("x-both", "2"),
        ]);
        let new = map(&[
            ("cache-control", "max-age=60"),
            ("content-type", "text/html"),
            ("content-encoding", "br"),
            ("content-length", "0"),
            ("content-range", "bytes 0-1/2"),
            ("content-digest", "sha-256=:bmV3:"),
            ("content-md5", "bmV3"),
            ("repr-digest", "sha-256=:bmV3:"),
            ("digest", "sha-256=bmV3"),
            ("transfer-encoding", "chunked"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("x-both", "3"),
            ("x-new", "1"),
            ("x-new", "2"),
        ]);
        let updated = updated_headers(&old, &new);
        for (name, expected) in [
            ("cache-control", &["max-age=60"][..]),
            ("content-type", &["text/plain"]),
            ("content-encoding", &["gzip"]),
            ("content-length", &["4"]),
            ("content-range", &[]),
            ("content-digest", &["sha-256=:b2xk:"]),
            ("content-md5", &["b2xk"]),
            ("repr-digest", &[]),
            ("digest", &[]),
            ("transfer-encoding", &[]),
            ("connection", &[]),
            ("x-hop", &[]),
            ("date", &[]),
            ("age", &[]),
            ("cache-status", &[]),
            ("x-old", &["1"]),
            ("x-both", &["3"]),
            ("x-new", &["1", "2"]),
        ] {
            let lines: Vec<_> = updated.get_all(name).iter().collect();
            assert_eq!(lines, expected, "{name}");
        }
    }
}
