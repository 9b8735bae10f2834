//! The handle itself.

use std::fmt;
use std::time::Duration;

use http::{Request, StatusCode, Uri, request};

use tracing::Instrument;

use crate::backend::{Backend, BackendError, InvalidationTarget};
use crate::clock::{Clock, SystemClock};
use crate::key::Sites;
use crate::service::explain::{Explanation, explain};
use crate::state::LayerState;
use crate::state::background::ShutdownReport;
use crate::stats::{InFlight, Snapshot, Stats, StatusClass};

use super::error::{InvalidationError, Kind};

/// A handle to a running cache: it invalidates, clears, reads statistics and shuts down.
///
/// [`CacheLayer::handle`](crate::CacheLayer::handle) returns it. Clones are handles to the same
/// cache.
///
/// ```
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_response_cache::InvalidationError> {
/// let cache = CacheLayer::new(MemoryBackend::default()).handle();
/// cache.invalidate("/products/7").await?;
/// assert_eq!(cache.stats().invalidations, 1);
/// # Ok(())
/// # }
/// ```
pub struct CacheHandle<B: Backend> {
    state: LayerState<B>,
}

impl<B: Backend> Clone for CacheHandle<B> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
        }
    }
}

impl<B: Backend> fmt::Debug for CacheHandle<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheHandle").finish_non_exhaustive()
    }
}

impl<B: Backend> CacheHandle<B> {
    pub(crate) fn new(state: LayerState<B>) -> Self {
        Self { state }
    }

    /// Invalidates a [resource](crate::key::Resource) in the scope of the layer: all stored
    /// responses of a path, with every query and variant.
    ///
    /// `uri` is a path or an absolute URI, in any spelling; a query in it is ignored. Its host
    /// counts only under [`Sites::ByAuthority`](crate::key::Sites): there it must have one, unless
    /// the layer has a fixed [`authority`](crate::CacheLayer::authority). After `Ok`, no later
    /// request gets a response that was stored before, or whose call to the inner service began
    /// before.
    ///
    /// If the future is dropped before it ends, the invalidation may have taken effect or not. A
    /// [`Guarded`](crate::backend::Guarded) backend delivers it later, as it does after an error.
    ///
    /// The layer's key hook is not called. If the hook changes authorities or paths, use
    /// [`invalidate_key`](Self::invalidate_key).
    ///
    /// # Errors
    /// If `uri` names no resource, or the backend does not acknowledge the invalidation.
    pub async fn invalidate(&self, uri: &str) -> Result<(), InvalidationError> {
        let (authority, uri) = self.key_of(uri)?;
        self.invalidate_key(&authority, uri.path()).await
    }

    /// The authority of the cache key of a URI, and the URI parsed.
    pub(crate) fn key_of(&self, uri: &str) -> Result<(String, Uri), InvalidationError> {
        let uri: Uri = uri.parse().map_err(Kind::Uri)?;
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.uri = uri;
        if !parts.uri.path().starts_with('/') {
            return Err(Kind::NoPath.into());
        }
        let config = &self.state.config;
        let authority = config.authority.resolve(&parts).unwrap_or_default();
        if config.sites == Sites::ByAuthority && authority.is_empty() {
            return Err(Kind::NoAuthority.into());
        }
        Ok((authority.into_owned(), parts.uri))
    }

    /// Invalidates a resource by the authority and path of its cache key, as the layer's
    /// [`key`](crate::CacheLayer::key) hook makes them.
    ///
    /// Unless the hook changes them, the authority is in lower case and without the default port,
    /// and the path begins with `/`. The authority counts only under
    /// [`Sites::ByAuthority`](crate::key::Sites). What [`invalidate`](Self::invalidate) says about
    /// `Ok` and about a dropped future holds here, too.
    ///
    /// # Errors
    /// If the backend does not acknowledge the invalidation.
    pub async fn invalidate_key(
        &self,
        authority: &str,
        path: &str,
    ) -> Result<(), InvalidationError> {
        let target = InvalidationTarget::Resource(self.state.resource(authority, path));
        let span = tracing::error_span!("invalidation", authority, path);
        let invalidated = self.state.invalidate(target).instrument(span).await;
        Ok(invalidated.map_err(Kind::Backend)?)
    }

    /// Invalidates all responses of a site that are in a group, in the scope of the layer: by
    /// `Cache-Groups` (RFC 9875), a policy, a rule, or an option of the layer.
    ///
    /// `authority` counts only under [`Sites::ByAuthority`](crate::key::Sites), and is spelled as
    /// in a cache key: in lower case, without the default port. After `Ok`, no later request is
    /// answered with a member of the group that was stored or fetched before.
    ///
    /// # Errors
    /// If the backend does not acknowledge the invalidation.
    pub async fn invalidate_group(&self, authority: &str, name: &str) -> Result<(), BackendError> {
        let group = self.state.group(authority, name);
        let span = tracing::error_span!("invalidation", authority, group = name);
        let target = InvalidationTarget::Group(group);
        self.state.invalidate(target).instrument(span).await
    }

