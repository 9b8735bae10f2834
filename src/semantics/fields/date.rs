//! HTTP dates (RFC 9110 §5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

/// Reads a date in any of the three forms of RFC 9110 §5.6.7, in any letter case. A wrong weekday
/// is accepted.
///
/// A two-digit year that would lie more than 50 years after `now` belongs to the century before, as
/// that section demands. A date before 1970 is read as 1970: to a cache both are long ago.
#[must_use]
pub fn parse(value: &[u8], now: SystemTime) -> Option<SystemTime> {
    let text = std::str::from_utf8(value).ok()?.to_ascii_lowercase();
    let mut words = text.split([' ', '-', ',']).filter(|word| !word.is_empty());
    words.next().filter(|weekday| weekday.len() >= 3)?;
    let rest: Vec<&str> = words.collect();
    let (day, month, year, time) = match rest[..] {
        [day, month, year, time, "gmt" | "utc"] => (day, month, year, time),
        [month, day, time, year] => (day, month, year, time),
        _ => return None,
    };
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let day = number(day, 1..=2)?;
    if !(1..=days_in(month)).contains(&day) {
        return None;
    }
    let year = match year.len() {
        2 => full_year(number(year, 2..=2)?, now),
        _ => number(year, 4..=4)?,
    };
    let seconds = days_since_1970(year, month, day) * 86_400 + seconds_of_day(time)?;
    let seconds = u64::try_from(seconds).unwrap_or(0);
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Writes a date as an IMF-fixdate. A year outside of 1970 to 9999 is written as the nearest one
/// inside.
#[must_use]
pub fn format(time: SystemTime) -> HeaderValue {
    // The formatter panics outside of these years; a broken clock must not.
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
        .min(253_402_300_799);
    let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    HeaderValue::try_from(text).expect("an IMF-fixdate is visible ASCII")
}

/// Reads digits, of which there must be as many as `length` allows.
fn number(digits: &str, length: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let plain = length.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Reads `HH:MM:SS`.
fn seconds_of_day(time: &str) -> Option<i64> {
    let mut parts = time.split(':');
    let (hour, minute, second) = (
        number(parts.next()?, 1..=2)?,
        number(parts.next()?, 2..=2)?,
        number(parts.next()?, 2..=2)?,
    );
    // 60 is a leap second.
    let valid = parts.next().is_none() && hour < 24 && minute < 60 && second <= 60;
    valid.then_some(hour * 3600 + minute * 60 + second)
}

/// Returns the year that a two-digit year means at `now`.
fn full_year(two_digits: i64, now: SystemTime) -> i64 {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let this_year = 1970 + (seconds / 31_556_952) as i64;
    let year = this_year - this_year % 100 + two_digits;
    if year > this_year + 50 {
        year - 100
    } else {
        year
    }
}

/// Returns the number of days of a month in a leap year.
fn days_in(month: i64) -> i64 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the days from 1970-01-01 to a date of the proleptic Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last day of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_5_6_7_three_forms_read_leniently() {
        let now = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("sun, 06 nov 1994 08:49:37 gmt", Some(784_111_777)),
            ("Mon, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sun, 6 Nov 1994 8:49:37 GMT", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Thu, 29 Feb 2024 12:00:00 GMT", Some(1_709_208_000)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("Sat, 01 Jan 0001 00:00:00 GMT", Some(0)),
            ("Friday, 01-Jan-27 00:00:00 GMT", Some(1_798_761_600)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
            ("Sun, 32 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Sun, -6 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("0", None),
            ("-1", None),
            ("", None),
            ("784111777", None),
        ] {
            let expected = expected.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(parse(text.as_bytes(), now), expected, "{text}");
        }
    }

    #[test]
    fn every_written_date_is_read_back() {
        for day in (0..200_000_u64).step_by(97) {
            let time = UNIX_EPOCH + Duration::from_secs(day * 86_400 + 12_345);
            assert_eq!(parse(format(time).as_bytes(), time), Some(time), "{day}");
        }
    }

    /// A broken clock is no reason to panic.
    #[test]
    fn a_clock_far_off_is_written_without_panic() {
        let year_60000 = UNIX_EPOCH + Duration::from_secs(1_831_000_000_000);
        assert_eq!(format(year_60000), "Fri, 31 Dec 9999 23:59:59 GMT");
        let before_1970 = UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(format(before_1970), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
