//! Options of compression.

use std::sync::Arc;

use crate::backend::Backend;
use crate::layer::CacheLayer;
use crate::semantics::content_coding::Coding;

/// # Compression
///
/// With the feature `compress`, stored responses are compressed once, not for each client: the
/// response is stored as the inner service sent it (the *identity*), and each coded form is made
/// for the first request that gets it, and stored beside it.
///
/// ```
/// use tower_response_cache::{CacheLayer, Coding, backend::MemoryBackend};
///
/// let layer = CacheLayer::new(MemoryBackend::default())
///     .compress([Coding::Zstd, Coding::Brotli, Coding::Gzip]);
/// ```
///
/// * **Which form.** `Accept-Encoding` decides (RFC 9110 §12.5.3): the coding with the largest
///   weight, and of those with the same weight the one that is named first here. A request without
///   the field, with `Range` or with `no-transform` gets the identity.
/// * **The inner service is asked for the identity**: it gets `Accept-Encoding: identity` from all
///   requests that the cache may answer. So one response is stored for all clients, even if it says
///   `Vary: Accept-Encoding`. What bypasses the cache has its own field.
/// * **Which responses.** Those that are stored for all clients (not with
///   [`private_by`](Self::private_by)), whole, without trailers, and between
///   [`min_compressed_body`](Self::min_compressed_body) and
///   [`max_compressed_body`](Self::max_compressed_body). Not those with `Content-Encoding` or
///   `Cache-Control: no-transform`, nor those of a media type that is compressed already: images
///   but SVG and BMP, audio, video, archives, WOFF fonts, PDF and office documents. A form that is
///   no smaller than its identity is not used.
/// * **When.** Hits are coded, and so are responses that a 304 has confirmed and those of inner
///   services that answer at once, from memory. A response that streams from the inner service on a
///   miss is sent as it is, also to those that wait for the same call: no client waits for a whole
///   body. So is a response that is not stored; put a `CompressionLayer` outside of the cache if
///   these are to be compressed, too. It leaves coded responses alone.
/// * **The first request for a form waits** until that is made, in a few milliseconds, on a thread
///   that may block; for a second at most, and gets the identity then. So do all others meanwhile:
///   each form is made once. As many are made at once as there are cores; a request that finds all
///   of them taken gets the identity.
/// * **Validators.** Each form has a weak `ETag` of its own: `"a"` becomes `W/"a~br"`. A condition
///   with the tag of any form that the request accepts is answered 304. `If-Range` never matches a
///   weak tag, and coded responses say `Accept-Ranges: none`: ranges are cut from the identity.
///   `If-Match` with the tag of a coded form fails at the inner service, because it is weak.
/// * **`Vary: Accept-Encoding`** is added to all forms of a response that may be coded.
/// * **Invalidation.** A form is used only together with the stored identity that it was made of:
///   it is as fresh as that, and goes with it. It counts in the limits of the backend, and can be
///   evicted alone. On a backend outside of this process a coded hit takes two lookups.
impl<B: Backend> CacheLayer<B> {
    /// Codes stored responses, in the first of these codings that a request accepts; with the
    /// feature `compress`.
    ///
    /// Default: none. An empty list turns it off. In [stacked layers](Self#stacked-layers) that of
    /// the outermost one counts.
    #[must_use]
    pub fn compress(self, codings: impl IntoIterator<Item = Coding>) -> Self {
        let mut offered = Vec::new();
        for coding in codings {
            if !offered.contains(&coding) {
                offered.push(coding);
            }
        }
        self.with(|config| config.compress.codings = Arc::from(offered))
    }

    /// Sets the smallest body that is compressed, in bytes; with the feature `compress`.
    ///
    /// Default: 1 KiB. With 0 there is no limit.
    #[must_use]
    pub fn min_compressed_body(self, bytes: u64) -> Self {
        self.with(|config| config.compress.limits.min_body = bytes)
    }

    /// Sets the largest body that is compressed, in bytes; with the feature `compress`.
    ///
    /// Default: 8 MiB. It bounds how long a request waits for its form: brotli, the slowest one,
    /// takes about a fifth of a second for that.
    #[must_use]
    pub fn max_compressed_body(self, bytes: u64) -> Self {
        self.with(|config| config.compress.limits.max_body = bytes)
    }
}
