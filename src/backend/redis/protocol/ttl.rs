//! Times to live of keys.

use std::time::Duration;

use bytes::Bytes;

use crate::backend::StoredResponse;
use crate::semantics::moment::Moment;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest time that an entry is kept.
const MAX_ENTRY_TTL: Duration = Duration::from_secs(30 * DAY.as_secs());

/// The time to live of the namespace token and of the all-groups token: longer than that of every
/// token and entry that depends on them.
pub(crate) const NAMESPACE_TTL: Duration = Duration::from_secs(40 * DAY.as_secs());

/// The time to live of the tokens of stripes, which each invalidation in the stripe renews. There
/// are few, and a write that finds one absent needs another round trip.
pub(crate) const STRIPE_TTL: Duration = DAY;

/// Formats a time to live for `PX`, which accepts no 0.
pub(crate) fn ttl_millis(ttl: Duration) -> Bytes {
    ttl.as_millis().max(1).to_string().into()
}

/// Returns how long a response can still be used, stale or for validation included.
pub(crate) fn entry_ttl(response: &StoredResponse, now: Moment) -> Duration {
    let until = response.freshness().useful_until();
    let ttl = until.map(|until| until.saturating_sub(now.monotonic()));
    ttl.unwrap_or(MAX_ENTRY_TTL).min(MAX_ENTRY_TTL)
}
