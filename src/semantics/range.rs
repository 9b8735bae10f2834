//! `Range`, `If-Range` and `Content-Range` (RFC 9110 §13.1.5, §14).

use std::ops::Range;
use std::time::Duration;

use http::header::{CONTENT_RANGE, DATE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue};

use super::conditional::EntityTag;
use super::date;
use super::fields;
use super::moment::Moment;

/// How many ranges a request may ask for: more is not what a client needs (§14.2, §17.15).
pub const MOST_RANGES: usize = 16;

/// By how much a response must be younger than its `Last-Modified` for that to be a strong validator (§8.8.2.2).
const STRONG_AFTER: Duration = Duration::from_secs(60);

/// What a request asks for of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ranged {
    /// All of it: it asks for no range, or not in a way that is understood (§14.2).
    Whole,
    /// These parts of it, none empty, none beyond its end, in the order they were asked for.
    Parts(Vec<Range<u64>>),
    /// Parts that it does not have.
    Unsatisfiable,
}

/// Reads `Range` for a representation of `length` bytes.
///
/// Other units than bytes, several lines, and what cannot be read are ignored; so is a request for more than
/// [`MOST_RANGES`] parts, or for parts that overlap, which would be sent more than once.
#[must_use]
pub fn ranged(asked: &HeaderMap, length: u64) -> Ranged {
    let line = fields::single(asked, &RANGE);
    let Some(members) = line.and_then(|line| members_of(line.as_bytes())) else {
        return Ranged::Whole;
    };
    let mut parts: Vec<Range<u64>> = Vec::new();
    for (number, member) in members.enumerate() {
        let Some(spec) = Spec::parse(member).filter(|_| number < MOST_RANGES) else {
            return Ranged::Whole;
        };
        let Some(part) = spec.within(length) else {
            continue;
        };
        if parts.iter().any(|other| overlap(other, &part)) {
            return Ranged::Whole;
        }
        parts.push(part);
    }
    if parts.is_empty() {
        return Ranged::Unsatisfiable;
    }
    Ranged::Parts(parts)
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// The members of a set of byte ranges; `None` for another unit, and for a set without members.
fn members_of(value: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let equals = value.iter().position(|byte| *byte == b'=')?;
    let (unit, set) = (&value[..equals], &value[equals + 1..]);
    let is_any = |member: &&[u8]| !member.is_empty();
    let members = || set.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_bytes = unit.trim_ascii().eq_ignore_ascii_case(b"bytes");
    (is_bytes && members().any(|member| is_any(&member))).then(|| members().filter(is_any))
}

/// One range as it is asked for (§14.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    From(u64),
    FromTo(u64, u64),
    Last(u64),
}

impl Spec {
    fn parse(member: &[u8]) -> Option<Self> {
        let dash = member.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&member[..dash], &member[dash + 1..]);
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Self::Last(number(last)?)),
            (false, true) => Some(Self::From(number(first)?)),
            (false, false) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::FromTo(first, last))
            }
        }
    }

    fn within(self, length: u64) -> Option<Range<u64>> {
        let part = match self {
            Self::From(first) => first..length,
            Self::FromTo(first, last) => first..last.saturating_add(1).min(length),
            Self::Last(many) => length.saturating_sub(many)..length,
        };
        (part.start < part.end).then_some(part)
    }
}

/// One too large to count is as good as the largest.
fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| {
        digits.iter().fold(0_u64, |sum, digit| {
            sum.saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        })
    })
}

/// Whether a request's `If-Range` lets its `Range` count for a response (§13.1.5): there is none, or it names the response
/// by a strong validator.
#[must_use]
pub fn may_be_ranged(asked: &HeaderMap, headers: &HeaderMap, received: Moment) -> bool {
    let mut lines = asked.get_all(IF_RANGE).iter();
    let line = match (lines.next(), lines.next()) {
        (None, _) => return true,
        (Some(line), None) => line.as_bytes().trim_ascii(),
        (Some(_), Some(_)) => return false,
    };
    if let Some(tag) = EntityTag::parse(line) {
        return EntityTag::of(headers).is_some_and(|own| own.is_strongly(&tag));
    }
    let named = date::parse(line, received.wall());
    named.is_some() && named == strong_date(headers, received)
}

/// What names a response strongly in `If-Range`: its entity tag, or its `Last-Modified` where that is a strong validator.
#[must_use]
pub fn strong_validator(headers: &HeaderMap, received: Moment) -> Option<&HeaderValue> {
    match EntityTag::of(headers) {
        Some(tag) => headers.get(ETAG).filter(|_| !tag.is_weak),
        None => strong_date(headers, received).and_then(|_| headers.get(LAST_MODIFIED)),
    }
}

/// Whether both are parts of the same representation, byte for byte (RFC 9111 §3.4): they have the same strong validator.
#[must_use]
pub fn is_of_the_same(
    headers: &HeaderMap,
    received: Moment,
    other: &HeaderMap,
    now: Moment,
) -> bool {
    strong_validator(headers, received).is_some_and(|own| strong_validator(other, now) == Some(own))
}

