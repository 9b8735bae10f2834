//! How long a response stays fresh, and how old it is (RFC 9111 §4.2).

use std::time::Duration;

use http::header::{AGE, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use super::cache_control::{self, ResponseDirectives};
use super::moment::Moment;
use super::{date, fields};

/// The largest lifetime that is guessed from `Last-Modified`.
pub const LONGEST_HEURISTIC: Duration = Duration::from_secs(24 * 60 * 60);

/// A lifetime that this cache gives to responses which say nothing of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// Fresh for this long.
    For(Duration),
    /// Fresh until a write, an invalidation or eviction takes it: no automatic expiration.
    UntilInvalidated,
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Self::For(duration)
    }
}

/// Where a response's lifetime comes from (RFC 9111 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// The response said it: `s-maxage`, `max-age` or `Expires`.
    Explicit(Duration),
    /// It said nothing; the configuration gives it this.
    Assigned(Ttl),
    /// It said nothing; a tenth of the time since `Last-Modified` (§4.2.2).
    Heuristic(Duration),
    /// Nothing gives it one: it is never fresh.
    Nothing,
}

/// The lifetime of a response received at `received`; `assigned` is what the configuration gives to one that says nothing.
#[must_use]
pub fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
    assigned: Option<Ttl>,
    received: Moment,
) -> Lifetime {
    if let Some(seconds) = directives.s_maxage.or(directives.max_age) {
        return Lifetime::Explicit(seconds);
    }
    if headers.contains_key(EXPIRES) && !directives.is_targeted {
        return Lifetime::Explicit(until_expires(headers, received));
    }
    if let Some(ttl) = assigned {
        return Lifetime::Assigned(ttl);
    }
    if !(heuristically_cacheable(status) || (directives.public && status.as_u16() < 400)) {
        return Lifetime::Nothing;
    }
    match since_last_modified(headers, received) {
        Some(unchanged) => Lifetime::Heuristic((unchanged / 10).min(LONGEST_HEURISTIC)),
        None => Lifetime::Nothing,
    }
}

/// Whether the configured lifetime may be given to a status: those whose meaning does not depend on the request.
#[must_use]
pub fn takes_assigned_lifetime(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 301 | 308)
}

/// Whether the configured *negative* lifetime may be given to a status.
#[must_use]
pub fn takes_negative_lifetime(status: StatusCode) -> bool {
    matches!(status.as_u16(), 404 | 410)
}

/// The statuses RFC 9110 §15.1 calls heuristically cacheable, without 206, which this cache does not combine, and
/// without errors, which need explicit freshness here.
fn heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308)
}

/// §5.3: `Expires` less `Date`; several or unreadable ones mean already expired.
fn until_expires(headers: &HeaderMap, received: Moment) -> Duration {
    let mut values = headers.get_all(EXPIRES).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Duration::ZERO;
    };
    date::parse(value.as_bytes(), received.wall())
        .and_then(|expires| expires.duration_since(sent(headers, received)).ok())
        .unwrap_or_default()
}

fn since_last_modified(headers: &HeaderMap, received: Moment) -> Option<Duration> {
    let value = headers.get(LAST_MODIFIED)?;
    let modified = date::parse(value.as_bytes(), received.wall())?;
    sent(headers, received).duration_since(modified).ok()
}

/// `Date`, or the moment of receipt where it is missing or cannot be read (RFC 9110 §6.6.1).
fn sent(headers: &HeaderMap, received: Moment) -> std::time::SystemTime {
    headers
        .get(DATE)
        .and_then(|value| date::parse(value.as_bytes(), received.wall()))
        .unwrap_or(received.wall())
}

/// The age a response already had when it was received (RFC 9111 §4.2.3, `corrected_initial_age`).
#[must_use]
pub fn corrected_initial_age(headers: &HeaderMap, requested: Moment, received: Moment) -> Duration {
    let sent = sent(headers, received)
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    // Both in whole seconds: a `Date` cut to its second must not make a response up to a second older than it is.
    let apparent = Duration::from_secs(received.unix_seconds().saturating_sub(sent));
    let upstream = fields::list(headers, &AGE)
        .next()
        .and_then(cache_control::delta_seconds)
        .unwrap_or_default();
    apparent.max(upstream.saturating_add(received.since(requested)))
}

#[cfg(test)]
mod tests {
    use super::super::targeted::Targets;
    use super::*;
    use http::HeaderName;
    use std::time::UNIX_EPOCH;

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
        use Lifetime::{Assigned, Explicit, Heuristic, Nothing};
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
                Heuristic(LONGEST_HEURISTIC),
            ),
            (
                200,
                &[date, ("last-modified", "Sun, 06 Nov 1994 09:49:37 GMT")],
                None,
                Nothing,
            ),
            (200, &[date, long_ago], minute, Assigned(Ttl::For(s(60)))),
            (200, &[], forever, Assigned(Ttl::UntilInvalidated)),
            (302, &[date, long_ago], None, Nothing),
            (
                302,
                &[date, long_ago, ("cache-control", "public")],
                None,
                Heuristic(s(100)),
            ),
            (404, &[date, long_ago], None, Nothing),
            (
                404,
                &[date, long_ago, ("cache-control", "public")],
                None,
                Nothing,
            ),
            (200, &[("cache-control", "public")], None, Nothing),
            (200, &[], None, Nothing),
        ] {
            let headers = headers(lines);
            let status = StatusCode::from_u16(status).expect("a status");
            let directives = ResponseDirectives::of(&headers, &Targets::default());
            let got = lifetime(status, &headers, &directives, assigned, at(NOW));
            assert_eq!(got, expected, "{status} {lines:?} {assigned:?}");
        }
    }

    /// F08
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
}
