//! A backend whose panics are errors.
//!
//! The cache and [`Guarded`](super::Guarded) call every backend through it, so that no call site
//! needs to think of panics.

use std::any::TypeId;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use pin_project_lite::pin_project;

use super::observed::{ObserveOperations, Observer, observed};
use super::{
    Backend, BackendError, GraceScope, Group, Health, InvalidationTarget, JoinDecision, Lookup,
    LookupWithVariant, MemoryBackend, PutOutcome, StoredResponse, Usage,
};
use crate::error::panics::{CatchPanics, Panicked, catch};
use crate::key::{CacheKey, DigestSeed, Resource};
use crate::semantics::moment::Moment;
use crate::semantics::reason::BackendOperation;

/// A backend whose operations fail where it panics. Questions without an error have the answer
/// that is always safe then.
#[derive(Clone, Debug)]
pub(crate) struct PanicsAsErrors<B> {
    backend: B,
    /// Observes the operations of a backend that may call foreign code.
    observer: Observer,
}

impl<B: Backend> PanicsAsErrors<B> {
    pub(crate) fn new(backend: B) -> Self {
        Self {
            backend,
            observer: None,
        }
    }

    /// The backend inside.
    pub(crate) fn get_ref(&self) -> &B {
        &self.backend
    }

    /// Creates a backend with an observer of its operations.
    pub(crate) fn observed(backend: B, observer: Arc<dyn ObserveOperations>) -> Self {
        Self {
            backend,
            observer: Some(observer),
        }
    }

    /// Whether the backend calls no foreign code. Known when it is compiled: hits pay nothing.
    fn is_own() -> bool {
        TypeId::of::<B>() == TypeId::of::<MemoryBackend>()
    }

    /// The answer of the backend; `otherwise` if it panics.
    #[inline]
    fn ask<R>(&self, otherwise: R, question: impl FnOnce(&B) -> R) -> R {
        match Self::is_own() {
            true => question(&self.backend),
            false => catch(|| question(&self.backend)).unwrap_or(otherwise),
        }
    }
}

pin_project! {
    /// An operation that may panic when it is called, polled or dropped, and fails then.
    ///
    /// The future of an `async fn` would hold that of the operation twice.
    struct Caught<F> {
        #[pin]
        operation: CatchPanics<F>,
    }
}

impl<F, R> Future for Caught<F>
where
    F: Future<Output = Result<R, BackendError>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let ended = ready!(self.project().operation.poll(cx));
        Poll::Ready(ended.unwrap_or_else(|Panicked| Err(BackendError::new(Panicked))))
    }
}

/// Runs an operation of the backend inside.
macro_rules! run {
    ($self:ident, $kind:ident, $operation:ident($($argument:expr),*)) => {
        match Self::is_own() {
            true => $self.backend.$operation($($argument),*).await,
            false => {
                let operation = async move { $self.backend.$operation($($argument),*).await };
                let caught = Caught {
                    operation: CatchPanics::new(operation),
                };
                observed(&$self.observer, BackendOperation::$kind, caught).await
            }
        }
    };
}

impl<B: Backend> Backend for PanicsAsErrors<B> {
    type Fence = B::Fence;

    #[inline]
    fn get_now(&self, key: &CacheKey) -> Option<Lookup<Self::Fence>> {
        // After a panic `get` is called, which can say that it failed.
        self.ask(None, |backend| backend.get_now(key))
    }

    // No `async fn`, which would hold its arguments twice.
    fn get(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> impl Future<Output = Result<Lookup<Self::Fence>, BackendError>> + Send {
        let backend = self;
        async move { run!(backend, Get, get(key, now)) }
    }

    async fn peek(&self, key: &CacheKey, now: Moment) -> Result<Lookup<Self::Fence>, BackendError> {
        // Not observed.
        let operation = CatchPanics::new(async move { self.backend.peek(key, now).await });
        Caught { operation }.await
    }

    async fn get_with_variant(
        &self,
        key: &CacheKey,
        variant: &CacheKey,
        now: Moment,
    ) -> Result<LookupWithVariant<Self::Fence>, BackendError> {
        run!(self, Get, get_with_variant(key, variant, now))
    }

    async fn read_body(
        &self,
        response: &StoredResponse,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, BackendError> {
        run!(self, Get, read_body(response, range))
    }

    async fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> Result<Option<Self::Fence>, BackendError> {
        run!(self, Fence, fence(resource))
    }

    fn join_decision(
        &self,
        resource: &Resource,
        flight: &Self::Fence,
        own: &Self::Fence,
    ) -> JoinDecision {
        let refuse = JoinDecision::Refuse;
        self.ask(refuse, |backend| {
            backend.join_decision(resource, flight, own)
        })
    }

    fn has_current_groups(
        &self,
        groups: &[Group],
        flight: &Self::Fence,
        own: &Self::Fence,
    ) -> bool {
        self.ask(false, |backend| {
            backend.has_current_groups(groups, flight, own)
        })
    }

    fn is_still_valid(
        &self,
        key: &CacheKey,
        response: &StoredResponse,
        fence: &Self::Fence,
    ) -> bool {
        self.ask(false, |backend| {
            backend.is_still_valid(key, response, fence)
        })
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        run!(self, Put, put(key, fence, response, now))
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        run!(self, Replace, replace(key, fence, response, now))
    }

    async fn remove(&self, key: &CacheKey, fence: Self::Fence) -> Result<bool, BackendError> {
        run!(self, Put, remove(key, fence))
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        run!(self, Invalidate, invalidate(target))
    }

    async fn invalidate_unknown(
        &self,
        target: &InvalidationTarget,
        grace: Duration,
    ) -> Result<GraceScope, BackendError> {
        run!(self, Invalidate, invalidate_unknown(target, grace))
    }

    async fn invalidate_many(
        &self,
        targets: &[InvalidationTarget],
        grace: Option<Duration>,
    ) -> Result<(), BackendError> {
        run!(self, Invalidate, invalidate_many(targets, grace))
    }

    async fn expire(
        &self,
        targets: &[InvalidationTarget],
        at: Moment,
        ago: Duration,
    ) -> Result<(), BackendError> {
        run!(self, Invalidate, expire(targets, at, ago))
    }

    async fn expire_all(&self, now: Moment) -> Result<(), BackendError> {
        run!(self, Clear, expire_all(now))
    }

    async fn clear(&self) -> Result<(), BackendError> {
        run!(self, Clear, clear())
    }

    /// A panic is not caught: the caller creates the cache.
    fn seed(&self) -> DigestSeed {
        self.backend.seed()
    }

    fn max_response_size(&self) -> u64 {
        self.ask(0, B::max_response_size)
    }

    fn usage(&self) -> Option<Usage> {
        self.ask(None, B::usage)
    }

    fn transferred_bytes(&self) -> u64 {
        self.ask(0, B::transferred_bytes)
    }

    fn health(&self) -> Option<Health> {
        self.ask(None, B::health)
    }

    async fn drain(&self) {
        if CatchPanics::new(async { self.backend.drain().await })
            .await
            .is_err()
        {
            tracing::error!("the backend panicked while it delivered pending invalidations");
        }
    }
}
