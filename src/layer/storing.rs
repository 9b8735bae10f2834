//! Options for which responses are stored (RFC 9111 §3) and how large they may be.

use super::CacheLayer;
use crate::backend::Backend;

/// # Storing
///
/// The limits decide how large a stored response may be; a response that exceeds one streams to
/// its client and is not stored. The switches decide about responses that a shared cache may store
/// but that not every application wants stored.
///
/// ```
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// const MIB: u64 = 1024 * 1024;
/// // The backend must accept what the layer captures: both have a limit.
/// let backend = MemoryBackend::builder().capacity(256 * MIB).max_response_size(5 * MIB).build();
/// let layer = CacheLayer::new(backend)
///     .max_body(4 * MIB)
///     .max_buffered_bytes(128 * MIB)
///     .store_parts(false)
///     .generate_etags(true);
/// ```
impl<B: Backend> CacheLayer<B> {
    /// Sets the largest body that is stored, in bytes.
    ///
    /// Default: 1 MiB. With 0 nothing is stored. A larger body streams to its client and is not
    /// stored. If its `Content-Length` exceeds the limit, none of it is kept in memory. The backend
    /// has a [limit](crate::backend::Backend::max_response_size) of its own, 2 MiB by default in
    /// memory and in Redis, and the lower one counts.
    #[must_use]
    pub fn max_body(self, bytes: u64) -> Self {
        self.with(|config| config.max_body = bytes)
    }

    /// Sets the largest header section that is stored, in bytes: the names and values, and four
    /// more for each line, as HTTP/1.1 writes them.
    ///
    /// Default: 64 KiB. A response with a larger one streams to its client and is not stored.
    #[must_use]
    pub fn max_head(self, bytes: usize) -> Self {
        self.with(|config| config.max_head = bytes)
    }

    /// Sets how many bytes of response bodies may be in memory until they are stored or sent, over
    /// all requests together.
    ///
    /// Default: 64 MiB. With 0, only responses without content are stored. A response that would
    /// exceed the limit is not stored and streams at the pace of its slowest reader; see
    /// [`slow_reader_timeout`](Self::slow_reader_timeout). Stored responses are not counted here
    /// but by the backend.
    #[must_use]
    pub fn max_buffered_bytes(self, bytes: u64) -> Self {
        self.with(|config| config.max_buffered_bytes = bytes)
    }

    /// Stores responses that have a `Set-Cookie` field.
    ///
    /// Default: `false`, although RFC 9111 §7.3 allows it: with `true` every client receives the
    /// stored cookie.
    #[must_use]
    pub fn store_set_cookie(self, store: bool) -> Self {
        self.with(|config| config.store_set_cookie = store)
    }

    /// Stores 206 responses as parts of a representation (RFC 9111 §3.3).
    ///
    /// Default: `true`; at most 16 parts of one response are kept. With `false`, 206 responses are
    /// not stored. A request for stored bytes is answered from the parts. For missing bytes, or the
    /// whole representation, the cache sends a range request and combines the result with the
    /// stored parts, if a strong validator proves that they belong to one representation (§3.4).
    #[must_use]
    pub fn store_parts(self, store: bool) -> Self {
        self.with(|config| config.store_parts = store)
    }

    /// Adds an `ETag` made from the content to stored responses that have neither `ETag` nor
    /// `Last-Modified`, so that clients can validate them (RFC 9110 §8.8.3).
    ///
    /// Default: `false`. The response to the first request has no tag, because its head is sent
    /// before the content is known. A generated tag is never sent to the inner service.
    #[must_use]
    pub fn generate_etags(self, generate: bool) -> Self {
        self.with(|config| config.generate_etags = generate)
    }
}
