//! HTTP dates (RFC 9110 §5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::syntax;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const LONG_DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

/// The longest date: an RFC 850 date on a Wednesday.
const LONGEST: usize = "Wednesday, 06-Nov-94 08:49:37 GMT".len();

/// Reads a date in one of the three forms of RFC 9110 §5.6.7, by their grammar, letter case aside.
/// A weekday that does not belong to the date is accepted.
///
/// A two-digit year that would lie more than 50 years after `now` belongs to the century before, as
/// that section demands. A date before 1970 is read as 1970: to a cache both are long ago.
#[must_use]
pub fn parse(value: &[u8], now: SystemTime) -> Option<SystemTime> {
    let value = value.trim_ascii();
    if value.len() > LONGEST {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?.to_ascii_lowercase();
    match text.split_once(", ") {
        Some((day, rest)) if DAYS.contains(&day) => imf_fixdate(rest)?.time(),
        Some((day, rest)) if LONG_DAYS.contains(&day) => rfc850_date(rest, now)?.in_century(now),
        Some(_) => None,
        None => asctime_date(&text)?.time(),
    }
}

/// Reads the date of a field; `None` if the field is absent, has several lines or is no date.
#[must_use]
pub fn of_field(headers: &HeaderMap, name: &HeaderName, now: SystemTime) -> Option<SystemTime> {
    parse(syntax::single(headers, name)?.as_bytes(), now)
}

/// Returns whether a field has a value that is a date. Two-digit years are, in any century.
#[must_use]
pub fn is_in_field(headers: &HeaderMap, name: &HeaderName) -> bool {
    of_field(headers, name, UNIX_EPOCH).is_some()
}

/// The parts of a date.
#[derive(Clone, Copy)]
struct DateFields<'t> {
    year: i64,
    /// From 1 to 12.
    month: i64,
    day: i64,
    /// `HH:MM:SS`.
    time: &'t str,
}

impl DateFields<'_> {
    /// Returns the point in time; `None` if there is no such day or time.
    fn time(&self) -> Option<SystemTime> {
        let Self {
            year, month, day, ..
        } = *self;
        if !(1..=days_in(year, month)).contains(&day) {
            return None;
        }
        let seconds = days_since_1970(year, month, day) * 86_400 + seconds_of_day(self.time)?;
        let seconds = u64::try_from(seconds).unwrap_or(0);
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }
}

/// Fifty years of the Gregorian calendar, on average.
const FIFTY_YEARS: Duration = Duration::from_secs(50 * 31_556_952);

impl DateFields<'_> {
    /// Returns the point in time of a date in the century of `now`, or in the one before if it
    /// would lie more than 50 years ahead.
    fn in_century(self, now: SystemTime) -> Option<SystemTime> {
        let is_ahead = |time: SystemTime| {
            let ahead = time.duration_since(now).unwrap_or_default();
            ahead > FIFTY_YEARS
        };
        let before = Self {
            year: self.year - 100,
            ..self
        };
        // 29 February may be a day in one of both centuries only.
        let time = self.time().filter(|time| !is_ahead(*time));
        time.or_else(|| before.time())
    }
}

/// Reads `06 Nov 1994 08:49:37 GMT`.
fn imf_fixdate(text: &str) -> Option<DateFields<'_>> {
    let mut words = text.split(' ');
    let fields = DateFields {
        day: number(words.next()?, 2)?,
        month: month(words.next()?)?,
        year: number(words.next()?, 4)?,
        time: words.next()?,
    };
    ends_in_gmt(words).then_some(fields)
}

/// Reads `06-Nov-94 08:49:37 GMT`, with the year of the century of `now`.
fn rfc850_date(text: &str, now: SystemTime) -> Option<DateFields<'_>> {
    let mut words = text.split(' ');
    let mut date = words.next()?.split('-');
    let fields = DateFields {
        day: number(date.next()?, 2)?,
        month: month(date.next()?)?,
        year: century(now) + number(date.next()?, 2)?,
        time: words.next()?,
    };
    (date.next().is_none() && ends_in_gmt(words)).then_some(fields)
}

/// Reads `Sun Nov  6 08:49:37 1994`, in which a space takes the place of the first digit of a day.
fn asctime_date(text: &str) -> Option<DateFields<'_>> {
    let (weekday, rest) = text.split_once(' ')?;
    let (name, rest) = rest.split_once(' ')?;
    let (day, rest) = match rest.strip_prefix(' ') {
        Some(rest) => {
            let (day, rest) = rest.split_once(' ')?;
            (number(day, 1)?, rest)
        }
        None => {
            let (day, rest) = rest.split_once(' ')?;
            (number(day, 2)?, rest)
        }
    };
    let (time, year) = rest.split_once(' ')?;
    let fields = DateFields {
        day,
        month: month(name)?,
        year: number(year, 4)?,
        time,
    };
    DAYS.contains(&weekday).then_some(fields)
}

