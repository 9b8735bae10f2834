//! Options for how concurrent requests share one call to the inner service.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::Duration;

use http::request;

use super::CacheLayer;
use crate::backend::Backend;
use crate::config::hook::{HookGuard, subject};
use crate::shares::ClientId;
use crate::stats::OriginMonitor;

/// # Coalescing
///
/// Concurrent misses of one key share one call to the inner service. The first request is the
/// leader; the others are followers and share its response. A fill is one such call together with
/// the storing of its response. The timeouts limit how long a request depends on another one.
///
/// ```
/// use std::time::Duration;
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// // For an inner service that answers within a second.
/// let layer = CacheLayer::new(MemoryBackend::default())
///     .coalesce_takeover_timeout(Duration::from_secs(1))
///     .coalesce_timeout(Duration::from_secs(3))
///     .fill_timeout(Duration::from_secs(10))
///     .max_waiting_fills(256)
///     .max_parallel_retries(4);
/// ```
impl<B: Backend> CacheLayer<B> {
    /// Sets how long followers wait for a leader's response before one of them also calls the inner
    /// service.
    ///
    /// Default: 10 seconds. The other followers keep waiting, for the first of the calls that brings
    /// a whole response. Each further call has twice the time of the one before,
    /// but at most [`fill_timeout`](Self::fill_timeout). With zero, no request waits for a response.
    ///
    /// The leader has its response as it arrives. Followers get it once its body is whole, so that
    /// none depends on a body that stalls or trickles: one that is not whole after this time counts
    /// as a call that hangs. A body that turns out to be larger than
    /// [`max_body`](Self::max_body) is not shared, as one whose head says so: those that have waited
    /// for it call for themselves, and so do later requests with the same fields, without waiting.
    #[must_use]
    pub fn coalesce_takeover_timeout(self, timeout: Duration) -> Self {
        self.with(|config| config.coalesce.coalesce_takeover_timeout = timeout)
    }

    /// Sets the longest time a follower waits for responses, over all calls it follows.
    ///
    /// Default: 30 seconds. After that it calls the inner service itself, as one of at most
    /// [`max_parallel_retries`](Self::max_parallel_retries), a number that grows. Zero means that
    /// no request waits for another; the response to one that could have waited is not stored.
    #[must_use]
    pub fn coalesce_timeout(self, timeout: Duration) -> Self {
        self.with(|config| config.coalesce.coalesce_timeout = timeout)
    }

    /// Sets how long a fill may take, from the call to the last byte of the body.
    ///
    /// Default: 30 seconds. After that the response is neither stored nor shared, and the next
    /// request starts another fill. Its own client goes on reading it. A body that was still coming
    /// may have no end: for ten minutes, or until a response for the key is stored, requests with
    /// the same fields call without waiting for others, and after eight different ones all others
    /// wait for [`coalesce_takeover_timeout`](Self::coalesce_takeover_timeout) at most. The
    /// response to a write whose representation is stored ([`write_through`](Self::write_through))
    /// is delivered after that time even if its body has not ended, and not stored. With zero, no
    /// requests are coalesced and only bodies that are complete at once are stored.
    #[must_use]
    pub fn fill_timeout(self, timeout: Duration) -> Self {
        self.with(|config| config.coalesce.fill_timeout = timeout)
    }

    /// Sets how long a client may leave a response unread that is not stored, while memory for such
    /// responses runs short.
    ///
    /// Default: 10 seconds. A body beyond [`max_body`](Self::max_body) or
    /// [`max_buffered_bytes`](Self::max_buffered_bytes) passes at the pace of its client, at most
    /// 256 KiB ahead of it. While the unread bytes of all such bodies take more than half of
    /// `max_buffered_bytes`, a client that has read nothing for half of this time, at the end of it,
    /// is cut off: its body ends with an error. Otherwise a client may take its time. No client waits
    /// for another. Times below 200 milliseconds count as that.
    #[must_use]
    pub fn slow_reader_timeout(self, timeout: Duration) -> Self {
        self.with(|config| config.coalesce.slow_reader_timeout = timeout)
    }