    /// Makes all stored responses of a [resource](crate::key::Resource) stale, with every query and
    /// variant: a *soft purge*.
    ///
    /// `uri` is read as by [`invalidate`](Self::invalidate), which removes the responses instead.
    /// After `Ok`, no later request gets a response that was stored before as a fresh one, and
    /// none whose call to the inner service began before is stored. The lifetime of the stored
    /// responses has ended: from now on they are validated with the inner service (RFC 9111 §4.3)
    /// or fetched anew, and used stale within the windows that they have for that. Their windows
    /// begin now, and only the first of several calls begins them.
    ///
    /// Use it when data may have changed and an older response is acceptable for a moment. With
    /// `stale-while-revalidate`, the next request gets the old response at once, and the new one is
    /// fetched in the background. Use `invalidate` when an older response would be wrong: also
    /// where the inner service answers conditions by `Last-Modified` alone, and may take data
    /// that changed within the same second for unchanged (304).
    ///
    /// A write always removes. A backend that cannot keep stale responses removes them here, too
    /// (see [`Backend::expire`]). The notes of `invalidate` on a dropped future and on the key hook
    /// apply.
    ///
    /// ```
    /// # use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = CacheLayer::new(MemoryBackend::default()).handle();
    /// cache.expire("/products/7").await?;
    /// cache.expire_group("", "products").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate).
    pub async fn expire(&self, uri: &str) -> Result<(), InvalidationError> {
        let (authority, uri) = self.key_of(uri)?;
        self.expire_key(&authority, uri.path()).await
    }

    /// Makes a resource stale by the authority and path of its cache key: to
    /// [`expire`](Self::expire) what [`invalidate_key`](Self::invalidate_key) is to
    /// [`invalidate`](Self::invalidate).
    ///
    /// # Errors
    /// If the backend does not acknowledge it.
    pub async fn expire_key(&self, authority: &str, path: &str) -> Result<(), InvalidationError> {
        let target = InvalidationTarget::Resource(self.state.resource(authority, path));
        let span = tracing::error_span!("expiration", authority, path);
        let expired = self.state.expire(target).instrument(span).await;
        Ok(expired.map_err(Kind::Backend)?)
    }

    /// Makes all stored members of a group stale. The group is named as in
    /// [`invalidate_group`](Self::invalidate_group), and stale means what it does in
    /// [`expire`](Self::expire).
    ///
    /// # Errors
    /// If the backend does not acknowledge it.
    pub async fn expire_group(&self, authority: &str, name: &str) -> Result<(), BackendError> {
        let target = InvalidationTarget::Group(self.state.group(authority, name));
        let span = tracing::error_span!("expiration", authority, group = name);
        self.state.expire(target).instrument(span).await
    }

    /// Makes everything stale that the backend holds, including responses of other layers and
    /// scopes. Stale means what it does in [`expire`](Self::expire).
    ///
    /// A [`MemoryBackend`](crate::backend::MemoryBackend) takes time proportional to the number of
    /// its responses. A backend that cannot make everything stale at once clears instead.
    ///
    /// # Errors
    /// If the backend does not acknowledge it.
    pub async fn expire_all(&self) -> Result<(), BackendError> {
        self.state.expire_all().await
    }

    /// Invalidates everything the backend holds, including responses of other layers and scopes. In
    /// Redis, that is the namespace of the backend.
    ///
    /// # Errors
    /// If the backend does not acknowledge the invalidation.
    pub async fn clear(&self) -> Result<(), BackendError> {
        self.state.clear().await
    }

    /// Explains what the cache would do with a request, and why.
    ///
    /// The decisions are those that requests get, on what is stored at this moment. Nothing else
    /// happens: the inner service is not called, nothing is stored, counted or refreshed, and no
    /// circuit breaker learns how the backend answers ([`Backend::peek`]). The lookup is a use of
    /// the stored response where a backend evicts by use. Hooks that make the key, and
    /// [`skip`](crate::CacheLayer::skip), are called.
    ///
    /// The request has to be as the layer would get it: with the host in its target or its `Host`.
    /// Options of other layers of the same cache are not considered. If the future is dropped,
    /// nothing has happened.
    ///
    /// ```
    /// use tower_response_cache::explain::Verdict;
    /// use tower_response_cache::stats::FetchReason;
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let cache = CacheLayer::new(MemoryBackend::default()).handle();
    /// let (request, ()) = http::Request::get("/products/7").body(()).unwrap().into_parts();
    /// let explanation = cache.explain(&request).await;
    /// assert_eq!(explanation.verdict, Verdict::Fetch(FetchReason::UriMiss));
    /// println!("{}", explanation.verdict);
    /// # }
    /// ```
    pub async fn explain(&self, request: &request::Parts) -> Explanation {
        match self.state.of_route(&request.uri) {
            None => explain(&self.state, request).await,
            Some(of_route) => explain(&of_route, request).await,
        }
    }

