//! `CacheHandle`: the cache from outside the request path, for application code.
//!
//! It knows the shared state below `service`, and neither the layer nor any request. Start with
//! [`CacheHandle`].

use std::error::Error;
use std::fmt;
use std::time::Duration;

use http::uri::InvalidUri;
use http::{Request, Uri};

use crate::backend::{Backend, BackendError, InvalidationTarget};
use crate::state::LayerState;
use crate::state::background::ShutdownReport;
use crate::stats::{InFlight, Stats};

/// A handle to a running cache: it invalidates, clears, reads statistics and shuts down.
///
/// [`CacheLayer::handle`](crate::CacheLayer::handle) returns it. Clones are handles to the same
/// cache.
///
/// ```
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend, key::Authority};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_response_cache::InvalidationError> {
/// let layer = CacheLayer::new(MemoryBackend::default()).authority(Authority::fixed("shop"));
/// let cache = layer.handle();
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

/// The error of an invalidation: the URI names no resource, or the backend did not acknowledge.
#[derive(Debug)]
pub struct InvalidationError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Uri(InvalidUri),
    NoAuthority,
    Backend(BackendError),
}

impl InvalidationError {
    /// Returns whether the URI names no resource of this cache; trying again is then useless.
    #[must_use]
    pub fn is_invalid_uri(&self) -> bool {
        matches!(self.kind, Kind::Uri(_) | Kind::NoAuthority)
    }

    /// Returns whether the backend failed or did not acknowledge in time.
    #[must_use]
    pub fn is_backend_failure(&self) -> bool {
        matches!(self.kind, Kind::Backend(_))
    }
}

impl fmt::Display for InvalidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Uri(_) => "invalidation failed: not a URI",
            Kind::NoAuthority => {
                "invalidation failed: the URI has no valid authority and the cache has no fixed one"
            }
            Kind::Backend(_) => "invalidation failed: the backend did not acknowledge it",
        })
    }
}

impl Error for InvalidationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Uri(error) => Some(error),
            Kind::NoAuthority => None,
            Kind::Backend(error) => Some(error),
        }
    }
}

impl From<Kind> for InvalidationError {
    fn from(kind: Kind) -> Self {
        Self { kind }
    }
}

impl<B: Backend> CacheHandle<B> {
    pub(crate) fn new(state: LayerState<B>) -> Self {
        Self { state }
    }

    /// Invalidates a resource in the scope of the layer: its path, with all queries and variants.
    ///
    /// `uri` is an absolute URI, or a path if the layer has a fixed
    /// [`authority`](crate::CacheLayer::authority). After `Ok`, no later request is answered with a
    /// response that was stored or fetched before.
    ///
    /// The layer's key hook is not called. If the hook changes authorities or paths, use
    /// [`invalidate_key`](Self::invalidate_key).
    ///
    /// # Errors
    /// If `uri` names no resource, or the backend does not acknowledge the invalidation.
    pub async fn invalidate(&self, uri: &str) -> Result<(), InvalidationError> {
        let uri: Uri = uri.parse().map_err(Kind::Uri)?;
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.uri = uri;
        let authority = self.state.config.authority.resolve(&parts);
        let authority = authority.ok_or(Kind::NoAuthority)?;
        self.invalidate_key(&authority, parts.uri.path()).await
    }

    /// Invalidates a resource by the authority and path of its cache key, as the layer's
    /// [`key`](crate::CacheLayer::key) hook makes them.
    ///
    /// # Errors
    /// If the backend does not acknowledge the invalidation.
    pub async fn invalidate_key(
        &self,
        authority: &str,
        path: &str,
    ) -> Result<(), InvalidationError> {
        let target = InvalidationTarget::Resource(self.state.resource(authority, path));
        let invalidated = self.state.invalidate(target).await;
        Ok(invalidated.map_err(Kind::Backend)?)
    }

    /// Invalidates the responses of one authority that `Cache-Groups` puts in a group (RFC 9875).
    ///
    /// `authority` is spelled as in a cache key: in lower case, without the default port. After
    /// `Ok`, no later request is answered with a member of the group that was stored or fetched
    /// before.
    ///
    /// # Errors
    /// If the backend does not acknowledge the invalidation.
    pub async fn invalidate_group(&self, authority: &str, name: &str) -> Result<(), BackendError> {
        let group = self.state.group(authority, name);
        self.state
            .invalidate(InvalidationTarget::Group(group))
            .await
    }

    /// Invalidates everything the backend holds, including responses of other layers and scopes.
    ///
    /// # Errors
    /// If the backend does not acknowledge it.
    pub async fn clear(&self) -> Result<(), BackendError> {
        self.state.clear().await
    }

    /// Shuts down the background work: refreshes, captures of bodies, writes whose client left.
    ///
    /// Call it when the server has stopped serving, and wait for it before the runtime ends. New
    /// background work is refused from now on: misses are neither coalesced nor refreshed, and
    /// everything else works as before. Running tasks have `timeout` to end and are then cancelled;
    /// a cancelled write is invalidated as far as that needs no waiting. Then the backend delivers
    /// pending invalidations, in the time that is left or within one second. With an unreachable
    /// backend the call takes up to two seconds longer than `timeout`.
    ///
    /// It is safe to cancel: new work stays refused, running tasks continue, and it can be called
    /// again.
    pub async fn shutdown(&self, timeout: Duration) -> ShutdownReport {
        self.state.shutdown(timeout).await
    }

    /// Returns the counters of the cache, its work in flight and the usage of its backend.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = &self.state.shared;
        let in_flight = InFlight {
            fills: shared.coalescing.flights.len(),
            tasks: shared.background.len(),
            bytes: shared.coalescing.buffers.used_bytes(),
        };
        let backend = &shared.store.backend;
        let (usage, health) = (backend.usage(), backend.health());
        shared.counters.snapshot(in_flight, usage, health)
    }
}
