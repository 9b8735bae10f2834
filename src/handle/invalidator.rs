//! A handle that invalidates, without the type of the backend.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::backend::{Backend, BackendError};

use super::cache_handle::CacheHandle;
use super::error::InvalidationError;

type BoxFuture<'a, E> = Pin<Box<dyn Future<Output = Result<(), E>> + Send + 'a>>;

/// Invalidates stored responses of a running cache, whatever its backend is.
///
/// [`CacheHandle::invalidator`] returns it. It has no type parameter: keep it in the state of an
/// application, and give it to background jobs. Clones invalidate in the same cache.
///
/// Each method returns `Ok` once the backend has acknowledged the invalidation, and does what the
/// method of [`CacheHandle`] with its name does; the details are there.
///
/// ```
/// use tower_response_cache::{CacheLayer, Invalidator, backend::MemoryBackend};
///
/// /// The state of an application.
/// #[derive(Clone)]
/// struct App {
///     cache: Invalidator,
/// }
///
/// async fn import_finished(app: &App) {
///     if let Err(error) = app.cache.invalidate("/products").await {
///         eprintln!("{error}");
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let layer = CacheLayer::new(MemoryBackend::default());
/// let app = App { cache: layer.handle().invalidator() };
/// import_finished(&app).await;
/// assert_eq!(layer.handle().stats().invalidations, 1);
/// # }
/// ```
#[derive(Clone)]
pub struct Invalidator {
    cache: Arc<dyn Invalidate>,
}

impl fmt::Debug for Invalidator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invalidator").finish_non_exhaustive()
    }
}

impl<B: Backend> CacheHandle<B> {
    /// Returns a handle that can only invalidate, and whose type does not name the backend: for the
    /// state of an application and for background jobs.
    #[must_use]
    pub fn invalidator(&self) -> Invalidator {
        Invalidator {
            cache: Arc::new(self.clone()),
        }
    }
}

impl Invalidator {
    /// Invalidates a resource by a path or an absolute URI: see [`CacheHandle::invalidate`].
    ///
    /// # Errors
    /// If `uri` names no resource, or the backend does not acknowledge the invalidation.
    pub async fn invalidate(&self, uri: &str) -> Result<(), InvalidationError> {
        self.cache.invalidate(uri).await
    }

    /// Invalidates a resource by the authority and path of its cache key: see
    /// [`CacheHandle::invalidate_key`].
    ///
    /// # Errors
    /// If the backend does not acknowledge the invalidation.
    pub async fn invalidate_key(
        &self,
        authority: &str,
        path: &str,
    ) -> Result<(), InvalidationError> {
        self.cache.invalidate_key(authority, path).await
    }

    /// Invalidates all members of a group: see [`CacheHandle::invalidate_group`].
    ///
    /// # Errors
    /// If the backend does not acknowledge the invalidation.
    pub async fn invalidate_group(&self, authority: &str, name: &str) -> Result<(), BackendError> {
        self.cache.invalidate_group(authority, name).await
    }

    /// Makes a resource stale by a path or an absolute URI: see [`CacheHandle::expire`].
    ///
    /// # Errors
    /// If `uri` names no resource, or the backend does not acknowledge it.
    pub async fn expire(&self, uri: &str) -> Result<(), InvalidationError> {
        self.cache.expire(uri).await
    }

    /// Makes a resource stale by the authority and path of its cache key: see
    /// [`CacheHandle::expire_key`].
    ///
    /// # Errors
    /// If the backend does not acknowledge it.
    pub async fn expire_key(&self, authority: &str, path: &str) -> Result<(), InvalidationError> {
        self.cache.expire_key(authority, path).await
    }

    /// Makes all members of a group stale: see [`CacheHandle::expire_group`].
    ///
    /// # Errors
    /// If the backend does not acknowledge it.
    pub async fn expire_group(&self, authority: &str, name: &str) -> Result<(), BackendError> {
        self.cache.expire_group(authority, name).await
    }

    /// Makes everything stale that the backend holds: see [`CacheHandle::expire_all`].
    ///
    /// # Errors
    /// If the backend does not acknowledge it.
    pub async fn expire_all(&self) -> Result<(), BackendError> {
        self.cache.expire_all().await
    }

    /// Invalidates everything the backend holds: see [`CacheHandle::clear`].
    ///
    /// # Errors
    /// If the backend does not acknowledge the invalidation.
    pub async fn clear(&self) -> Result<(), BackendError> {
        self.cache.clear().await
    }
}

/// What an [`Invalidator`] needs of a handle.
trait Invalidate: Send + Sync {
    fn invalidate<'a>(&'a self, uri: &'a str) -> BoxFuture<'a, InvalidationError>;

    fn invalidate_key<'a>(
        &'a self,
        authority: &'a str,
        path: &'a str,
    ) -> BoxFuture<'a, InvalidationError>;

    fn invalidate_group<'a>(
        &'a self,
        authority: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, BackendError>;

    fn expire<'a>(&'a self, uri: &'a str) -> BoxFuture<'a, InvalidationError>;

    fn expire_key<'a>(
        &'a self,
        authority: &'a str,
        path: &'a str,
    ) -> BoxFuture<'a, InvalidationError>;

    fn expire_group<'a>(&'a self, authority: &'a str, name: &'a str)
    -> BoxFuture<'a, BackendError>;

    fn expire_all(&self) -> BoxFuture<'_, BackendError>;

    fn clear(&self) -> BoxFuture<'_, BackendError>;
}

impl<B: Backend> Invalidate for CacheHandle<B> {
    fn invalidate<'a>(&'a self, uri: &'a str) -> BoxFuture<'a, InvalidationError> {
        Box::pin(self.invalidate(uri))
    }

    fn invalidate_key<'a>(
        &'a self,
        authority: &'a str,
        path: &'a str,
    ) -> BoxFuture<'a, InvalidationError> {
        Box::pin(self.invalidate_key(authority, path))
    }

    fn invalidate_group<'a>(
        &'a self,
        authority: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, BackendError> {
        Box::pin(self.invalidate_group(authority, name))
    }

    fn expire<'a>(&'a self, uri: &'a str) -> BoxFuture<'a, InvalidationError> {
        Box::pin(self.expire(uri))
    }

    fn expire_key<'a>(
        &'a self,
        authority: &'a str,
        path: &'a str,
    ) -> BoxFuture<'a, InvalidationError> {
        Box::pin(self.expire_key(authority, path))
    }

    fn expire_group<'a>(
        &'a self,
        authority: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, BackendError> {
        Box::pin(self.expire_group(authority, name))
    }

    fn expire_all(&self) -> BoxFuture<'_, BackendError> {
        Box::pin(self.expire_all())
    }

    fn clear(&self) -> BoxFuture<'_, BackendError> {
        Box::pin(self.clear())
    }
}
