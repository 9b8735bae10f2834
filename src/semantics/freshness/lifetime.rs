//! The freshness lifetime of a response (RFC 9111 §4.2.1).

use std::time::Duration;

use http::header::{EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use super::age::date_value;
use crate::semantics::cache_control::ResponseDirectives;
use crate::semantics::fields::date;
use crate::semantics::moment::Moment;

/// The lifetime of responses that do not state their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ttl {
    /// Fresh for this long.
    For(Duration),
    /// Fresh until a write, an invalidation or eviction removes it. Never expires.
    UntilInvalidated,
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Self::For(duration)
    }
}

/// The longest lifetime that is estimated from `Last-Modified`: one day.
pub const MAX_HEURISTIC_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest such lifetime of an error: ten minutes. The `Last-Modified` of an error page says
/// little about how long the error lasts.
pub const MAX_HEURISTIC_ERROR_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// The lifetime of a response, by its origin (RFC 9111 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// The inner service states it for this cache alone.
    Stated(Ttl),
    /// The response states it: `s-maxage`, `max-age` or `Expires`.
    Explicit(Duration),
    /// The configuration gives it to a response that states none.
    Assigned(Ttl),
    /// A tenth of the time since `Last-Modified` (RFC 9111 §4.2.2).
    Heuristic(Duration),
    /// The response has no lifetime and is never fresh.
    Absent,
}

impl Lifetime {
    /// Returns whether the response, or the inner service with it, states the lifetime.
    #[must_use]
    pub fn is_explicit(self) -> bool {
        matches!(self, Self::Stated(_) | Self::Explicit(_))
    }
}

/// Computes the lifetime of a response that arrived at `received`.
///
/// `assigned` is the lifetime that the configuration gives to a response that states none.
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
    if !(is_heuristically_cacheable(status) || directives.public) {
        return Lifetime::Absent;
    }
    let longest = match status.as_u16() {
        400.. => MAX_HEURISTIC_ERROR_LIFETIME,
        _ => MAX_HEURISTIC_LIFETIME,
    };
    match since_last_modified(headers, received) {
        Some(unchanged) => Lifetime::Heuristic((unchanged / 10).min(longest)),
        None => Lifetime::Absent,
    }
}

/// Returns whether a status can have the configured lifetime: its meaning must not depend on the
/// request.
#[must_use]
pub fn takes_assigned_lifetime(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 301 | 308)
}

/// Returns whether a status can have the configured lifetime of negative answers.
#[must_use]
pub fn takes_negative_lifetime(status: StatusCode) -> bool {
    matches!(status.as_u16(), 404 | 410)
}

/// Returns whether a status is heuristically cacheable (RFC 9110 §15.1). 206 is left out: a part is
/// judged with the status of the whole response.
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Returns `Expires` less `Date` (RFC 9111 §5.3). Several lines, or an unreadable one, mean
/// expired.
fn until_expires(headers: &HeaderMap, received: Moment) -> Duration {
    date::of_field(headers, &EXPIRES, received.wall())
        .and_then(|expires| expires.duration_since(date_value(headers, received)).ok())
        .unwrap_or_default()
}

/// Returns how long before `Date` the response was last modified; `None` if it does not say, or
/// not in a way that can be read.
fn since_last_modified(headers: &HeaderMap, received: Moment) -> Option<Duration> {
    let modified = date::of_field(headers, &LAST_MODIFIED, received.wall())?;
    date_value(headers, received).duration_since(modified).ok()
}
