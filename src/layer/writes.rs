//! Options for what a write invalidates (RFC 9111 §4.4) or stores (RFC 9110 §9.3.3).

use std::sync::Arc;
use std::time::Duration;

use http::response;

use super::CacheLayer;
use crate::backend::Backend;
use crate::config::hook::HookGuard;
use crate::semantics::reason::WriteOutcome;
use crate::write_info::WriteInfo;

/// # Writes
///
/// A write is a request with an unsafe or unknown method, such as POST, PUT, PATCH or DELETE.
/// Before its response head is returned, the cache invalidates what the write may have changed.
/// [`WriteOutcome`] says when, and which resources.
///
/// A response that names more than 256 groups in `Cache-Group-Invalidation` clears the whole
/// backend.
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
        let guard = HookGuard::new("also_invalidate");
        self.with(|config| {
            config.also_invalidate = vec![Arc::new(move |write| {
                let subject = (write.method(), write.uri());
                guard.call(subject, || {
                    related(write).into_iter().map(Into::into).collect()
                })
            })];
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

    /// Sets how the outcome of a write follows from its response, and with it
    /// [what the write does](WriteOutcome) to the cache.
    ///
    /// Default: [`WriteOutcome::from_status`]. The function is called for each response to a write,
    /// also if the client has left. A wrong `Rejected` leaves outdated responses in the cache until
    /// they expire. If the function panics, the panic is logged and the outcome is unknown. Without
    /// a response the outcome is always unknown.
    ///
    /// ```
    /// # use http::StatusCode;
    /// # use tower_response_cache::{CacheLayer, WriteOutcome, backend::MemoryBackend};
    /// // The gateway answers 503 before it calls the application.
    /// let layer = CacheLayer::new(MemoryBackend::default()).classify_writes(|head| {
    ///     match head.status {
    ///         StatusCode::SERVICE_UNAVAILABLE => WriteOutcome::Rejected,
    ///         status => WriteOutcome::from_status(status),
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn classify_writes(
        self,
        classify: impl Fn(&response::Parts) -> WriteOutcome + Send + Sync + 'static,
    ) -> Self {
        let guard = HookGuard::new("classify_writes");
        self.with(|config| {
            config.classify_writes = Some(Arc::new(move |subject, head| {
                guard.call(subject, || classify(head))
            }));
        })
    }

    /// Invalidates the resources of a write whose outcome is unknown, and stores nothing of them
    /// for [`write_grace_window`](Self::write_grace_window).
    ///
    /// Default: `true`. With `false` the cache does what RFC 9111 §4.4 demands and no more: only a
    /// 2xx or 3xx invalidates. The price: a write that was committed although it was answered 5xx,
    /// for example by a proxy that did not wait for it, leaves the outdated response in the cache
    /// until that expires. So does a write that was dropped before its end.
    #[must_use]
    pub fn invalidate_on_unknown(self, invalidate: bool) -> Self {
        self.with(|config| config.invalidate_on_unknown = invalidate)
    }

    /// Sets how long nothing is stored of the resources of a write whose outcome is
    /// [unknown](WriteOutcome), because the write may still be committed.
    ///
    /// Default: 5 seconds. With zero, responses are stored again at once. Choose it longer than the
    /// inner service can take to commit after it has answered 5xx or was dropped.
    ///
    /// Only the resources and groups of that write are concerned. Up to 16,384 of them are kept one
    /// by one. While more are in their period, some others are not stored either: of those that
    /// have no period themselves one in ten, while 50,000 have. A write that names more than 256
    /// groups has a period of the whole cache.
    #[must_use]
    pub fn write_grace_window(self, window: Duration) -> Self {
        self.with(|config| config.write_grace_window = window)
    }

    /// Sets how long a write may run on after its client left, the body of its response included.
    ///
    /// Default: 60 seconds; then its future or its body is dropped and its outcome is
    /// [unknown](WriteOutcome). With zero it is dropped when the client leaves.
    ///
    /// The inner service may do its work while it sends the body. So the body of a committed write
    /// is read to its end, as fast as it comes, and its resources are invalidated once more then.
    /// Streams are not read on, `text/event-stream`, `application/grpc` and
    /// `multipart/x-mixed-replace`: the inner service learns at once that their client has left, and
    /// their resources are invalidated then. Choose a short time where other responses to unsafe
    /// methods are endless.
    #[must_use]
    pub fn detached_write_timeout(self, timeout: Duration) -> Self {
        self.with(|config| config.detached_write_timeout = timeout)
    }

    /// Sets how many writes may run on at the same time after their clients left.
    ///
    /// Default: 4,096. Each takes the memory of the inner service's future or of its body and,
    /// until that ends, whatever these use. A write beyond the limit is dropped when its client
    /// leaves, and its outcome is [unknown](WriteOutcome). With 0 no write runs on. Clones of a
    /// layer share the count;
    /// [`Stats::abandoned_writes`](crate::stats::Stats::abandoned_writes) counts those that were
    /// dropped.
    #[must_use]
    pub fn max_detached_writes(self, max: usize) -> Self {
        self.with(|config| config.max_detached_writes = max)
    }
}
