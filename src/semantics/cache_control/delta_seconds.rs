//! Arguments in seconds (RFC 9111 §1.2.2).

use std::time::Duration;

use crate::semantics::fields;

/// The largest number of seconds; a larger one is taken for this (RFC 9111 §1.2.2).
pub(super) const MAX_DELTA_SECONDS: u64 = 1 << 31;

/// Keeps the smaller of two arguments.
pub(super) fn smallest(kept: &mut Option<Duration>, new: Duration) {
    *kept = Some(kept.map_or(new, |old| old.min(new)));
}

/// Reads a lifetime; zero if it is absent or cannot be read (RFC 9111 §4.2.1).
pub(super) fn lifetime(value: Option<&[u8]>) -> Duration {
    value.and_then(delta_seconds).unwrap_or_default()
}

/// Reads a non-negative number of seconds; `None` if there is anything but digits.
#[must_use]
pub fn delta_seconds(value: &[u8]) -> Option<Duration> {
    fields::decimal(value).map(|seconds| Duration::from_secs(seconds.min(MAX_DELTA_SECONDS)))
}
