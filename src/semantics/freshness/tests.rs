//! Tables of lifetimes and ages (RFC 9111 §4.2).

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, StatusCode};

use super::lifetime::{MAX_HEURISTIC_ERROR_LIFETIME, MAX_HEURISTIC_LIFETIME};
use super::*;
use crate::semantics::cache_control::{ResponseDirectives, TargetedFields};
use crate::semantics::moment::Moment;

/// Sun, 06 Nov 1994 08:49:37 GMT
const NOW: u64 = 784_111_777;

fn at(wall: u64) -> Moment {
    Moment::new(
        Duration::from_secs(wall),
        UNIX_EPOCH + Duration::from_secs(wall),
    )
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            let value = value.parse().expect("a field value");
            (HeaderName::from_static(name), value)
        })
        .fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
}

#[test]
fn section_4_2_1_lifetime() {
    use Lifetime::{Absent, Assigned, Explicit, Heuristic};
    let s = Duration::from_secs;
    let minute = Some(Ttl::For(s(60)));
    let forever = Some(Ttl::UntilInvalidated);
    let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    let in_ten = ("expires", "Sun, 06 Nov 1994 08:49:47 GMT");
    let long_ago = ("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT");
    for (status, lines, assigned, expected) in [
        (
            200,
            &[("cache-control", "max-age=5")][..],
            None,
            Explicit(s(5)),
        ),
        (
            200,
            &[("cache-control", "max-age=5, s-maxage=9")],
            None,
            Explicit(s(9)),
        ),
        (
            200,
            &[("cache-control", "max-age=5"), date, in_ten],
            None,
            Explicit(s(5)),
        ),
        (
            200,
            &[("cache-control", "max-age=5")],
            minute,
            Explicit(s(5)),
        ),
        (503, &[("cache-control", "max-age=5")], None, Explicit(s(5))),
        (200, &[date, in_ten], None, Explicit(s(10))),
        (200, &[in_ten], None, Explicit(s(10))),
        (200, &[date, in_ten, in_ten], None, Explicit(s(0))),
        (200, &[date, ("expires", "0")], None, Explicit(s(0))),
        (200, &[date, ("expires", "0")], minute, Explicit(s(0))),
        (
            200,
            &[date, ("expires", "Sun, 06 Nov 1994 08:00:00 GMT")],
            None,
            Explicit(s(0)),
        ),
        (200, &[date, long_ago], None, Heuristic(s(100))),
        (
            200,
            &[date, ("last-modified", "Sun, 06 Nov 1960 08:32:57 GMT")],
            None,
            Heuristic(MAX_HEURISTIC_LIFETIME),
        ),
        (
            200,
            &[date, ("last-modified", "Sun, 06 Nov 1994 09:49:37 GMT")],
            None,
            Absent,
        ),
        (200, &[date, long_ago], minute, Assigned(Ttl::For(s(60)))),
        (200, &[], forever, Assigned(Ttl::UntilInvalidated)),
        (302, &[date, long_ago], None, Absent),
        (
            302,
            &[date, long_ago, ("cache-control", "public")],
            None,
            Heuristic(s(100)),
        ),
        (404, &[date, long_ago], None, Heuristic(s(100))),
        (
            404,
            &[date, ("last-modified", "Sun, 06 Nov 1960 08:32:57 GMT")],
            None,
            Heuristic(MAX_HEURISTIC_ERROR_LIFETIME),
        ),
        (400, &[date, long_ago], None, Absent),
        (
            400,
            &[date, long_ago, ("cache-control", "public")],
            None,
            Heuristic(s(100)),
        ),
        (200, &[date, long_ago, long_ago], None, Absent),
        (
            200,
            &[date, ("last-modified", "Sun, 6 Nov 1994 08:32:57 GMT")],
            None,
            Absent,
        ),
        (
            200,
            &[date, ("expires", "Sun, 06 Nov 1994 08:49:47 UTC")],
            minute,
            Explicit(s(0)),
        ),
        (200, &[("cache-control", "public")], None, Absent),
        (200, &[], None, Absent),
    ] {
        let headers = headers(lines);
        let status = StatusCode::from_u16(status).expect("a status");
        let directives = ResponseDirectives::from_headers(&headers, &TargetedFields::default());
        let got = lifetime(status, &headers, &directives, assigned, at(NOW));
        assert_eq!(got, expected, "{status} {lines:?} {assigned:?}");
    }
}

/// RFC 9111 §4.2.3.
#[test]
fn section_4_2_3_corrected_initial_age() {
    for (case, lines, delay, expected) in [
        ("no Date, no Age", &[][..], 0, 0),
        ("response delay counts", &[], 3, 3),
        (
            "Date in the past",
            &[("date", "Sun, 06 Nov 1994 08:49:27 GMT")],
            0,
            10,
        ),
        (
            "Date in the future",
            &[("date", "Sun, 06 Nov 1994 09:49:27 GMT")],
            0,
            0,
        ),
        ("Date invalid", &[("date", "yesterday")], 0, 0),
        (
            "Date in another zone",
            &[("date", "Sun, 06 Nov 1994 08:49:27 UTC")],
            0,
            0,
        ),
        ("Age", &[("age", "7")], 0, 7),
        ("Age and delay", &[("age", "7")], 2, 9),
        (
            "the larger of both",
            &[("age", "7"), ("date", "Sun, 06 Nov 1994 08:49:27 GMT")],
            2,
            10,
        ),
        ("Age negative", &[("age", "-7")], 0, 0),
        ("Age twice: the first", &[("age", "7"), ("age", "70")], 0, 7),
        (
            "Age overflows",
            &[("age", "99999999999999999999")],
            0,
            1 << 31,
        ),
    ] {
        let got = corrected_initial_age(&headers(lines), at(NOW - delay), at(NOW));
        assert_eq!(got, Duration::from_secs(expected), "{case}");
    }
}

#[test]
fn a_date_cut_to_its_second_adds_no_age() {
    let received = Moment::new(
        Duration::ZERO,
        UNIX_EPOCH + Duration::from_millis(NOW * 1000 + 999),
    );
    let headers = headers(&[("date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
    assert_eq!(
        corrected_initial_age(&headers, received, received),
        Duration::ZERO
    );
}