/// Returns whether `GMT` is the only word left. Another zone is invalid (RFC 9111 §4.2).
fn ends_in_gmt<'t>(words: impl Iterator<Item = &'t str>) -> bool {
    words.eq(["gmt"])
}

/// Reads the name of a month.
fn month(text: &str) -> Option<i64> {
    let index = MONTHS.iter().position(|name| *name == text)?;
    i64::try_from(index + 1).ok()
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

/// Reads a number of exactly this many digits.
fn number(digits: &str, length: usize) -> Option<i64> {
    let is_number = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// Reads `HH:MM:SS`.
fn seconds_of_day(time: &str) -> Option<i64> {
    let mut parts = time.split(':');
    let mut next = || number(parts.next()?, 2);
    let (hour, minute, second) = (next()?, next()?, next()?);
    // 60 is a leap second.
    let is_time = parts.next().is_none() && hour < 24 && minute < 60 && second <= 60;
    is_time.then_some(hour * 3600 + minute * 60 + second)
}

/// Returns the first year of the century.
fn century(now: SystemTime) -> i64 {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let year = 1970 + (seconds / 31_556_952) as i64;
    year - year % 100
}

/// Returns the number of days of a month.
fn days_in(year: i64, month: i64) -> i64 {
    let is_leap_year = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap_year => 29,
        2 => 28,
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

    fn seconds(text: &str) -> Option<u64> {
        let now = UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let time = parse(text.as_bytes(), now)?;
        Some(time.duration_since(UNIX_EPOCH).expect("1970").as_secs())
    }

    /// RFC 9110 §5.6.7; RFC 9111 §4.2: in any letter case.
    #[test]
    fn section_5_6_7_three_forms_in_any_letter_case() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("Sun Nov 06 08:49:37 1994", 784_111_777),
            ("Wed Nov 16 08:49:37 1994", 784_975_777),
            ("sun, 06 nov 1994 08:49:37 gmt", 784_111_777),
            ("SUNDAY, 06-NOV-94 08:49:37 GMT", 784_111_777),
            ("sun nov  6 08:49:37 1994", 784_111_777),
            (" Sun, 06 Nov 1994 08:49:37 GMT ", 784_111_777),
            ("Mon, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Thu, 29 Feb 2024 12:00:00 GMT", 1_709_208_000),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
            ("Sat, 01 Jan 0001 00:00:00 GMT", 0),
            ("Friday, 01-Jan-27 00:00:00 GMT", 1_798_761_600),
            ("Wednesday, 01-Jan-76 00:00:00 GMT", 3_345_062_400),
            ("Sunday, 20-Sep-76 00:00:00 GMT", 3_367_785_600),
            ("Wednesday, 22-Sep-76 00:00:00 GMT", 212_198_400),
            ("Saturday, 01-Jan-77 00:00:00 GMT", 220_924_800),
            ("Tuesday, 29-Feb-00 00:00:00 GMT", 951_782_400),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
    }

    /// RFC 9110 §5.6.7; RFC 9111 §4.2: a zone other than GMT is invalid.
    #[test]
    fn section_5_6_7_any_other_form_is_no_date() {
        for text in [
            // The fixed-length form with another year, separator, or number of digits.
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 Nov 19945 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun,06 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, 06 Nov 1994 08:49:37.5 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            // White space.
            "Sun,  06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994  08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37  GMT",
            "Sun,\t06 Nov 1994 08:49:37 GMT",
            // Zones.
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37 GMT+1",
            "Sun, 06 Nov 1994 08:49:37 GMT 1",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun Nov  6 08:49:37 GMT 1994",
            // Names.
            "06 Nov 1994 08:49:37 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 November 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Foo, 06 Nov 1994 08:49:37 GMT",
            "Sunday Nov  6 08:49:37 1994",
            // The obsolete forms.
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06 Nov 94 08:49:37 GMT",
            "Sunday, 06-Nov-94-1 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov   6 08:49:37 1994",
            "Sun Nov  06 08:49:37 1994",
            "Sun Nov  6 08:49:37 94",
            // Days and times that are none.
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Thu, 31 Nov 1994 08:49:37 GMT",
            "Wed, 29 Feb 2023 08:49:37 GMT",
            "Thu, 29 Feb 1900 08:49:37 GMT",
            "Sun, -6 Nov 1994 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            // Other notations.
            "1994-11-06T08:49:37Z",
            "784111777",
            "0",
            "-1",
            "",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(seconds(text), None, "{text}");
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
