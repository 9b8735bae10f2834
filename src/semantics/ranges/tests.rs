//! Tables of ranges (RFC 9110 §14).

use std::time::{Duration, UNIX_EPOCH};

use http::header::{CONTENT_RANGE, DATE, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::semantics::moment::Moment;
use crate::semantics::validation::is_same_representation;

fn asking(lines: &[&'static str]) -> HeaderMap {
    let lines = lines
        .iter()
        .map(|line| (RANGE, HeaderValue::from_static(line)));
    let mut headers = HeaderMap::new();
    lines.for_each(|(name, value)| {
        headers.append(name, value);
    });
    headers
}

/// RFC 9110 §13.1.5, §14.
#[test]
fn section_14_1_2_byte_ranges() {
    use RequestedRanges::{Unsatisfiable, Whole};
    let parts = |spans: &[(u64, u64)]| {
        RequestedRanges::Parts(spans.iter().map(|(start, end)| *start..*end).collect())
    };
    for (line, length, expected) in [
        ("bytes=0-4", 10, parts(&[(0, 5)])),
        ("bytes=9-", 10, parts(&[(9, 10)])),
        ("bytes=-3", 10, parts(&[(7, 10)])),
        ("bytes=-99", 10, parts(&[(0, 10)])),
        ("bytes=5-99", 10, parts(&[(5, 10)])),
        ("bytes=0-0", 1, parts(&[(0, 1)])),
        ("Bytes=0-4", 10, parts(&[(0, 5)])),
        ("bytes=0-1, 4-5 ,-1", 10, parts(&[(0, 2), (4, 6), (9, 10)])),
        ("bytes=4-5,0-1", 10, parts(&[(4, 6), (0, 2)])),
        ("bytes=,0-1,", 10, parts(&[(0, 2)])),
        ("bytes=0-1,99-", 10, parts(&[(0, 2)])),
        ("bytes=10-", 10, Unsatisfiable),
        ("bytes=-0", 10, Unsatisfiable),
        ("bytes=0-", 0, Unsatisfiable),
        ("bytes=-1", 0, Unsatisfiable),
        ("bytes=18446744073709551615-", 10, Unsatisfiable),
        ("bytes=99999999999999999999999-", 10, Unsatisfiable),
        ("bytes=0-99999999999999999999999", 10, parts(&[(0, 10)])),
        ("bytes=-99999999999999999999999", 10, parts(&[(0, 10)])),
        (
            "bytes=0-18446744073709551615",
            u64::MAX,
            parts(&[(0, u64::MAX)]),
        ),
        ("bytes=5-4", 10, Whole),
        ("bytes=a-b", 10, Whole),
        ("bytes=+1-2", 10, Whole),
        ("bytes=1-2-3", 10, Whole),
        ("bytes=-", 10, Whole),
        ("bytes=", 10, Whole),
        ("bytes", 10, Whole),
        ("lines=0-1", 10, Whole),
        ("bytes=0-5,3-7", 10, Whole),
        ("bytes=0-1,x", 10, Whole),
    ] {
        assert_eq!(
            requested_ranges(&asking(&[line]), length),
            expected,
            "{line} of {length}"
        );
    }
    assert_eq!(requested_ranges(&HeaderMap::new(), 10), Whole);
    assert_eq!(
        requested_ranges(&asking(&["bytes=0-1", "bytes=2-3"]), 10),
        Whole
    );
}

#[test]
fn section_17_15_sets_are_bounded() {
    let many = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!("{}-{}", 2 * n, 2 * n)).collect();
        let mut headers = HeaderMap::new();
        let line = format!("bytes={}", members.join(","));
        headers.insert(RANGE, line.parse().expect("a field value"));
        requested_ranges(&headers, 1_000_000)
    };
    assert!(matches!(many(MAX_RANGES), RequestedRanges::Parts(parts) if parts.len() == MAX_RANGES));
    assert_eq!(many(MAX_RANGES + 1), RequestedRanges::Whole);
    assert_eq!(many(100_000), RequestedRanges::Whole);
}

