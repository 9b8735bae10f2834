//! The fields of a 416 in the place of a representation (RFC 9110 §15.5.17).

use http::header::{
    CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, LAST_MODIFIED, PRAGMA, TRAILER,
};
use http::{HeaderMap, HeaderName};

use crate::semantics::fields::digest;

/// Removes the fields that describe a representation (RFC 9110 §8), and those that let a cache
/// store it.
pub fn remove_representation(headers: &mut HeaderMap) {
    let removed: Vec<HeaderName> = headers.keys().filter(|name| is_of(name)).cloned().collect();
    for name in removed {
        headers.remove(name);
    }
}

/// Returns whether a field belongs to a representation, not to the answer as such.
fn is_of(name: &HeaderName) -> bool {
    let is_metadata = matches!(
        *name,
        CONTENT_DISPOSITION
            | CONTENT_ENCODING
            | CONTENT_LANGUAGE
            | CONTENT_LENGTH
            | CONTENT_LOCATION
            | CONTENT_RANGE
            | CONTENT_TYPE
            | ETAG
            | LAST_MODIFIED
            | TRAILER
    );
    let digests = [
        digest::CONTENT_DIGEST,
        digest::CONTENT_MD5,
        digest::DIGEST,
        digest::REPR_DIGEST,
    ];
    // Targeted fields, whatever their target, end like that (RFC 9213 §3).
    let is_freshness = matches!(*name, EXPIRES | PRAGMA)
        || name.as_str().ends_with("cache-control")
        || name == "surrogate-control";
    is_metadata || is_freshness || digests.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9110 §8, §15.5.17.
    #[test]
    fn section_15_5_17_a_416_is_not_the_representation() {
        let mut headers = HeaderMap::new();
        for name in [
            "accept-ranges",
            "access-control-allow-origin",
            "age",
            "cache-control",
            "cache-status",
            "cdn-cache-control",
            "content-digest",
            "content-disposition",
            "content-encoding",
            "content-language",
            "content-length",
            "content-location",
            "content-md5",
            "content-security-policy",
            "content-type",
            "date",
            "digest",
            "etag",
            "expires",
            "last-modified",
            "pragma",
            "repr-digest",
            "server",
            "surrogate-control",
            "trailer",
            "vary",
            "x-own",
        ] {
            headers.insert(name, "x".parse().expect("a field value"));
        }
        remove_representation(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        let kept = [
            "accept-ranges",
            "access-control-allow-origin",
            "age",
            "cache-status",
            "content-security-policy",
            "date",
            "server",
            "vary",
            "x-own",
        ];
        assert_eq!(left, kept);
    }
}
