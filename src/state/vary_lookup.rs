//! The backend with the seed of its keys, and lookups that follow `Vary`.

use http::HeaderMap;

use crate::backend::{Backend, BackendError, Lookup};
use crate::key::{CacheKey, DigestSeed};
use crate::semantics::moment::Moment;

/// A backend and the seed of the digests in its cache keys.
pub(crate) struct Store<B> {
    pub(crate) backend: B,
    pub(crate) seed: DigestSeed,
}

impl<B: Backend> Store<B> {
    /// A backend, with the seed it gives.
    pub(crate) fn new(backend: B) -> Self {
        let seed = backend.seed();
        Self { backend, seed }
    }

    /// Looks a key up without waiting, then its variant for these request fields. Returns the
    /// result with the key it was found under, or `None` where the backend needs waiting for.
    pub(crate) fn lookup_now(
        &self,
        key: &CacheKey,
        headers: &HeaderMap,
    ) -> Option<(Lookup<B::Fence>, CacheKey)> {
        match self.backend.get_now(key)? {
            Lookup::Varies(rule, _) => {
                let variant = key.variant_for(&self.seed, &rule, headers);
                Some((self.backend.get_now(&variant)?, variant))
            }
            lookup => Some((lookup, *key)),
        }
    }

    /// Looks a key up, then its variant for these request fields (RFC 9111 §4.1). Returns the
    /// result with the key it was found under.
    pub(crate) async fn lookup_with_vary(
        &self,
        key: &CacheKey,
        headers: &HeaderMap,
        now: Moment,
    ) -> Result<(Lookup<B::Fence>, CacheKey), BackendError> {
        match self.backend.get(key, now).await? {
            Lookup::Varies(rule, _) => {
                let variant = key.variant_for(&self.seed, &rule, headers);
                Ok((self.backend.get(&variant, now).await?, variant))
            }
            lookup => Ok((lookup, *key)),
        }
    }
}
