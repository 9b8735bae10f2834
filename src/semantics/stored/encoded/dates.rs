//! Dates as seconds since 1970.

use http::HeaderValue;

use crate::semantics::fields::value_slots::ValueSlots;

/// The length of an IMF-fixdate (RFC 9110 §5.6.7).
pub(super) const LENGTH: usize = 29;

const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
#[rustfmt::skip]
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Writes a date in the form that every server sends.
pub(super) fn write(seconds: u32) -> [u8; LENGTH] {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(WEEKDAYS[days as usize % 7]);
    put_two(&mut text, 5, day);
    text[8..11].copy_from_slice(MONTHS[month as usize % 12]);
    put_two(&mut text, 12, year / 100);
    put_two(&mut text, 14, year % 100);
    put_two(&mut text, 17, time / 3600);
    put_two(&mut text, 20, time / 60 % 60);
    put_two(&mut text, 23, time % 60);
    text
}

/// The dates that each thread remembers. Most of the responses of a service are some seconds to some
/// minutes old.
const REMEMBERED: usize = 64;

/// Returns a date as a value, from those that this thread remembers.
pub(super) fn value(seconds: u32) -> HeaderValue {
    thread_local! {
        static DATES: ValueSlots<u32, REMEMBERED> = const { ValueSlots::new() };
    }
    let make = || HeaderValue::from_bytes(&write(seconds)).expect("a date is visible ASCII");
    let value = DATES.try_with(|dates| dates.value(seconds as usize, seconds, make));
    // The slots are gone while the thread is being torn down.
    value.unwrap_or_else(|_| make())
}

/// Reads a date, if [`write`] writes the same bytes.
pub(super) fn read(text: &[u8]) -> Option<u32> {
    let text: &[u8; LENGTH] = text.try_into().ok()?;
    let is_separated = text[3..5] == *b", "
        && [text[7], text[11], text[16]] == [b' '; 3]
        && [text[19], text[22]] == [b':'; 2]
        && text[25..] == *b" GMT";
    let [day, century, year, hour, minute, second] =
        [5, 12, 14, 17, 20, 23].map(|at| two(text, at).unwrap_or(u32::MAX));
    if !is_separated || century.max(year) > 99 || hour > 23 || minute.max(second) > 59 {
        return None;
    }
    let month = MONTHS.iter().position(|name| text[8..11] == **name)? as u32;
    let year = century * 100 + year;
    if day == 0 || day > days_of_month(year, month) {
        return None;
    }
    let days = days(year, month, day)?;
    let is_weekday = text[..3] == *WEEKDAYS[days as usize % 7];
    let time = hour * 3600 + minute * 60 + second;
    let seconds = days.checked_mul(86_400)?.checked_add(time)?;
    is_weekday.then_some(seconds)
}

/// Returns the number of days of a month from 0.
fn days_of_month(year: u32, month: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 => 28 + u32::from(is_leap),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

fn put_two(text: &mut [u8; LENGTH], at: usize, number: u32) {
    text[at] = b'0' + (number / 10 % 10) as u8;
    text[at + 1] = b'0' + (number % 10) as u8;
}

fn two(text: &[u8; LENGTH], at: usize) -> Option<u32> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    Some(digit(text[at])? * 10 + digit(text[at + 1])?)
}

/// The days from 1 March of the year 0 to 1970.
const BEFORE_1970: u32 = 719_468;

/// Returns year, month from 0 and day of a number of days since 1970. Years are counted from March,
/// so that the leap day is the last one.
fn civil(days: u32) -> (u32, u32, u32) {
    let days = days + BEFORE_1970;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leaps = day_of_era / 1460 + day_of_era / 146_096;
    let year = (day_of_era + day_of_era / 36_524 - leaps) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    (era * 400 + year + u32::from(month < 2), month, day)
}

/// Returns the days since 1970 of a date; `None` before that.
fn days(year: u32, month: u32, day: u32) -> Option<u32> {
    let year = if month < 2 {
        year.checked_sub(1)?
    } else {
        year
    };
    let from_march = (month + 10) % 12;
    let in_year = (153 * from_march + 2) / 5 + day;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + in_year;
    days.checked_sub(BEFORE_1970 + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::semantics::fields::date;

    #[test]
    fn a_remembered_date_is_that_of_its_second() {
        for _ in 0..2 {
            for seconds in (0..10_000).step_by(7).chain([u32::MAX]) {
                assert_eq!(value(seconds).as_bytes(), write(seconds), "{seconds}");
            }
        }
    }

    #[test]
    fn dates_are_written_as_all_others_are() {
        let step = 86_400 * 7 / 5 + 12_345;
        for seconds in (0..=u32::MAX).step_by(step).chain([0, u32::MAX]) {
            let text = date::format(UNIX_EPOCH + Duration::from_secs(seconds.into()));
            assert_eq!(write(seconds), text.as_bytes());
            assert_eq!(read(text.as_bytes()), Some(seconds), "{text:?}");
        }
    }

    #[test]
    fn only_days_of_the_calendar_are_read() {
        let all: HashSet<_> = (0..=u32::MAX / 86_400)
            .map(|day| write(day * 86_400))
            .collect();
        for year in (1970..=2106).chain([0, 1900, 9999]) {
            for (month, day) in (0..12).flat_map(|month| (0..=32).map(move |day| (month, day))) {
                for weekday in [WEEKDAYS[0], WEEKDAYS[(year as usize + day as usize) % 7]] {
                    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
                    text[..3].copy_from_slice(weekday);
                    text[8..11].copy_from_slice(MONTHS[month]);
                    for (at, number) in [(5, day), (12, year / 100), (14, year % 100)] {
                        put_two(&mut text, at, number);
                    }
                    let shown = String::from_utf8_lossy(&text);
                    assert_eq!(read(&text).is_some(), all.contains(&text), "{shown}");
                }
            }
        }
    }

    #[test]
    fn what_is_written_otherwise_is_no_number() {
        for text in [
            "",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:60 GMT",
            "Thu, 31 Nov 1994 08:49:37 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Sun, 07 Feb 2106 06:28:16 GMT",
            "Fri, 31 Dec 9999 23:59:59 GMT",
            "Sat, 01 Jan 0000 00:00:00 GMT",
            "Sat, 01 Mar 0000 00:00:00 GMT",
            "Sun, 06 Nov 1994 08:49:3x GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun. 06 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 1994T08:49:37 GMT",
            "Sun, 06 Nov 1994 08.49:37 GMT",
            "Sun, 06 Nov 1994 08:49.37 GMT",
            "Sun, 06 Nov 1994 08:49:37+GMT",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