    /// Sets how long a refused response is remembered for requests like the one that got it. They
    /// are not coalesced meanwhile (hit-for-miss).
    ///
    /// Default: 60 seconds. With zero, nothing is remembered.
    ///
    /// A response is refused if it may not be stored or shared, or if it rejects its request (most
    /// 4xx). Any field of the request may be the reason, so it counts for requests with the same
    /// fields: they call at once, each for itself, and a stale response is not used for them while
    /// it is revalidated. Requests with other fields share one call as ever. So a page that is
    /// refused to all costs each client one call time more, once; one whose clients all differ
    /// costs those that come first three.
    ///
    /// After eight different requests of a kind have been refused within the time, and none has
    /// brought a response to store, the key counts as uncacheable for that kind. The kinds are
    /// requests with `Cookie`, with one of the [`credential_fields`](Self::credential_fields), with
    /// both, and with neither. Those with neither wait for one call at most then, because a single
    /// client may have sent the eight: a response for all is shared as ever, and a page that is
    /// refused to clients that all differ costs each of them one call time more at most. The others
    /// call at once. A response that may be stored ends all of it, for its kind. At most 4096 keys
    /// are remembered at a time, each for one kind.
    ///
    /// A refused background refresh is remembered for as long as the stale response may be used, at
    /// most a day, see [`stale_while_revalidate`](Self::stale_while_revalidate).
    ///
    /// So a client's own unusual requests change nothing for others, except with cookies or
    /// credentials: there, one that sends eight different ones, with no other request of the key
    /// between them, makes the requests that come next call for themselves, until the first of them
    /// has its response.
    #[must_use]
    pub fn uncacheable_ttl(self, ttl: Duration) -> Self {
        self.with(|config| config.coalesce.uncacheable_ttl = ttl)
    }

    /// Sets how many requests of one key may call the inner service at once after the calls that
    /// they followed have failed. The limit doubles as long as no call succeeds.
    ///
    /// Default: 8. A call fails if it ends with an error, a panic, 429 or 5xx, or if its body ends
    /// early, before a follower has read from it. Such a response is not shared, so each follower
    /// calls for itself: one after the other for the first three calls, then in parallel up to this
    /// limit. The other followers wait for one of these calls to end. The first response that may
    /// be shared ends the waiting of all of them; any other response that is no failure, such as
    /// 403 or one that may not be stored, ends it for those of the same kind (plain, with cookies
    /// or with credentials).
    ///
    /// The limit is twice as high after each
    /// [`coalesce_takeover_timeout`](Self::coalesce_takeover_timeout) in which a request has waited
    /// without such a response: 8, 16 after 10 seconds, 32 after 20, and so on; time in which none
    /// has waited takes that back. Beside calls that have hung for that timeout the whole limit is
    /// there for others. So calls that hang or fail late hold up other requests for the key for a
    /// limited time, and allow for no stampede later. A request that has waited for
    /// [`coalesce_timeout`](Self::coalesce_timeout) and [`fill_timeout`](Self::fill_timeout)
    /// together (60 seconds by default) calls whatever the limit. The cache itself never answers a
    /// request because of this limit.
    ///
    /// The limit holds for slow calls, too: of the followers that have waited for the whole
    /// `coalesce_timeout`, only so many call, and the others wait on.
    ///
    /// Requests that have waited for no call so far, those that have, and those with cookies,
    /// credentials, conditions or `no-cache` wait in three queues and call in turn, the newest of a
    /// queue as often as any other. The limit is also that of each queue, by the time that it has
    /// been waited in. Calls that were under way when the first follower reached the
    /// limit are not counted. 0 counts as 1, and `usize::MAX` means no limit; there is none either
    /// if `coalesce_takeover_timeout` is zero.
    #[must_use]
    pub fn max_parallel_retries(self, calls: usize) -> Self {
        self.with(|config| config.coalesce.max_parallel_retries = calls)
    }

