//! Tables of validators and conditions.

use std::time::{Duration, UNIX_EPOCH};

use http::header::ETAG;
use http::{HeaderMap, StatusCode};

use super::*;
use crate::semantics::moment::Moment;

type Lines = &'static [(&'static str, &'static str)];

fn map(lines: Lines) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, value.parse().expect("a field value"));
    }
    headers
}

/// Sun, 06 Nov 1994 08:49:37 GMT
fn now() -> Moment {
    let passed = Duration::from_secs(784_111_777);
    Moment::new(passed, UNIX_EPOCH + passed)
}

#[test]
fn rfc_9110_section_8_8_3_entity_tags() {
    for (text, expected) in [
        (r#""""#, Some(false)),
        (r#""a""#, Some(false)),
        (r#"W/"a""#, Some(true)),
        (r#""a,b\c""#, Some(false)),
        (r#"w/"a""#, None),
        (r#""a"#, None),
        ("a", None),
        ("", None),
        ("\"", None),
        (r#""a b""#, None),
        (r#""a"b""#, None),
        ("W/", None),
    ] {
        let tag = EntityTag::parse(text.as_bytes());
        assert_eq!(tag.map(|tag| tag.is_weak), expected, "{text}");
    }
}

#[test]
fn rfc_9110_section_8_8_3_2_comparison() {
    for (one, other, strong, weak) in [
        (r#"W/"1""#, r#"W/"1""#, false, true),
        (r#"W/"1""#, r#"W/"2""#, false, false),
        (r#"W/"1""#, r#""1""#, false, true),
        (r#""1""#, r#""1""#, true, true),
        (r#""1""#, r#""2""#, false, false),
        (r#""a""#, r#""A""#, false, false),
    ] {
        let tag = |text: &'static str| EntityTag::parse(text.as_bytes()).expect("a tag");
        let (one, other) = (tag(one), tag(other));
        assert_eq!(one.matches_strongly(&other), strong, "{one:?} {other:?}");
        assert_eq!(one.matches_weakly(&other), weak, "{one:?} {other:?}");
    }
}

const TAGGED: Lines = &[
    ("etag", "\"a\""),
    ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT"),
];
const DATED: Lines = &[("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT")];

/// RFC 9111 §4.3.2, RFC 9110 §13.1.2, §13.1.3.
#[test]
fn section_4_3_2_conditions_of_a_client() {
    #[rustfmt::skip]
    let rows: &[(&str, Lines, u16, Lines, bool)] = &[
        ("no condition", &[], 200, TAGGED, false),
        ("the same tag", &[("if-none-match", "\"a\"")], 200, TAGGED, true),
        ("weakly the same", &[("if-none-match", "W/\"a\"")], 200, TAGGED, true),
        ("stored weak", &[("if-none-match", "\"a\"")], 200, &[("etag", "W/\"a\"")], true),
        ("another", &[("if-none-match", "\"b\"")], 200, TAGGED, false),
        ("in a list", &[("if-none-match", "\"x,y\", W/\"a\",")], 200, TAGGED, true),
        ("on a second line", &[("if-none-match", "\"x\""), ("if-none-match", "\"a\"")], 200, TAGGED, true),
        ("without quotes it is none", &[("if-none-match", "a")], 200, TAGGED, false),
        ("any", &[("if-none-match", "*")], 200, TAGGED, true),
        ("any, of one without a tag", &[("if-none-match", "*")], 200, &[], true),
        ("a tag, of one without", &[("if-none-match", "\"a\"")], 200, DATED, false),
        ("the tag goes before the date: other", &[("if-none-match", "\"b\""), ("if-modified-since", "Sun, 06 Nov 1994 08:00:00 GMT")], 200, TAGGED, false),
        ("the tag goes before the date: same", &[("if-none-match", "\"a\""), ("if-modified-since", "Sun, 06 Nov 1994 07:00:00 GMT")], 200, TAGGED, true),
        ("the same date", &[("if-modified-since", "Sun, 06 Nov 1994 08:00:00 GMT")], 200, TAGGED, true),
        ("a later one", &[("if-modified-since", "Sun, 06 Nov 1994 08:00:01 GMT")], 200, TAGGED, true),
        ("an earlier one", &[("if-modified-since", "Sun, 06 Nov 1994 07:59:59 GMT")], 200, TAGGED, false),
        ("RFC 850", &[("if-modified-since", "Sunday, 06-Nov-94 08:00:00 GMT")], 200, TAGGED, true),
        ("asctime", &[("if-modified-since", "Sun Nov  6 08:00:00 1994")], 200, TAGGED, true),
        ("no date", &[("if-modified-since", "yesterday")], 200, TAGGED, false),
        ("two dates", &[("if-modified-since", "Sun, 06 Nov 1994 08:00:00 GMT"), ("if-modified-since", "Sun, 06 Nov 1994 08:00:00 GMT")], 200, TAGGED, false),
        ("without Last-Modified its Date counts", &[("if-modified-since", "Sun, 06 Nov 1994 08:00:00 GMT")], 200, &[("date", "Sun, 06 Nov 1994 08:00:00 GMT")], true),
        ("without either its receipt", &[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], 200, &[], false),
        ("receipt", &[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], 200, &[], true),
        ("a Last-Modified that is no date", &[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], 200, &[("last-modified", "0")], false),
        ("not of an error", &[("if-none-match", "*")], 404, TAGGED, false),
        ("nor of a redirect", &[("if-none-match", "\"a\"")], 301, TAGGED, false),
        ("another success", &[("if-none-match", "\"a\"")], 203, TAGGED, true),
    ];
    for (case, request, status, stored, expected) in rows {
        let status = StatusCode::from_u16(*status).expect("a status");
        let got = is_not_modified(&map(request), status, &map(stored), now());
        assert_eq!(got, *expected, "{case}");
    }
}

#[test]
fn section_4_3_1_conditions_sent_to_the_origin() {
    let sent_for = |status, lines: Lines| {
        let stored = map(lines);
        let sent: Vec<_> = origin_conditions(status, &stored)
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        sent
    };
    let sent = |lines| sent_for(StatusCode::OK, lines);
    let date = "if-modified-since: Sun, 06 Nov 1994 08:00:00 GMT";
    assert_eq!(sent(TAGGED), ["if-none-match: \"a\"", date]);
    assert_eq!(sent(DATED), [date]);
    assert_eq!(sent(&[("etag", "W/\"a\"")]), ["if-none-match: W/\"a\""]);
    assert!(sent(&[("etag", "a")]).is_empty(), "no tag");
    let other_form = &[("last-modified", "Sun, 6 Nov 1994 08:00:00 GMT")];
    assert!(sent(other_form).is_empty(), "no date");
    // RFC 9110 §13.2.1: a 304 to them would be about a success.
    for status in [StatusCode::NOT_FOUND, StatusCode::MOVED_PERMANENTLY] {
        assert!(sent_for(status, TAGGED).is_empty(), "{status}");
    }
    assert!(sent(&[]).is_empty());
}

#[test]
fn rfc_9110_section_8_8_3_1_a_tag_of_the_content() {
    let (one, other) = (generated_tag(b"one"), generated_tag(b"other"));
    assert_eq!(one, generated_tag(b"one"));
    assert_ne!(one, other);
    let tag = EntityTag::parse(one.as_bytes()).expect("a tag");
    assert!(!tag.is_weak);
    let mut stored = HeaderMap::new();
    stored.insert(ETAG, one.clone());
    assert_eq!(
        origin_conditions(StatusCode::OK, &stored).count(),
        0,
        "it is no origin's"
    );
}

#[test]
fn section_4_3_4_a_304_confirms_only_the_response_with_its_validators() {
    use ValidationOutcome::{Confirmed, OtherResponse};
    for (case, stored, new, expected) in [
        (
            "the same strong tag",
            TAGGED,
            &[("etag", "\"a\"")][..],
            Confirmed,
        ),
        (
            "another strong tag",
            TAGGED,
            &[("etag", "\"b\"")],
            OtherResponse,
        ),
        (
            "a strong one of a weak one",
            &[("etag", "W/\"a\"")],
            &[("etag", "\"a\"")],
            Confirmed,
        ),
        (
            "another strong one of a weak one",
            &[("etag", "W/\"a\"")],
            &[("etag", "\"b\"")],
            OtherResponse,
        ),
        (
            "a weak one of a strong one",
            TAGGED,
            &[("etag", "W/\"a\"")],
            Confirmed,
        ),
        (
            "another weak one",
            &[("etag", "W/\"a\"")],
            &[("etag", "W/\"b\"")],
            OtherResponse,
        ),
        (
            "a new strong tag",
            DATED,
            &[("etag", "\"a\"")],
            OtherResponse,
        ),
        ("no validator", TAGGED, &[], Confirmed),
        (
            "the same date",
            DATED,
            &[("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT")],
            Confirmed,
        ),
        (
            "another date",
            DATED,
            &[("last-modified", "Sun, 06 Nov 1994 08:00:01 GMT")],
            OtherResponse,
        ),
    ] {
        assert_eq!(
            validation_outcome(&map(stored), &map(new)),
            expected,
            "{case}"
        );
    }
}

#[test]
fn section_4_3_5_head_updates_or_outdates_the_stored_response() {
    use HeadComparison::{Differs, Matches, Unknown};
    let stored: Lines = &[("etag", "\"a\""), ("content-length", "4")];
    for (case, head, expected) in [
        (
            "the same",
            &[("etag", "\"a\""), ("content-length", "4")][..],
            Matches,
        ),
        ("the tag alone", &[("etag", "\"a\"")], Matches),
        (
            "another tag",
            &[("etag", "\"b\""), ("content-length", "4")],
            Differs,
        ),
        (
            "another length",
            &[("etag", "\"a\""), ("content-length", "5")],
            Differs,
        ),
        ("a length alone", &[("content-length", "4")], Unknown),
        ("another length alone", &[("content-length", "5")], Differs),
        (
            "a validator that is not stored",
            &[("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT")],
            Differs,
        ),
        ("nothing", &[], Unknown),
        ("the tag, weakened", &[("etag", "W/\"a\"")], Matches),
        (
            "another tag, in another coding",
            &[("etag", "\"b\""), ("content-encoding", "gzip")],
            Unknown,
        ),
        (
            "another tag, in no coding",
            &[("etag", "\"b\""), ("content-encoding", "identity")],
            Differs,
        ),
    ] {
        assert_eq!(
            compare_with_head(&map(head), &map(stored)),
            expected,
            "{case}"
        );
    }
}
