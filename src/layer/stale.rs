//! Options for stale responses: use and validation (RFC 9111 §4.2.4, §4.3; RFC 5861 §3, §4).

use std::time::Duration;

use super::CacheLayer;
use crate::backend::Backend;

/// # Stale responses
///
/// A stored response is stale when its lifetime is over. It is validated before it is used again,
/// unless the response, an option or the request allows its use without validation. The directives
/// `stale-while-revalidate` and `stale-if-error` of a response win over the options of the same
/// name. `max-stale` of a request allows stale use, and `stale-if-error` of a request widens the
/// window for errors, unless the cache [ignores](Self::ignore_request_directives) them.
///
/// Some directives forbid stale use, and no window overrides them: `must-revalidate`,
/// `proxy-revalidate` and `no-cache` of a response, and `no-cache`, `max-age` and `min-fresh` of a
/// request that are not ignored. `s-maxage` of a response forbids it, too;
/// [`stale_despite_s_maxage`](Self::stale_despite_s_maxage) relaxes this for responses that state a
/// window themselves. A response that a write invalidated is removed, not stale.
///
/// ```
/// use std::time::Duration;
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// let layer = CacheLayer::new(MemoryBackend::default())
///     .ttl(Duration::from_secs(60))
///     .stale_while_revalidate(Duration::from_secs(30))
///     .stale_if_error(Duration::from_secs(600))
///     .stale_if_unreachable(Duration::from_secs(600));
/// ```
impl<B: Backend> CacheLayer<B> {
    /// Sets how long beyond its lifetime a response is used at once while one refresh runs in the
    /// background (RFC 5861 §3).
    ///
    /// Default: zero, not at all. It applies to responses without a `stale-while-revalidate`
    /// directive.
    ///
    /// A refresh is made with the fields of the request that was answered. If it takes more than a
    /// second and twice the usual time, or has failed, the next one is made with the fields of an
    /// earlier request whose response was stored, so that no client can keep a response stale by
    /// fields that make the inner service hang or fail. Its `Cookie`, credentials and sensitive
    /// values are left out; if that brings nothing, the next one has those of the request that was
    /// answered. The inner service sees fields such as `User-Agent` and `traceparent` of the
    /// earlier request then, and the target, `Host` and extensions of the one that was answered.
    /// The fields are kept for 2,048 keys at most, up to 2 KiB each.
    ///
    /// A response whose refreshes are refused, because the page is not shareable any more, is not
    /// used at once for all of the window. A request with the same fields as one whose refresh was
    /// refused does not use it. The others of a kind (plain, with cookies, with credentials, or
    /// with both) call first after refreshes of eight different requests were refused, or of three
    /// once the response has been stale for a minute. They share a call, and use the stale response
    /// if that fails, or takes longer than a second and twice the time that the stored response
    /// took. A refresh that is rejected for a fault of its request (a 4xx other than 401, 402, 403,
    /// 404, 410 and 451) does not count. A response that may be stored ends all that. So a few
    /// unusual requests of a client make others wait for one call at most, and for a second if that
    /// hangs.
    #[must_use]
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.with(|config| config.stale.while_revalidate = window)
    }

    /// Sets how long beyond its lifetime a response is used if the inner service returns 500, 502,
    /// 503 or 504, or an error (RFC 5861 §4).
    ///
    /// Default: zero, not at all. It applies to responses without a `stale-if-error` directive.
    ///
    /// When a call for the key has failed a moment ago (within
    /// [`failure_backoff`](Self::failure_backoff) and the time that it took), a request waits for
    /// its own call for a second, or for twice the time that the stored response took if that is
    /// longer. Then it is answered with the stale response, and the call goes on. So an outage that
    /// takes long to show makes each client wait for a second at most.
    #[must_use]
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.with(|config| config.stale.if_error = window)
    }

    /// Sets how long beyond its lifetime a response is used if the inner service returns an error
    /// instead of a response (RFC 9111 §4.2.4, "disconnected").
    ///
    /// Default: 60 seconds. Zero turns it off. [`stale_if_error`](Self::stale_if_error) covers such
    /// errors, too. It applies to responses without a `stale-if-error` directive.
    #[must_use]
    pub fn stale_if_unreachable(self, window: Duration) -> Self {
        self.with(|config| config.stale.if_unreachable = window)
    }

    /// Lets a response's own `stale-while-revalidate` and `stale-if-error` apply although it has
    /// `s-maxage`, as Next.js intends with `s-maxage=1, stale-while-revalidate=59`.
    ///
    /// Default: `false`: `s-maxage` forbids stale use (RFC 9111 §5.2.2.10). The windows of this
    /// layer, and `max-stale` and `stale-if-error` of requests, never apply to a response with
    /// `s-maxage`.
    #[must_use]
    pub fn stale_despite_s_maxage(self, allow: bool) -> Self {
        self.with(|config| config.stale.despite_s_maxage = allow)
    }

    /// Sets how long beyond its lifetime a response with a validator (`ETag`, `Last-Modified`) is
    /// kept, so that it can be validated instead of fetched again (RFC 9111 §4.3).
    ///
    /// Default: 1 hour. With zero, responses that must be validated before every use (`no-cache`,
    /// or no lifetime left) are not stored.
    #[must_use]
    pub fn revalidation_window(self, window: Duration) -> Self {
        self.with(|config| config.stale.validation = window)
    }
}