    /// Sets a function that tells which client a request is from, so that one client does not take
    /// from others what all of them share.
    ///
    /// Default: no function; clients are not told apart. With one, a client takes another of a
    /// limited number of places only while it has fewer than are free, so about half of them at most:
    ///
    /// - the calls of a key after failures ([`max_parallel_retries`](Self::max_parallel_retries)),
    ///   in turn with other clients, and the fills that wait for the inner service
    ///   ([`max_waiting_fills`](Self::max_waiting_fills)).
    /// - the refreshes of all keys ([`max_refreshes`](Self::max_refreshes)). Those of a key that hang
    ///   hold up no refresh by a request of another client.
    /// - the notes on requests of a key that failed or were refused
    ///   ([`failure_backoff`](Self::failure_backoff), [`uncacheable_ttl`](Self::uncacheable_ttl)):
    ///   eight different ones speak for all only if they are from several clients. A client's
    ///   share of them holds for its own requests.
    /// - the variants of a key: of 32, as far as this process has stored them. Beyond its share, the
    ///   one that the client has stored last before is removed.
    ///
    /// If requests of other clients have waited for a client's call in vain, because it took longer
    /// than [`coalesce_takeover_timeout`](Self::coalesce_takeover_timeout), failed or was refused,
    /// they do not wait for the next ones for the same key, for ten minutes: one of them calls for all.
    /// Nor if the call took longer than a second, and than twice the time of the last one of another
    /// client: such a refresh keeps no other client from one of its own either. Clients that have held
    /// up others wait for the calls of those that have done so for twice as long at most.
    ///
    /// The function returns what the application knows a client by, such as its address. Only a
    /// digest of it is kept, which is keyed with a secret of the process. It is called for
    /// requests that need the inner service, not for hits nor for explanations. `None`, or a panic,
    /// leaves the client unknown: its request has any free place, as without a function. In stacked
    /// layers the function of the outermost one is called.
    ///
    /// # Danger
    /// Clients that the function does not tell apart are one client, with one share: those behind
    /// one gateway (NAT), or all of them where the address is that of a load balancer. Return
    /// `None` there, or the address that the load balancer tells. Never return what a client only
    /// claims, such as an `X-Forwarded-For` that it could have sent itself: it would be as many
    /// clients as it likes. Nor a whole address of IPv6, of which a client has 2<sup>64</sup>.
    ///
    /// ```
    /// use std::net::{IpAddr, SocketAddr};
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    ///
    /// // As axum has it; the server adds it to the request.
    /// #[derive(Clone)]
    /// struct ConnectInfo<T>(T);
    ///
    /// let layer = CacheLayer::new(MemoryBackend::default()).client_by(|request| {
    ///     let client = request.extensions.get::<ConnectInfo<SocketAddr>>()?.0;
    ///     Some(match client.ip().to_canonical() {
    ///         IpAddr::V4(address) => address.to_bits().into(),
    ///         IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    ///     })
    /// });
    /// ```
    #[must_use]
    pub fn client_by<I: Hash>(
        self,
        client: impl Fn(&request::Parts) -> Option<I> + Send + Sync + 'static,
    ) -> Self {
        let guard = HookGuard::new("client_by");
        self.with(|config| {
            config.client_by = Some(Arc::new(move |request, secret| {
                let digest = || client(request).map(|client| secret.hash_one(client));
                let digest = guard.call(subject(request), digest)?;
                Ok(digest.map(ClientId::from_digest))
            }));
        })
    }

    /// Sets how many fills may wait for the inner service to become ready.
    ///
    /// Default: 4096. A fill beyond the limit is answered with a stale response where
    /// [`stale_if_error`](Self::stale_if_error) allows it, and with 503 and `Retry-After`
    /// otherwise. The limit exists because the cache itself is always ready, so that backpressure
    /// ends here. Writes, and requests that bypass the cache, are not counted. With 0, a fill is
    /// answered that way whenever the inner service is not ready at once. A fill that has called,
    /// and repeats its request without the cache's own conditions, waits beyond the limit.
    #[must_use]
    pub fn max_waiting_fills(self, fills: usize) -> Self {
        self.with(|config| config.coalesce.max_waiting_fills = fills)
    }

    /// Sets what tells how busy the inner service is, for one that queues requests itself instead
    /// of not being ready.
    ///
    /// Default: none. Statistics and metrics then include that queue, and requests that the inner
    /// service has no place for count as
    /// [`Overload`](crate::stats::RequestResult::Overload). Nothing else changes. A panic of the
    /// monitor is taken for no answer.
    #[must_use]
    pub fn origin_monitor(self, monitor: impl OriginMonitor) -> Self {
        self.with(|config| config.origin_monitor = Some(Arc::new(monitor)))
    }
}
