//! Header values that are made again and again (`Age`, `ttl`, `Date`, the members of
//! `Cache-Status`), which each thread remembers.

use http::HeaderValue;

use crate::config::StatusName;
use crate::semantics::cache_status::Forwarded;
use crate::semantics::fields::date;
use crate::semantics::fields::value_slots::ValueSlots;
use crate::semantics::moment::Moment;

/// Slots of header values that each thread remembers.
const CACHED_VALUES: usize = 64;
/// Slots of members of `Cache-Status` that each thread remembers.
const CACHED_MEMBERS: usize = 32;
/// The kind of dates. No status name has this number.
const DATE_KIND: u64 = u64::MAX;

/// Returns a header value made from a number, from this thread's cache of such values.
///
/// Ages and lifetimes change once a second; formatting them on every hit would cost more than the
/// lookup. `kind` tells apart values that are made differently.
#[inline]
pub(crate) fn cached_value(kind: u64, number: u64, make: impl Fn() -> HeaderValue) -> HeaderValue {
    thread_local! {
        static VALUES: ValueSlots<(u64, u64), CACHED_VALUES> = const { ValueSlots::new() };
    }
    let index = number.wrapping_add(kind.wrapping_mul(31)) as usize;
    let value = VALUES.try_with(|values| values.value(index, (kind, number), &make));
    // The slots are gone while the thread is being torn down.
    value.unwrap_or_else(|_| make())
}

/// Returns the value of a `Date` field, from this thread's cache of such values.
///
/// Dates change once a second; formatting one takes longer than storing a response.
pub(crate) fn cached_date(moment: Moment) -> HeaderValue {
    let make = || date::format(moment.wall());
    cached_value(DATE_KIND, moment.unix_seconds(), make)
}

/// Returns the `Cache-Status` member of a forwarded request, from this thread's cache of such
/// values.
///
/// A cache writes few different ones; each costs several times as much to write as to remember.
pub(crate) fn cached_member(status: &StatusName, report: Forwarded<'static>) -> HeaderValue {
    thread_local! {
        static MEMBERS: ValueSlots<(u64, Forwarded<'static>), CACHED_MEMBERS> =
            const { ValueSlots::new() };
    }
    let detail = report.detail.unwrap_or_default();
    let spread = report.fwd.len() + 3 * detail.len() + 7 * usize::from(report.stored);
    let index = spread.wrapping_add(status.number as usize);
    let make = || status.name.forwarded(report);
    let value = MEMBERS.try_with(|members| members.value(index, (status.number, report), make));
    value.unwrap_or_else(|_| make())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::semantics::cache_status::CacheName;

    #[test]
    fn a_remembered_member_is_the_one_that_would_be_written() {
        let names = ["a", "b"].map(|name| {
            let name = CacheName::new(name).expect("a name");
            StatusName::new(name)
        });
        let statuses = [None, Some(http::StatusCode::OK)];
        for _ in 0..2 {
            for status in &names {
                for (fwd, detail) in [
                    ("stale", None),
                    ("request", Some("private")),
                    ("miss", Some("no-store")),
                ] {
                    for (stored, code) in [
                        (false, statuses[0]),
                        (true, statuses[0]),
                        (true, statuses[1]),
                    ] {
                        let report = Forwarded {
                            fwd,
                            status: code,
                            stored,
                            detail,
                        };
                        let written = status.name.forwarded(report);
                        assert_eq!(cached_member(status, report), written);
                    }
                }
            }
        }
    }

    /// 64 seconds apart, two dates have one slot.
    #[test]
    fn a_remembered_date_is_the_one_that_would_be_written() {
        for seconds in [0, 1, 64, 64, 1, 784_111_777] {
            let wall = UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 999);
            let moment = Moment::new(Duration::ZERO, wall);
            assert_eq!(cached_date(moment), date::format(wall));
        }
        let before = UNIX_EPOCH - Duration::from_secs(1);
        let moment = Moment::new(Duration::ZERO, before);
        assert_eq!(cached_date(moment), date::format(before));
    }
}