    /// Shuts down the background work: refreshes, calls that several requests share, bodies that
    /// are read to be stored, and writes whose client left.
    ///
    /// Call it when the server has stopped serving, and wait for it before the runtime ends. From
    /// its first poll on, no new background work starts: misses are not coalesced, stale responses
    /// are not refreshed in the background, and everything else works as before.
    ///
    /// Running tasks have `timeout` to end and are then cancelled; zero cancels them at once. Then
    /// the backend delivers pending invalidations. It has the rest of `timeout` for that, and at
    /// least one second. Invalidations that are still pending then are lost, and an error is
    /// logged. The call takes at most two seconds longer than `timeout`.
    ///
    /// A cancelled write still invalidates its resources: in a memory backend at once, in a
    /// [`Guarded`](crate::backend::Guarded) one by the delivery described above. A remote backend
    /// that is not guarded may miss this invalidation.
    ///
    /// If the future is dropped, new background work stays refused and running tasks continue.
    /// `shutdown` can then be called again.
    pub async fn shutdown(&self, timeout: Duration) -> ShutdownReport {
        self.state.shutdown(timeout).await
    }

    /// Returns whether [`shutdown`](Self::shutdown) has begun.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.state.shared.background.is_closing()
    }

    /// Returns whether different hosts are different sites: see
    /// [`CacheLayer::sites`](crate::CacheLayer::sites).
    #[must_use]
    pub fn sites(&self) -> Sites {
        self.state.config.sites
    }

    /// Returns the [`group_prefixes`](crate::CacheLayer::group_prefixes) of the layer: the names of
    /// groups that are paths, in normal form.
    #[must_use]
    pub fn group_prefixes(&self) -> Vec<String> {
        let groups = self.state.config.groups.as_deref();
        let prefixes = groups.into_iter().flat_map(|groups| groups.prefixes.iter());
        prefixes.map(|prefix| prefix.to_string()).collect()
    }

    /// Counts a request that something around the cache has answered, so that the cache never got
    /// it: as [`Outside`](crate::stats::RequestResult::Outside), and by the class of its status.
    ///
    /// With it, the sum over all results is the number of all requests of a server. In front of a
    /// [`ReverseProxy`](crate::proxy::ReverseProxy),
    /// [`on_rejected`](crate::proxy::CanonicalRequestLayer::on_rejected) says which these are.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_response_cache::stats::RequestResult;
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    ///
    /// let cache = CacheLayer::new(MemoryBackend::default()).handle();
    /// cache.count_outside(StatusCode::TOO_MANY_REQUESTS);
    /// assert_eq!(cache.stats().requests.get(RequestResult::Outside), 1);
    /// ```
    pub fn count_outside(&self, status: StatusCode) {
        let class = StatusClass::from_status(status);
        self.state.shared.counters.count_outside(class);
    }

    /// Returns how many bytes of removed responses that are still being read exceed half of
    /// [`max_lingering_bytes`](crate::CacheLayer::max_lingering_bytes), beyond which large bodies
    /// are not stored.
    ///
    /// A server can end the connections of its slowest readers while this is not 0. It is cheap:
    /// [`stats`](Self::stats) collects more.
    ///
    /// ```
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    ///
    /// let cache = CacheLayer::new(MemoryBackend::default()).handle();
    /// assert_eq!(cache.lingering_excess(), 0);
    /// ```
    #[must_use]
    pub fn lingering_excess(&self) -> u64 {
        let lingering = self.state.shared.coalescing.buffers.lingering_bytes();
        lingering.saturating_sub(self.state.config.max_lingering_bytes / 2)
    }

    /// Returns the counters of the cache, its work in flight, and the usage and health of its
    /// backend.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.state.shared;
        let buffers = &shared.coalescing.buffers;
        let in_flight = InFlight {
            fills: shared.coalescing.flights.len(),
            waiting_fills: shared.origin.waiting_fills.len(),
            origin_calls: shared.origin.unanswered.len(),
            tasks: shared.background.len(),
            detached_writes: shared.detached_writes.len(),
            bytes: buffers.collected_bytes(),
            unread_bytes: buffers.unread_bytes(),
            lingering_bytes: buffers.lingering_bytes(),
            copied_bytes: buffers.copied_bytes(),
        };
        let backend = &shared.store.backend;
        let monotonic = self.state.now().monotonic();
        let now = Snapshot {
            uptime: SystemClock.now().monotonic().saturating_sub(shared.started),
            in_flight,
            origin_silence: shared.origin.unanswered.silence(monotonic),
            histograms: &shared.histograms,
            operations: &shared.store.operations,
            origin: self.state.config.origin_load(),
            max_response: backend.max_response_size(),
            usage: backend.usage(),
            health: backend.health(),
        };
        let name = self.state.config.cache_status_name.name.text();
        Stats::new(name, &shared.counters, now)
    }
}
