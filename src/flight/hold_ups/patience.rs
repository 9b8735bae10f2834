//! How long a request waits for a call that takes longer than usual.

use std::time::Duration;

/// The shortest time after which others do not wait for a call alone.
pub(in crate::flight) const MIN_PATIENCE: Duration = Duration::from_secs(1);

/// Whether requests have waited for a call longer than a second, whatever it usually takes.
pub(in crate::flight) fn is_long(waited: Duration) -> bool {
    waited > patience_for(Duration::ZERO)
}

/// The time after which a call that usually takes `cost` takes longer than usual.
pub(crate) fn patience_for(cost: Duration) -> Duration {
    cost.saturating_mul(2).max(MIN_PATIENCE)
}
