//! Options for background refreshes: before a response expires, and after one has failed.

use std::time::Duration;

use super::CacheLayer;
use super::invalid_option::{InvalidOption, or_panic};
use crate::backend::Backend;

/// # Refreshing
///
/// A refresh fetches a stored response again in the background, while requests are answered with
/// the stored one. [`stale_while_revalidate`](Self::stale_while_revalidate) refreshes responses
/// that are stale; these options refresh earlier, and pace refreshes that fail.
///
/// ```
/// use std::time::Duration;
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// let layer = CacheLayer::new(MemoryBackend::default())
///     .ttl(Duration::from_secs(60))
///     .early_refresh(1.0)
///     .failure_backoff(Duration::from_secs(10));
/// ```
impl<B: Backend> CacheLayer<B> {
    /// Sets how long to keep answering with a stale response after a failed refresh before
    /// contacting the inner service again.
    ///
    /// Default: 5 seconds. With zero, every request contacts it. At most 4096 keys with failures or
    /// refreshes are remembered at a time.
    ///
    /// It counts for requests with the same fields as the one that failed, because any of them may
    /// be the reason: a client whose own requests fail does not keep content stale for others. Only
    /// after eight different requests of a kind (plain, with cookies, with credentials, or with
    /// both) have failed within the time, and none has brought a response to store, does it count
    /// for all of that kind. So a key costs an inner service that is down up to eight calls per
    /// time and kind. A request that has waited for two such calls of others uses its stale
    /// response without a call of its own.
    ///
    /// A refresh that has no response yet, and takes more than a second and twice the time that the
    /// stored response took, may hang because of its request: then a request with other fields
    /// begins one, too. At most four of a key begin within one
    /// [`coalesce_takeover_timeout`](Self::coalesce_takeover_timeout), unless they end before. So a
    /// client whose requests hang keeps content stale for seconds, as long as it does not send more
    /// of them than all other clients of the key together, each with other fields. After that
    /// timeout and the time set here, requests with the same fields begin another refresh.
    ///
    /// A call that a refresh would not make alike starts no backoff: that of a request with
    /// `no-cache`, `max-age`, `min-fresh`, `no-store`, a range or a condition for the inner
    /// service, and that of a HEAD.
    ///
    /// A client that sends eight different requests that fail within the time, and no other one of
    /// the key between them, keeps content stale for no longer than
    /// [`stale_while_revalidate`](Self::stale_while_revalidate) and
    /// [`stale_if_error`](Self::stale_if_error), or the response, allow: bound these.
    #[must_use]
    pub fn failure_backoff(self, backoff: Duration) -> Self {
        self.with(|config| config.failure_backoff = backoff)
    }

    /// Sets how many background refreshes of all keys may be under way at the same time.
    ///
    /// Default: 256. Requests with the fields of one that has brought a response lately have as many
    /// of their own, so that a client whose requests hang takes no place of theirs. Each is a call of
    /// the inner service and a task, for [`fill_timeout`](Self::fill_timeout) at most. Beyond the
    /// limit requests use their stale responses as before, and a later one begins the refresh;
    /// [`Stats::refused_refreshes`](crate::stats::Stats::refused_refreshes) counts them. With 0 only
    /// refreshes for a short time begin. These are for keys whose others hang, and are bounded apart:
    /// 8 and, of keys for which one has brought a response, 64. Clones of a layer share the counts.
    #[must_use]
    pub fn max_refreshes(self, max: usize) -> Self {
        self.with(|config| config.max_refreshes = max)
    }

    /// Sets how early hits refresh a response in the background before it expires, so that a
    /// popular key never expires (the XFetch algorithm).
    ///
    /// Default: 0, off. The probability that a hit starts a refresh grows as expiry comes near and
    /// with the time that the last fill took. 1 is the recommended `beta`; a larger value refreshes
    /// earlier. An `immutable` response is not refreshed while it is fresh (RFC 8246 §2).
    ///
    /// # Panics
    /// If `beta` is negative, infinite or NaN; see [`try_early_refresh`](Self::try_early_refresh).
    #[must_use]
    #[track_caller]
    pub fn early_refresh(self, beta: f64) -> Self {
        or_panic(self.try_early_refresh(beta))
    }

    /// Sets [`early_refresh`](Self::early_refresh) to a value that comes from configuration.
    ///
    /// # Errors
    /// If `beta` is negative, infinite or NaN.
    pub fn try_early_refresh(self, beta: f64) -> Result<Self, InvalidOption> {
        if beta.is_finite() && beta >= 0.0 {
            Ok(self.with(|config| config.early_refresh = (beta > 0.0).then_some(beta)))
        } else {
            Err(InvalidOption::early_refresh(beta))
        }
    }
}
