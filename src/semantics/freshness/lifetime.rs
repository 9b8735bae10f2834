//! The freshness lifetime of a response (RFC 9111 §4.2.1).

use std::time::Duration;

use http::header::{EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use super::age::sent;
use super::ttl::Ttl;
use crate::semantics::cache_control::ResponseDirectives;
use crate::semantics::fields::date;
use crate::semantics::moment::Moment;

/// The largest lifetime that is guessed from `Last-Modified`.
pub const MAX_HEURISTIC_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

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
    Absent,
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
        return Lifetime::Absent;
    }
    match since_last_modified(headers, received) {
        Some(unchanged) => Lifetime::Heuristic((unchanged / 10).min(MAX_HEURISTIC_LIFETIME)),
        None => Lifetime::Absent,
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
