//! Wrappers that change a few operations of another backend.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::contract::invalidate_each;
use super::{
    Backend, BackendError, GraceScope, Group, Health, InvalidationTarget, JoinDecision, Lookup,
    LookupWithVariant, PutOutcome, StoredResponse, Usage,
};
use crate::key::{CacheKey, DigestSeed, Resource};
use crate::semantics::moment::Moment;

/// The fence of a wrapper, which is that of the backend inside.
type FenceOf<W> = <<W as ForwardBackend>::Inner as Backend>::Fence;

/// A backend that forwards every operation it does not override to another one.
///
/// A type that implements this trait is a [`Backend`] whose fence is that of the backend inside. No
/// operation can be forgotten: all others, including those of later versions, are forwarded.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tower_response_cache::CacheLayer;
/// use tower_response_cache::backend::*;
///
/// /// Counts the invalidations of another backend.
/// #[derive(Clone)]
/// struct Counting<B> {
///     inner: B,
///     invalidations: Arc<AtomicU64>,
/// }
///
/// impl<B: Backend> ForwardBackend for Counting<B> {
///     type Inner = B;
///
///     fn inner(&self) -> &B {
///         &self.inner
///     }
///
///     async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
///         self.invalidations.fetch_add(1, Ordering::Relaxed);
///         self.inner.invalidate(target).await
///     }
/// }
///
/// let inner = MemoryBackend::default();
/// let layer = CacheLayer::new(Counting { inner, invalidations: Arc::default() });
/// ```
///
/// # What to override together
///
/// A default calls the backend *inside*, never another method of the wrapper, except those of
/// `get_with_variant` and `invalidate_many`. So a wrapper that changes
///
/// * lookups overrides `get_now` and `get` (a `get_now` that returns `None` sends every lookup to
///   `get`), and `read_body` if it may answer with a response of another backend;
/// * invalidations overrides `invalidate`, `invalidate_unknown`, `expire`, `expire_all`, `replace`
///   and `clear`;
/// * stores overrides `put` and `replace`.
///
/// Code that imports both traits names the one it means: `Backend::get(&wrapper, ..)`.
///
/// A wrapper that needs a fence of its own implements [`Backend`] itself; see
/// [`Lookup::map_fence`].
pub trait ForwardBackend: Clone + Send + Sync + 'static {
    /// The type of the backend inside.
    type Inner: Backend;

    /// Returns the backend inside.
    fn inner(&self) -> &Self::Inner;

    /// See [`Backend::get_now`].
    fn get_now(&self, key: &CacheKey) -> Option<Lookup<FenceOf<Self>>> {
        self.inner().get_now(key)
    }

    /// See [`Backend::get`].
    ///
    /// # Errors
    /// As there.
    fn get(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> impl Future<Output = Result<Lookup<FenceOf<Self>>, BackendError>> + Send {
        self.inner().get(key, now)
    }

    /// See [`Backend::peek`]. It calls this wrapper's own `get`: override it to forward it.
    ///
    /// # Errors
    /// As there.
    fn peek(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> impl Future<Output = Result<Lookup<FenceOf<Self>>, BackendError>> + Send {
        ForwardBackend::get(self, key, now)
    }

    /// See [`Backend::get_with_variant`]. It looks `key` up with this wrapper's own `get`, and no
    /// variant: override it to save a round trip.
    ///
    /// # Errors
    /// As there.
    fn get_with_variant(
        &self,
        key: &CacheKey,
        variant: &CacheKey,
        now: Moment,
    ) -> impl Future<Output = Result<LookupWithVariant<FenceOf<Self>>, BackendError>> + Send {
        let _ = variant;
        async move { Ok((ForwardBackend::get(self, key, now).await?, None)) }
    }

    /// See [`Backend::read_body`].
    ///
    /// # Errors
    /// As there.
    fn read_body(
        &self,
        response: &StoredResponse,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Option<Bytes>, BackendError>> + Send {
        self.inner().read_body(response, range)
    }

    /// See [`Backend::fence`].
    ///
    /// # Errors
    /// As there.
    fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> impl Future<Output = Result<Option<FenceOf<Self>>, BackendError>> + Send {
        self.inner().fence(resource)
    }

    /// See [`Backend::join_decision`].
    fn join_decision(
        &self,
        resource: &Resource,
        flight: &FenceOf<Self>,
        own: &FenceOf<Self>,
    ) -> JoinDecision {
        self.inner().join_decision(resource, flight, own)
    }

    /// See [`Backend::has_current_groups`].
    fn has_current_groups(
        &self,
        groups: &[Group],
        flight: &FenceOf<Self>,
        own: &FenceOf<Self>,
    ) -> bool {
        self.inner().has_current_groups(groups, flight, own)
    }

    /// See [`Backend::is_still_valid`].
    fn is_still_valid(
        &self,
        key: &CacheKey,
        response: &StoredResponse,
        fence: &FenceOf<Self>,
    ) -> bool {
        self.inner().is_still_valid(key, response, fence)
    }

    /// See [`Backend::put`].
    ///
    /// # Errors
    /// As there.
    fn put(
        &self,
        key: &CacheKey,
        fence: FenceOf<Self>,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> impl Future<Output = Result<PutOutcome, BackendError>> + Send {
        self.inner().put(key, fence, response, now)
    }

    /// See [`Backend::replace`].
    ///
    /// # Errors
    /// As there.
    fn replace(
        &self,
        key: &CacheKey,
        fence: FenceOf<Self>,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> impl Future<Output = Result<PutOutcome, BackendError>> + Send {
        self.inner().replace(key, fence, response, now)
    }

    /// See [`Backend::remove`].
    ///
    /// # Errors
    /// As there.
    fn remove(
        &self,
        key: &CacheKey,
        fence: FenceOf<Self>,
    ) -> impl Future<Output = Result<bool, BackendError>> + Send {
        self.inner().remove(key, fence)
    }

    /// See [`Backend::invalidate`].
    ///
    /// # Errors
    /// As there.
    fn invalidate(
        &self,
        target: &InvalidationTarget,
    ) -> impl Future<Output = Result<(), BackendError>> + Send {
        self.inner().invalidate(target)
    }

    /// See [`Backend::invalidate_unknown`].
    ///
    /// # Errors
    /// As there.
    fn invalidate_unknown(
        &self,
        target: &InvalidationTarget,
        grace: Duration,
    ) -> impl Future<Output = Result<GraceScope, BackendError>> + Send {
        self.inner().invalidate_unknown(target, grace)
    }

    /// See [`Backend::invalidate_many`]. It calls this wrapper's own `invalidate` and
    /// `invalidate_unknown` for each target: override it to forward them together.
    ///
    /// # Errors
    /// As there.
    fn invalidate_many(
        &self,
        targets: &[InvalidationTarget],
        grace: Option<Duration>,
    ) -> impl Future<Output = Result<(), BackendError>> + Send {
        invalidate_each(self, targets, grace)
    }

    /// See [`Backend::expire`].
    ///
    /// # Errors
    /// As there.
    fn expire(
        &self,
        targets: &[InvalidationTarget],
        at: Moment,
        ago: Duration,
    ) -> impl Future<Output = Result<(), BackendError>> + Send {
        self.inner().expire(targets, at, ago)
    }

    /// See [`Backend::expire_all`].
    ///
    /// # Errors
    /// As there.
    fn expire_all(&self, now: Moment) -> impl Future<Output = Result<(), BackendError>> + Send {
        self.inner().expire_all(now)
    }

    /// See [`Backend::clear`].
    ///
    /// # Errors
    /// As there.
    fn clear(&self) -> impl Future<Output = Result<(), BackendError>> + Send {
        self.inner().clear()
    }

    /// See [`Backend::seed`].
    fn seed(&self) -> DigestSeed {
        self.inner().seed()
    }

    /// See [`Backend::max_response_size`].
    fn max_response_size(&self) -> u64 {
        self.inner().max_response_size()
    }

    /// See [`Backend::usage`].
    fn usage(&self) -> Option<Usage> {
        self.inner().usage()
    }

    /// See [`Backend::transferred_bytes`].
    fn transferred_bytes(&self) -> u64 {
        self.inner().transferred_bytes()
    }

    /// See [`Backend::health`].
    fn health(&self) -> Option<Health> {
        self.inner().health()
    }

    /// See [`Backend::drain`].
    fn drain(&self) -> impl Future<Output = ()> + Send {
        self.inner().drain()
    }
}

impl<W: ForwardBackend> Backend for W {
    type Fence = FenceOf<W>;

    fn get_now(&self, key: &CacheKey) -> Option<Lookup<Self::Fence>> {
        ForwardBackend::get_now(self, key)
    }

    fn get(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> impl Future<Output = Result<Lookup<Self::Fence>, BackendError>> + Send {
        ForwardBackend::get(self, key, now)
    }

    fn peek(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> impl Future<Output = Result<Lookup<Self::Fence>, BackendError>> + Send {
        ForwardBackend::peek(self, key, now)
    }

    fn get_with_variant(
        &self,
        key: &CacheKey,
        variant: &CacheKey,
        now: Moment,
    ) -> impl Future<Output = Result<LookupWithVariant<Self::Fence>, BackendError>> + Send {
        ForwardBackend::get_with_variant(self, key, variant, now)
    }

    fn read_body(
        &self,
        response: &StoredResponse,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Option<Bytes>, BackendError>> + Send {
        ForwardBackend::read_body(self, response, range)
    }

    fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> impl Future<Output = Result<Option<Self::Fence>, BackendError>> + Send {
        ForwardBackend::fence(self, resource)
    }

    fn join_decision(
        &self,
        resource: &Resource,
        flight: &Self::Fence,
        own: &Self::Fence,
    ) -> JoinDecision {
        ForwardBackend::join_decision(self, resource, flight, own)
    }

    fn has_current_groups(
        &self,
        groups: &[Group],
        flight: &Self::Fence,
        own: &Self::Fence,
    ) -> bool {
        ForwardBackend::has_current_groups(self, groups, flight, own)
    }

    fn is_still_valid(
        &self,
        key: &CacheKey,
        response: &StoredResponse,
        fence: &Self::Fence,
    ) -> bool {
        ForwardBackend::is_still_valid(self, key, response, fence)
    }

    fn put(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> impl Future<Output = Result<PutOutcome, BackendError>> + Send {
        ForwardBackend::put(self, key, fence, response, now)
    }

    fn replace(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> impl Future<Output = Result<PutOutcome, BackendError>> + Send {
        ForwardBackend::replace(self, key, fence, response, now)
    }

    fn remove(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
    ) -> impl Future<Output = Result<bool, BackendError>> + Send {
        ForwardBackend::remove(self, key, fence)
    }

    fn invalidate(
        &self,
        target: &InvalidationTarget,
    ) -> impl Future<Output = Result<(), BackendError>> + Send {
        ForwardBackend::invalidate(self, target)
    }

    fn invalidate_unknown(
        &self,
        target: &InvalidationTarget,
        grace: Duration,
    ) -> impl Future<Output = Result<GraceScope, BackendError>> + Send {
        ForwardBackend::invalidate_unknown(self, target, grace)
    }

    fn invalidate_many(
        &self,
        targets: &[InvalidationTarget],
        grace: Option<Duration>,
    ) -> impl Future<Output = Result<(), BackendError>> + Send {
        ForwardBackend::invalidate_many(self, targets, grace)
    }

    fn expire(
        &self,
        targets: &[InvalidationTarget],
        at: Moment,
        ago: Duration,
    ) -> impl Future<Output = Result<(), BackendError>> + Send {
        ForwardBackend::expire(self, targets, at, ago)
    }

    fn expire_all(&self, now: Moment) -> impl Future<Output = Result<(), BackendError>> + Send {
        ForwardBackend::expire_all(self, now)
    }

    fn clear(&self) -> impl Future<Output = Result<(), BackendError>> + Send {
        ForwardBackend::clear(self)
    }

    fn seed(&self) -> DigestSeed {
        ForwardBackend::seed(self)
    }

    fn max_response_size(&self) -> u64 {
        ForwardBackend::max_response_size(self)
    }

    fn usage(&self) -> Option<Usage> {
        ForwardBackend::usage(self)
    }

    fn transferred_bytes(&self) -> u64 {
        ForwardBackend::transferred_bytes(self)
    }

    fn health(&self) -> Option<Health> {
        ForwardBackend::health(self)
    }

    fn drain(&self) -> impl Future<Output = ()> + Send {
        ForwardBackend::drain(self)
    }
}
