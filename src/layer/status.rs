//! Options for `Cache-Status` (RFC 9211).

use super::CacheLayer;
use super::invalid_option::{InvalidOption, or_panic};
use crate::backend::Backend;
use crate::config::StatusName;
use crate::semantics::cache_status::CacheName;

/// # `Cache-Status`
///
/// Every response says in its `Cache-Status` field where it came from (RFC 9211):
///
/// * `hit; ttl=N`: the whole response was in the cache before the request. `N` is the rest of its
///   lifetime in seconds, and `Age` is its age (§2.1, §2.4).
/// * `fwd=REASON; collapsed`: the request shared the call of another request, and waited for some
///   of the response (§2.6). `REASON` tells why it would have called the inner service itself.
/// * `fwd=REASON; stored`: the inner service was called. The response may be stored, and nothing
///   was known to prevent that when its head was sent (§2.5).
/// * `fwd=REASON; detail=REFUSAL`: the inner service was called. The response is not stored, for
///   the reason that is named.
/// * `detail=REASON`: the cache made the response itself, such as a 504 to `only-if-cached`.
///
/// A response is in the cache once all its content has arrived, although a backend that has to be
/// waited for may still be storing it. A request that joins its fill from then on is a `hit`: it
/// waits for nothing, and gets what the backend would give it a moment later. One that joined
/// before is `collapsed`, however soon the rest arrived. [`Stats::hits`](crate::stats::Stats::hits)
/// and [`Stats::collapsed`](crate::stats::Stats::collapsed) count by the same rule.
///
/// `stored` is no promise. The head is usually sent before the body has ended. A body that breaks
/// off or turns out too large, a write that overtook the fill, or a backend that fails still
/// prevents the store, which is tried when the body has ended. If that is before the head is sent,
/// as for a short body at hand and a backend in memory, the member has the refusal instead of
/// `stored`.
/// [`Stats::stores`](crate::stats::Stats::stores) and
/// [`Stats::refusals`](crate::stats::Stats::refusals) count the result for each response.
///
/// ```
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// let named = CacheLayer::new(MemoryBackend::default()).cache_status_name("edge-1");
/// let silent = CacheLayer::new(MemoryBackend::default()).cache_status(false);
/// ```
impl<B: Backend> CacheLayer<B> {
    /// Adds a `Cache-Status` field to responses.
    ///
    /// Default: `true`.
    #[must_use]
    pub fn cache_status(self, add: bool) -> Self {
        self.with(|config| config.cache_status = add)
    }

    /// Sets the name of this cache in `Cache-Status` (RFC 9211 §2).
    ///
    /// Default: `tower-response-cache`.
    ///
    /// # Panics
    /// If `name` is empty or has a character other than visible ASCII and spaces; see
    /// [`try_cache_status_name`](Self::try_cache_status_name).
    #[must_use]
    #[track_caller]
    pub fn cache_status_name(self, name: &str) -> Self {
        or_panic(self.try_cache_status_name(name))
    }

    /// Sets [`cache_status_name`](Self::cache_status_name) to a name that comes from configuration.
    ///
    /// # Errors
    /// If `name` is empty or has a character other than visible ASCII and spaces.
    pub fn try_cache_status_name(self, name: &str) -> Result<Self, InvalidOption> {
        let invalid = |error| InvalidOption::cache_name(name, error);
        let name = CacheName::new(name).map_err(invalid)?;
        Ok(self.with(|config| config.cache_status_name = StatusName::new(name)))
    }

    /// Logs the query of a request beside its method and path.
    ///
    /// Default: `false`, queries may hold secrets. All lines at debug level about a request are in
    /// a span `cache` with its method and path; tasks that the request leaves behind go on in that
    /// span, or in that of the caller. Lines about an invalidation say the write, path or group it
    /// is for. Warnings and errors that clients can cause are written at most once a second for
    /// each kind, with the number of those that were `suppressed` before.
    ///
    /// # Spans
    ///
    /// At debug level, each piece of the cache's own work is a span in that of the request:
    ///
    /// | span | `cache.status` | `cache.reason` |
    /// |---|---|---|
    /// | `response_cache.lookup` | `hit`, `stale`, `miss` | of a miss, or of stale use |
    /// | `response_cache.fetch` | the class of the response's status, or `error` | of the miss |
    /// | `response_cache.store` | `stored`, `refused` | of the refusal |
    /// | `response_cache.invalidate` | `ok`, `failed` | `resource`, `group`, `all` |
    ///
    /// All have `cache.name`, and none has a key. They cost a comparison of numbers while no
    /// subscriber wants lines at debug level. A miss, as `tracing_tree::HierarchicalLayer` shows it
    /// `with_verbose_exit` and `with_indent_lines`:
    ///
    /// ```text
    /// ┐cache method=GET, path="/a"
    /// └─┐response_cache.lookup cache.name="tower-response-cache"
    ///  ┌┘response_cache.lookup cache.name="tower-response-cache", cache.status="miss", cache.reason="uri-miss"
    /// ┌┘cache method=GET, path="/a"
    /// ├─ DEBUG fetch, reason="uri-miss"
    /// └─┐response_cache.fetch cache.name="tower-response-cache"
    ///  ┌┘response_cache.fetch cache.name="tower-response-cache", cache.status="2xx", cache.reason="uri-miss"
    /// ┌┘cache method=GET, path="/a"
    /// └─┐response_cache.store cache.name="tower-response-cache"
    ///   ├─ DEBUG stored
    ///  ┌┘response_cache.store cache.name="tower-response-cache", cache.status="stored"
    /// ┌┘cache method=GET, path="/a"
    /// ┘cache method=GET, path="/a"
    /// ```
    #[must_use]
    pub fn log_query(self, log: bool) -> Self {
        self.with(|config| config.log_query = log)
    }
}
