//! The cache from outside the request path.

use std::fmt;
use std::time::Duration;

use http::uri::InvalidUri;
use http::{Request, Uri};

use crate::backend::{Backend, BackendError, Target};
use crate::state::Shared;
use crate::state::background::Shutdown;
use crate::stats::{Stats, UnderWay};

/// Invalidates, clears and tells what a cache did. Clones are of the same cache.
pub struct CacheHandle<B: Backend> {
    shared: Shared<B>,
}

impl<B: Backend> Clone for CacheHandle<B> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<B: Backend> fmt::Debug for CacheHandle<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheHandle").finish_non_exhaustive()
    }
}

/// Why a resource was not invalidated.
#[derive(Debug)]
pub struct InvalidateError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Uri(InvalidUri),
    NoAuthority,
    Backend(BackendError),
}

impl InvalidateError {
    /// Whether the URI names no resource of this cache; otherwise the backend did not acknowledge.
    #[must_use]
    pub fn is_invalid_uri(&self) -> bool {
        !matches!(self.kind, Kind::Backend(_))
    }
}

impl fmt::Display for InvalidateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Uri(_) => "not a URI",
            Kind::NoAuthority => "a URI without a valid authority names no resource of this cache",
            Kind::Backend(_) => "the invalidation was not acknowledged",
        })
    }
}

impl std::error::Error for InvalidateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::Uri(error) => Some(error),
            Kind::NoAuthority => None,
            Kind::Backend(error) => Some(error),
        }
    }
}

impl<B: Backend> CacheHandle<B> {
    pub(crate) fn new(shared: Shared<B>) -> Self {
        Self { shared }
    }

    /// Invalidates a resource of this layer's scope: its path with all queries and variants, and fills in flight.
    ///
    /// Takes an absolute URI, or just a path where the layer's authority is fixed. The `MakeCacheKey` hook is not asked;
    /// where it makes authorities or paths of its own, see [`invalidate_key`](Self::invalidate_key). When this returns
    /// `Ok`, no later request is answered with what was stored before.
    ///
    /// # Errors
    /// When `uri` names no resource, or the backend did not acknowledge.
    pub async fn invalidate(&self, uri: &str) -> Result<(), InvalidateError> {
        let uri: Uri = uri.parse().map_err(Kind::Uri)?;
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.uri = uri;
        let authority = self.shared.config.authority.of(&parts);
        let authority = authority.ok_or(Kind::NoAuthority)?;
        let resource = self.shared.resource(&authority, parts.uri.path());
        self.shared
            .invalidate(Target::Resource(resource))
            .await
            .map_err(Kind::Backend)?;
        Ok(())
    }

    /// Invalidates a resource by the authority and path of its key, as a `MakeCacheKey` hook makes them.
    ///
    /// # Errors
    /// When the backend did not acknowledge.
    pub async fn invalidate_key(&self, authority: &str, path: &str) -> Result<(), InvalidateError> {
        let resource = self.shared.resource(authority, path);
        self.shared
            .invalidate(Target::Resource(resource))
            .await
            .map_err(Kind::Backend)?;
        Ok(())
    }

    /// Invalidates a group of one authority's responses, by the name that they give it in `Cache-Groups` (RFC 9875), and
    /// the fills in flight that would be in it.
    ///
    /// `authority` is as in a key: in lower case, without the default port. When this returns `Ok`, no later request is
    /// answered with a member that was stored, or being fetched, before.
    ///
    /// # Errors
    /// When the backend did not acknowledge.
    pub async fn invalidate_group(&self, authority: &str, name: &str) -> Result<(), BackendError> {
        let group = self.shared.group(authority, name);
        self.shared.invalidate(Target::Group(group)).await
    }

    /// Invalidates everything the backend holds, other layers' and other scopes' responses included.
    ///
    /// # Errors
    /// When the backend did not acknowledge.
    pub async fn clear(&self) -> Result<(), BackendError> {
        self.shared.clear().await
    }

    /// Ends what goes on in the background: refreshes, bodies on their way into the store, writes whose client left.
    ///
    /// From now on none of it begins any more: misses are neither coalesced nor refreshed, all else goes on as before. What
    /// is under way has until `deadline` from now; then it is cancelled, which for a write means that it is invalidated as
    /// far as that needs no waiting. The backend then delivers what it owes to others who share it, in the time that is left
    /// or within a second: with a backend that is away all this takes up to two seconds more than `deadline`. Call it when the server has stopped serving, and wait for it before the runtime ends.
    ///
    /// Cancelling it leaves the background work going, with nothing new beginning; it can be called again.
    pub async fn shutdown(&self, deadline: Duration) -> Shutdown {
        self.shared.shutdown(deadline).await
    }

    /// What the cache did and holds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let core = &self.shared.core;
        let under_way = UnderWay {
            fills: core.flights.len(),
            tasks: core.background.len(),
            bytes: core.capturing.held(),
        };
        let (usage, health) = (core.backend.usage(), core.backend.health());
        core.counters.snapshot(under_way, usage, health)
    }
}

impl From<Kind> for InvalidateError {
    fn from(kind: Kind) -> Self {
        Self { kind }
    }
}
