//! The age of a response on arrival (RFC 9111 §4.2.3).

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, DATE};

use crate::semantics::cache_control::delta_seconds;
use crate::semantics::fields::{self, date};
use crate::semantics::moment::Moment;

/// Computes the age that a response had on arrival: `corrected_initial_age` of RFC 9111 §4.2.3.
#[must_use]
pub fn corrected_initial_age(headers: &HeaderMap, requested: Moment, received: Moment) -> Duration {
    // Few responses have either, and every fill comes here.
    if !fields::has_any(headers, &[AGE, DATE]) {
        return received.since(requested);
    }
    let sent = date_value(headers, received)
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    // Both in whole seconds: a `Date` without fractions must not make a response up to a second
    // older.
    let apparent = Duration::from_secs(received.unix_seconds().saturating_sub(sent));
    let upstream = fields::list(headers, &AGE)
        .next()
        .and_then(delta_seconds)
        .unwrap_or_default();
    apparent.max(upstream.saturating_add(received.since(requested)))
}

/// Returns `Date`, or the time of arrival if it is missing or unreadable (RFC 9110 §6.6.1).
pub(super) fn date_value(headers: &HeaderMap, received: Moment) -> std::time::SystemTime {
    date::of_field(headers, &DATE, received.wall()).unwrap_or(received.wall())
}
