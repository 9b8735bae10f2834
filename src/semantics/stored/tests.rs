//! A stored response, made from its head and body.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};

use super::*;
use crate::semantics::cache_status::CACHE_STATUS;
use crate::semantics::freshness::{Freshness, Staleness};
use crate::semantics::moment::Moment;
use crate::semantics::storing::StoragePolicy;

fn store(
    status: u16,
    lines: &[(&'static str, &'static str)],
    body: &'static str,
) -> StoredResponse {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().expect("a field value"));
    }
    let received = Moment::new(
        Duration::ZERO,
        UNIX_EPOCH + Duration::from_secs(784_111_777),
    );
    let grant = StoragePolicy {
        freshness: Freshness {
            received,
            initial_age: Duration::ZERO,
            lifetime: None,
            stale: Staleness::default(),
            immutable: false,
        },
        selected: None,
        groups: Box::default(),
        withheld: Box::default(),
    };
    let status = StatusCode::from_u16(status).expect("a status");
    StoredHead::new(Arc::default(), status, &headers, grant).with_body(
        body.into(),
        None,
        Duration::ZERO,
    )
}

#[test]
fn the_head_is_completed() {
    let stored = store(
        200,
        &[("age", "7"), ("connection", "x"), ("x", "1")],
        "body",
    );
    let text = |name: &str| {
        stored
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    assert_eq!(text("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(text("content-length"), Some("4"));
    assert_eq!(text("age"), Some(""));
    assert_eq!(text("cache-status"), Some(""));
    assert_eq!(text("x"), None);
}

/// RFC 9110 §8.6: a 204 has no `Content-Length`.
#[test]
fn no_content_has_no_length() {
    assert!(!store(204, &[], "").headers().contains_key(CONTENT_LENGTH));
    assert_eq!(store(200, &[], "").headers()[CONTENT_LENGTH], "0");
}

#[test]
fn every_line_and_its_order_survive_compaction() {
    let stored = store(200, &[("via", "1.1 a"), ("x", ""), ("via", "1.1 b")], "");
    let via: Vec<_> = stored.headers().get_all("via").iter().collect();
    assert_eq!(via, ["1.1 a", "1.1 b"]);
    assert_eq!(stored.headers()["x"], "");
}

#[test]
fn an_upstreams_status_is_kept() {
    let stored = store(200, &[("cache-status", "up; hit")], "");
    assert!(stored.has_upstream_status());
    assert_eq!(stored.headers()[CACHE_STATUS], "up; hit");
}

#[test]
fn weight_grows_with_the_content() {
    let small = store(200, &[], "").weight();
    assert_eq!(
        store(200, &[], "12345678").weight(),
        small + 8 + "8".len() - "0".len()
    );
    assert!(store(200, &[("x-long", "0123456789")], "").weight() >= small + 16);
}
