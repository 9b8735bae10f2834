//! Options for `Cache-Status` (RFC 9211).

use super::CacheLayer;
use super::invalid_option::{InvalidOption, or_panic};
use crate::backend::Backend;
use crate::config::StatusName;
use crate::semantics::cache_status::CacheName;

/// # `Cache-Status`
///
/// Every response says in its `Cache-Status` field whether it came from the store, or why the inner
/// service was called (RFC 9211). The parameter `stored` on a miss means that the response is being
/// stored while it is sent; if its body fails later, it is not stored after all.
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
}
