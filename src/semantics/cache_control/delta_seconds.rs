//! Numbers of seconds in directives (RFC 9111 §1.2.2).

use std::time::Duration;

use crate::semantics::fields;

/// Seconds beyond which a number says nothing more (RFC 9111 §1.2.2).
pub(super) const MAX_DELTA_SECONDS: u64 = 1 << 31;

pub(super) fn smallest(kept: &mut Option<Duration>, new: Duration) {
    *kept = Some(kept.map_or(new, |old| old.min(new)));
}

pub(super) fn lifetime(value: Option<&[u8]>) -> Duration {
    value.and_then(delta_seconds).unwrap_or_default()
}

/// A non-negative number of seconds (RFC 9111 §1.2.2); one too large to count saturates.
#[must_use]
pub fn delta_seconds(value: &[u8]) -> Option<Duration> {
    fields::decimal(value).map(|seconds| Duration::from_secs(seconds.min(MAX_DELTA_SECONDS)))
}