/// `Last-Modified`, where it is a strong validator. What has no `Date` was made when it was received (RFC 9110 §6.6.1).
fn strong_date(headers: &HeaderMap, received: Moment) -> Option<std::time::SystemTime> {
    let received = received.wall();
    let modified = date::parse(headers.get(LAST_MODIFIED)?.as_bytes(), received)?;
    let sent = match headers.get(DATE) {
        Some(date) => date::parse(date.as_bytes(), received)?,
        None => received,
    };
    let passed = sent.duration_since(modified).unwrap_or_default();
    (passed >= STRONG_AFTER).then_some(modified)
}

/// `Content-Range` of a part (§14.4).
#[must_use]
pub fn content_range(part: &Range<u64>, length: u64) -> HeaderValue {
    let text = format!("bytes {}-{}/{length}", part.start, part.end - 1);
    HeaderValue::try_from(text).expect("digits")
}

/// The one part that a 206 is, and the length of the whole (§14.4); `None` where it does not say, or not once, or what it
/// says is not sound.
#[must_use]
pub fn part_of_whole(headers: &HeaderMap) -> Option<(Range<u64>, u64)> {
    let line = fields::single(headers, &CONTENT_RANGE)?;
    let (unit, rest) = line.as_bytes().trim_ascii().split_at_checked(6)?;
    let slash = rest.iter().position(|byte| *byte == b'/')?;
    let (part, complete) = (&rest[..slash], &rest[slash + 1..]);
    let dash = part.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (number(&part[..dash])?, number(&part[dash + 1..])?);
    let complete = number(complete)?;
    let is_sound = unit.eq_ignore_ascii_case(b"bytes ") && first <= last && last < complete;
    is_sound.then(|| (first..last + 1, complete))
}

/// `Range` for one part.
#[must_use]
pub fn range_of(part: &Range<u64>) -> HeaderValue {
    let text = format!("bytes={}-{}", part.start, part.end - 1);
    HeaderValue::try_from(text).expect("digits")
}

/// `Content-Range` where there is no such part.
#[must_use]
pub fn no_such_range(length: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes */{length}")).expect("digits")
}

/// The head of one part among several (§14.6): what stands before its bytes.
#[must_use]
pub fn part_head(boundary: &str, headers: &HeaderMap, part: &Range<u64>, length: u64) -> Vec<u8> {
    let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
    if let Some(media_type) = headers.get(http::header::CONTENT_TYPE) {
        head.extend_from_slice(b"content-type: ");
        head.extend_from_slice(media_type.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(CONTENT_RANGE.as_str().as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(content_range(part, length).as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
    head
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

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

    /// H12
    #[test]
    fn section_14_1_2_byte_ranges() {
        use Ranged::{Unsatisfiable, Whole};
        let parts = |spans: &[(u64, u64)]| {
            Ranged::Parts(spans.iter().map(|(start, end)| *start..*end).collect())
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
                ranged(&asking(&[line]), length),
                expected,
                "{line} of {length}"
            );
        }
        assert_eq!(ranged(&HeaderMap::new(), 10), Whole);
        assert_eq!(ranged(&asking(&["bytes=0-1", "bytes=2-3"]), 10), Whole);
    }

    #[test]
    fn section_17_15_sets_are_bounded() {
        let many = |count: usize| {
            let members: Vec<_> = (0..count).map(|n| format!("{}-{}", 2 * n, 2 * n)).collect();
            let mut headers = HeaderMap::new();
            let line = format!("bytes={}", members.join(","));
            headers.insert(RANGE, line.parse().expect("a field value"));
            ranged(&headers, 1_000_000)
        };
        assert!(matches!(many(MOST_RANGES), Ranged::Parts(parts) if parts.len() == MOST_RANGES));
        assert_eq!(many(MOST_RANGES + 1), Ranged::Whole);
        assert_eq!(many(100_000), Ranged::Whole);
    }

    /// H12
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
            let mut asked = HeaderMap::new();
            for line in condition {
                asked.append(IF_RANGE, HeaderValue::from_static(line));
            }
            let mut headers = HeaderMap::new();
            headers.insert(http::header::ETAG, HeaderValue::from_static(tag));
            headers.insert(LAST_MODIFIED, HeaderValue::from_static(modified));
            headers.insert(
                DATE,
                HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"),
            );
            let got = may_be_ranged(&asked, &headers, received);
            assert_eq!(got, expected, "{condition:?} {tag} {modified}");
        }
    }

    #[test]
    fn section_14_4_content_range() {
        assert_eq!(content_range(&(0..1), 10), "bytes 0-0/10");
        assert_eq!(content_range(&(4..10), 10), "bytes 4-9/10");
        assert_eq!(no_such_range(10), "bytes */10");
    }

    #[test]
    fn section_14_4_what_a_206_is() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CONTENT_RANGE, HeaderValue::from_static(line));
            }
            part_of_whole(&headers)
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
        assert_eq!(range_of(&(4..10)), "bytes=4-9");
    }

    /// H13
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
            let got = is_of_the_same(&of(one), received, &of(other), received);
            assert_eq!(got, same, "{one:?} {other:?}");
        }
    }
}
