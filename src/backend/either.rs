//! A backend chosen from two types at run time.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{
    Backend, BackendError, GraceScope, Group, Health, InvalidationTarget, JoinDecision, Lookup,
    LookupWithVariant, PutOutcome, StoredResponse, Usage,
};
use crate::key::{CacheKey, DigestSeed, Resource};
use crate::semantics::moment::Moment;

/// One of two backends, chosen at run time; also the fence of that backend.
///
/// ```
/// use tower_response_cache::backend::{Either, Guarded, MemoryBackend};
///
/// # fn choose(is_guarded: bool) -> Either<MemoryBackend, Guarded<MemoryBackend>> {
/// let memory = MemoryBackend::default();
/// match is_guarded {
///     false => Either::Left(memory),
///     true => Either::Right(Guarded::new(memory)),
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first backend, or a fence of it.
    Left(A),
    /// The second backend, or a fence of it.
    Right(B),
}

impl<A: Backend, B: Backend> Backend for Either<A, B> {
    type Fence = Either<A::Fence, B::Fence>;

    fn get_now(&self, key: &CacheKey) -> Option<Lookup<Self::Fence>> {
        match self {
            Self::Left(a) => a.get_now(key).map(|found| found.map_fence(Either::Left)),
            Self::Right(b) => b.get_now(key).map(|found| found.map_fence(Either::Right)),
        }
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<Self::Fence>, BackendError> {
        match self {
            Self::Left(a) => Ok(a.get(key, now).await?.map_fence(Either::Left)),
            Self::Right(b) => Ok(b.get(key, now).await?.map_fence(Either::Right)),
        }
    }

    async fn peek(&self, key: &CacheKey, now: Moment) -> Result<Lookup<Self::Fence>, BackendError> {
        match self {
            Self::Left(a) => Ok(a.peek(key, now).await?.map_fence(Either::Left)),
            Self::Right(b) => Ok(b.peek(key, now).await?.map_fence(Either::Right)),
        }
    }

    async fn get_with_variant(
        &self,
        key: &CacheKey,
        variant: &CacheKey,
        now: Moment,
    ) -> Result<LookupWithVariant<Self::Fence>, BackendError> {
        Ok(match self {
            Self::Left(a) => {
                let (found, other) = a.get_with_variant(key, variant, now).await?;
                let convert = |lookup: Lookup<_>| lookup.map_fence(Either::Left);
                (convert(found), other.map(convert))
            }
            Self::Right(b) => {
                let (found, other) = b.get_with_variant(key, variant, now).await?;
                let convert = |lookup: Lookup<_>| lookup.map_fence(Either::Right);
                (convert(found), other.map(convert))
            }
        })
    }

    async fn read_body(
        &self,
        response: &StoredResponse,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, BackendError> {
        match self {
            Self::Left(a) => a.read_body(response, range).await,
            Self::Right(b) => b.read_body(response, range).await,
        }
    }

    async fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> Result<Option<Self::Fence>, BackendError> {
        match self {
            Self::Left(a) => Ok(a.fence(resource).await?.map(Either::Left)),
            Self::Right(b) => Ok(b.fence(resource).await?.map(Either::Right)),
        }
    }

    fn join_decision(
        &self,
        resource: &Resource,
        flight: &Self::Fence,
        own: &Self::Fence,
    ) -> JoinDecision {
        match (self, flight, own) {
            (Self::Left(a), Either::Left(flight), Either::Left(own)) => {
                a.join_decision(resource, flight, own)
            }
            (Self::Right(b), Either::Right(flight), Either::Right(own)) => {
                b.join_decision(resource, flight, own)
            }
            _ => JoinDecision::Refuse,
        }
    }

    fn has_current_groups(
        &self,
        groups: &[Group],
        flight: &Self::Fence,
        own: &Self::Fence,
    ) -> bool {
        match (self, flight, own) {
            (Self::Left(a), Either::Left(flight), Either::Left(own)) => {
                a.has_current_groups(groups, flight, own)
            }
            (Self::Right(b), Either::Right(flight), Either::Right(own)) => {
                b.has_current_groups(groups, flight, own)
            }
            _ => false,
        }
    }

    fn is_still_valid(
        &self,
        key: &CacheKey,
        response: &StoredResponse,
        fence: &Self::Fence,
    ) -> bool {
        match (self, fence) {
            (Self::Left(a), Either::Left(fence)) => a.is_still_valid(key, response, fence),
            (Self::Right(b), Either::Right(fence)) => b.is_still_valid(key, response, fence),
            _ => false,
        }
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        match (self, fence) {
            (Self::Left(a), Either::Left(fence)) => a.put(key, fence, response, now).await,
            (Self::Right(b), Either::Right(fence)) => b.put(key, fence, response, now).await,
            _ => Ok(PutOutcome::Superseded),
        }
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        match (self, fence) {
            (Self::Left(a), Either::Left(fence)) => a.replace(key, fence, response, now).await,
            (Self::Right(b), Either::Right(fence)) => b.replace(key, fence, response, now).await,
            _ => {
                self.invalidate(&InvalidationTarget::Resource(*key.resource()))
                    .await?;
                Ok(PutOutcome::Superseded)
            }
        }
    }

    async fn remove(&self, key: &CacheKey, fence: Self::Fence) -> Result<bool, BackendError> {
        match (self, fence) {
            (Self::Left(a), Either::Left(fence)) => a.remove(key, fence).await,
            (Self::Right(b), Either::Right(fence)) => b.remove(key, fence).await,
            _ => Ok(false),
        }
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        match self {
            Self::Left(a) => a.invalidate(target).await,
            Self::Right(b) => b.invalidate(target).await,
        }
    }

    async fn invalidate_unknown(
        &self,
        target: &InvalidationTarget,
        grace: Duration,
    ) -> Result<GraceScope, BackendError> {
        match self {
            Self::Left(a) => a.invalidate_unknown(target, grace).await,
            Self::Right(b) => b.invalidate_unknown(target, grace).await,
        }
    }

    async fn invalidate_many(
        &self,
        targets: &[InvalidationTarget],
        grace: Option<Duration>,
    ) -> Result<(), BackendError> {
        match self {
            Self::Left(a) => a.invalidate_many(targets, grace).await,
            Self::Right(b) => b.invalidate_many(targets, grace).await,
        }
    }

    async fn expire(
        &self,
        targets: &[InvalidationTarget],
        at: Moment,
        ago: Duration,
    ) -> Result<(), BackendError> {
        match self {
            Self::Left(a) => a.expire(targets, at, ago).await,
            Self::Right(b) => b.expire(targets, at, ago).await,
        }
    }

    async fn expire_all(&self, now: Moment) -> Result<(), BackendError> {
        match self {
            Self::Left(a) => a.expire_all(now).await,
            Self::Right(b) => b.expire_all(now).await,
        }
    }

    async fn clear(&self) -> Result<(), BackendError> {
        match self {
            Self::Left(a) => a.clear().await,
            Self::Right(b) => b.clear().await,
        }
    }

    fn seed(&self) -> DigestSeed {
        match self {
            Self::Left(a) => a.seed(),
            Self::Right(b) => b.seed(),
        }
    }

    fn max_response_size(&self) -> u64 {
        match self {
            Self::Left(a) => a.max_response_size(),
            Self::Right(b) => b.max_response_size(),
        }
    }

    fn usage(&self) -> Option<Usage> {
        match self {
            Self::Left(a) => a.usage(),
            Self::Right(b) => b.usage(),
        }
    }

    fn transferred_bytes(&self) -> u64 {
        match self {
            Self::Left(a) => a.transferred_bytes(),
            Self::Right(b) => b.transferred_bytes(),
        }
    }

    fn health(&self) -> Option<Health> {
        match self {
            Self::Left(a) => a.health(),
            Self::Right(b) => b.health(),
        }
    }

    async fn drain(&self) {
        match self {
            Self::Left(a) => a.drain().await,
            Self::Right(b) => b.drain().await,
        }
    }
}