/// RFC 9110 §13.1.5, §14.
#[test]
fn section_13_1_5_if_range() {
    let received = Moment::new(
        Duration::ZERO,
        UNIX_EPOCH + Duration::from_secs(784_111_777),
    );
    let old = "Sun, 06 Nov 1994 08:00:00 GMT";
    let just = "Sun, 06 Nov 1994 08:49:36 GMT";
    for (condition, tag, modified, expected) in [
        (&[][..], "\"a\"", old, true),
        (&["\"a\""], "\"a\"", old, true),
        (&["\"b\""], "\"a\"", old, false),
        (&["W/\"a\""], "W/\"a\"", old, false),
        (&["W/\"a\""], "\"a\"", old, false),
        (&["\"a\""], "W/\"a\"", old, false),
        (&[old], "\"a\"", old, true),
        (&["Sun, 06 Nov 1994 08:00:01 GMT"], "\"a\"", old, false),
        (&["Sun, 06 Nov 1994 07:59:59 GMT"], "\"a\"", old, false),
        (&[just], "\"a\"", just, false),
        (&["x"], "\"a\"", old, false),
        (&["\"a\"", "\"a\""], "\"a\"", old, false),
    ] {
        let mut request = HeaderMap::new();
        for line in condition {
            request.append(IF_RANGE, HeaderValue::from_static(line));
        }
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ETAG, HeaderValue::from_static(tag));
        headers.insert(LAST_MODIFIED, HeaderValue::from_static(modified));
        headers.insert(
            DATE,
            HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"),
        );
        let got = if_range_allows(&request, &headers, received);
        assert_eq!(got, expected, "{condition:?} {tag} {modified}");
    }
}

#[test]
fn section_14_4_content_range() {
    assert_eq!(content_range(&(0..1), 10), "bytes 0-0/10");
    assert_eq!(content_range(&(4..10), 10), "bytes 4-9/10");
    assert_eq!(unsatisfied_content_range(10), "bytes */10");
}

#[test]
fn section_14_4_content_range_of_a_206_is_read() {
    let of = |lines: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CONTENT_RANGE, HeaderValue::from_static(line));
        }
        parse_content_range(&headers)
    };
    for (lines, expected) in [
        (&["bytes 0-4/10"][..], Some((0..5, 10))),
        (&["Bytes 9-9/10"], Some((9..10, 10))),
        (&["bytes 0-9/10"], Some((0..10, 10))),
        (&["bytes 0-10/10"], None),
        (&["bytes 5-4/10"], None),
        (&["bytes 0-4/*"], None),
        (&["bytes */10"], None),
        (&["bytes 0-4"], None),
        (&["bytes=0-4/10"], None),
        (&["lines 0-4/10"], None),
        (&["bytes 0-4/10", "bytes 5-9/10"], None),
        (&["bytes 0-18446744073709551615/18446744073709551615"], None),
        (
            &["bytes 0-99999999999999999999/999999999999999999999"],
            None,
        ),
        (&["bytes"], None),
        (&[""], None),
        (&[], None),
    ] {
        assert_eq!(of(lines), expected, "{lines:?}");
    }
    assert_eq!(range_header(&(4..10)), "bytes=4-9");
}

/// RFC 9111 §3.4.
#[test]
fn section_3_4_parts_of_the_same_representation() {
    let received = Moment::new(
        Duration::ZERO,
        UNIX_EPOCH + Duration::from_secs(784_111_777),
    );
    let of = |lines: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    };
    let old = ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT");
    let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    for (one, other, same) in [
        (&[("etag", "\"a\"")][..], &[("etag", "\"a\"")][..], true),
        (&[("etag", "\"a\"")], &[("etag", "\"b\"")], false),
        (&[("etag", "W/\"a\"")], &[("etag", "W/\"a\"")], false),
        (
            &[("etag", "W/\"a\""), old, date],
            &[("etag", "W/\"a\""), old, date],
            false,
        ),
        (&[("etag", "\"a\"")], &[old, date], false),
        (&[old, date], &[old, date], true),
        // Without a date it was made when it was received.
        (&[old], &[old], true),
        (&[old, date], &[old], true),
        (&[], &[], false),
    ] {
        let got = is_same_representation(&of(one), received, &of(other), received);
        assert_eq!(got, same, "{one:?} {other:?}");
    }
}
