//! Options for what a write invalidates (RFC 9111 §4.4) or stores (RFC 9110 §9.3.3).

use std::sync::Arc;
use std::time::Duration;

use super::CacheLayer;
use crate::backend::Backend;
use crate::write_info::WriteInfo;

/// # Writes
///
/// A write is a request with an unsafe or unknown method, such as POST, PUT, PATCH or DELETE.
/// Before its response head is returned, it invalidates its target and the resources that
/// `Location` and `Content-Location` of the response name on the same authority. A 4xx response
/// other than 408 invalidates none of these.
///
/// The groups in `Cache-Group-Invalidation` are invalidated whatever the status. A response that
/// names more than 256 groups clears the whole backend.
///
/// ```
/// use std::time::Duration;
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// let layer = CacheLayer::new(MemoryBackend::default())
///     // A product is also shown in the list.
///     .also_invalidate(|_| ["/products"])
///     .write_through(true)
///     .write_grace_window(Duration::from_secs(10));
/// ```
impl<B: Backend> CacheLayer<B> {
    /// Names further resources that a write invalidates, as URI references relative to its target.
    ///
    /// Default: none. The function is called for every write that may have been committed, also if
    /// there was no response. An absolute reference may name another authority. A reference that
    /// names no resource is logged and ignored. If the function panics, the panic is logged, and
    /// everything else that the write names is invalidated.
    ///
    /// ```
    /// # use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    /// let layer = CacheLayer::new(MemoryBackend::default()).also_invalidate(|write| {
    ///     let is_product = write.uri().path().starts_with("/products/");
    ///     is_product.then_some("/products")
    /// });
    /// ```
    #[must_use]
    pub fn also_invalidate<I>(
        self,
        related: impl Fn(&WriteInfo<'_>) -> I + Send + Sync + 'static,
    ) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.with(|config| {
            config.also_invalidate = Some(Arc::new(move |write| {
                related(write).into_iter().map(Into::into).collect()
            }));
        })
    }

    /// Stores the response to a write as the response to later GETs, if it is the new
    /// representation of a resource: a 200 or 201 to PUT, POST or PATCH whose `Content-Location`
    /// names that resource.
    ///
    /// Default: `false`, writes only invalidate. Such a response is buffered before its head is
    /// returned, and each POST, PUT and PATCH costs one more request to the backend before the
    /// call. Of writes that overlap, at most the first to end is stored.
    #[must_use]
    pub fn write_through(self, store: bool) -> Self {
        self.with(|config| config.write_through = store)
    }

    /// Stores a 200 to POST with explicit freshness whose `Content-Location` is the POST's own
    /// target, as the response to later GETs of that target (RFC 9110 §9.3.3).
    ///
    /// Default: `true`. It costs one request to the backend before each POST; turn it off if the
    /// backend is remote and no POST has such a response. [`write_through`](Self::write_through)
    /// includes it.
    #[must_use]
    pub fn store_posts(self, store: bool) -> Self {
        self.with(|config| config.store_posts = store)
    }

    /// Sets how long nothing is stored for a resource after a write whose outcome is unknown,
    /// because the write may still be committed.
    ///
    /// Default: 5 seconds. With zero, responses are stored again at once. The outcome is unknown
    /// after a 5xx, a 408, an error or a panic, and if
    /// [`detached_write_timeout`](Self::detached_write_timeout) ended the write.
    #[must_use]
    pub fn write_grace_window(self, window: Duration) -> Self {
        self.with(|config| config.write_grace_window = window)
    }

    /// Sets how long a write may run on after its client left.
    ///
    /// Default: 60 seconds; then its future is dropped and its outcome is unknown. With zero, or
    /// outside of a tokio runtime, it is dropped when the client leaves. A write that runs on may
    /// be committed at any time until it ends. The resources it names are therefore invalidated
    /// when the client leaves and again when the write ends.
    #[must_use]
    pub fn detached_write_timeout(self, timeout: Duration) -> Self {
        self.with(|config| config.detached_write_timeout = timeout)
    }
}
