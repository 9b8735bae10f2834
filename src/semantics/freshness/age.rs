//! The age of a response (RFC 9111 §4.2.3).

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, DATE};

use crate::semantics::cache_control::delta_seconds;
use crate::semantics::fields::{self, date};
use crate::semantics::moment::Moment;

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
        .and_then(delta_seconds)
        .unwrap_or_default();
    apparent.max(upstream.saturating_add(received.since(requested)))
}

/// `Date`, or the moment of receipt where it is missing or cannot be read (RFC 9110 §6.6.1).
pub(super) fn sent(headers: &HeaderMap, received: Moment) -> std::time::SystemTime {
    headers
        .get(DATE)
        .and_then(|value| date::parse(value.as_bytes(), received.wall()))
        .unwrap_or(received.wall())
}
