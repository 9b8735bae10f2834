//! A backend that may be switched off at run time.

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

/// A backend, or none: every lookup of `None` is a miss, and no response is captured or stored.
impl<B: Backend> Backend for Option<B> {
    type Fence = Option<B::Fence>;

    fn get_now(&self, key: &CacheKey) -> Option<Lookup<Self::Fence>> {
        match self {
            Some(backend) => backend.get_now(key).map(|found| found.map_fence(Some)),
            None => Some(Lookup::Miss(None)),
        }
    }

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<Self::Fence>, BackendError> {
        match self {
            Some(backend) => Ok(backend.get(key, now).await?.map_fence(Some)),
            None => Ok(Lookup::Miss(None)),
        }
    }

    async fn peek(&self, key: &CacheKey, now: Moment) -> Result<Lookup<Self::Fence>, BackendError> {
        match self {
            Some(backend) => Ok(backend.peek(key, now).await?.map_fence(Some)),
            None => Ok(Lookup::Miss(None)),
        }
    }

    async fn get_with_variant(
        &self,
        key: &CacheKey,
        variant: &CacheKey,
        now: Moment,
    ) -> Result<LookupWithVariant<Self::Fence>, BackendError> {
        let Some(backend) = self else {
            return Ok((self.get(key, now).await?, None));
        };
        let (found, other) = backend.get_with_variant(key, variant, now).await?;
        let convert = |lookup: Lookup<_>| lookup.map_fence(Some);
        Ok((convert(found), other.map(convert)))
    }

    async fn read_body(
        &self,
        response: &StoredResponse,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, BackendError> {
        match self {
            Some(backend) => backend.read_body(response, range).await,
            None => Ok(None),
        }
    }

    async fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> Result<Option<Self::Fence>, BackendError> {
        match self {
            Some(backend) => Ok(backend.fence(resource).await?.map(Some)),
            None => Ok(None),
        }
    }

    fn join_decision(
        &self,
        resource: &Resource,
        flight: &Self::Fence,
        own: &Self::Fence,
    ) -> JoinDecision {
        match (self, flight, own) {
            (Some(backend), Some(flight), Some(own)) => {
                backend.join_decision(resource, flight, own)
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
            (Some(backend), Some(flight), Some(own)) => {
                backend.has_current_groups(groups, flight, own)
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
            (Some(backend), Some(fence)) => backend.is_still_valid(key, response, fence),
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
            (Some(backend), Some(fence)) => backend.put(key, fence, response, now).await,
            _ => Ok(PutOutcome::TooLarge),
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
            (Some(backend), Some(fence)) => backend.replace(key, fence, response, now).await,
            _ => {
                self.invalidate(&InvalidationTarget::Resource(*key.resource()))
                    .await?;
                Ok(PutOutcome::TooLarge)
            }
        }
    }

    async fn remove(&self, key: &CacheKey, fence: Self::Fence) -> Result<bool, BackendError> {
        match (self, fence) {
            (Some(backend), Some(fence)) => backend.remove(key, fence).await,
            (Some(_), None) => Ok(false),
            (None, _) => Ok(true),
        }
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        match self {
            Some(backend) => backend.invalidate(target).await,
            None => Ok(()),
        }
    }

    async fn invalidate_unknown(
        &self,
        target: &InvalidationTarget,
        grace: Duration,
    ) -> Result<GraceScope, BackendError> {
        match self {
            Some(backend) => backend.invalidate_unknown(target, grace).await,
            None => Ok(GraceScope::OneCache),
        }
    }

    async fn invalidate_many(
        &self,
        targets: &[InvalidationTarget],
        grace: Option<Duration>,
    ) -> Result<(), BackendError> {
        match self {
            Some(backend) => backend.invalidate_many(targets, grace).await,
            None => Ok(()),
        }
    }

    async fn expire(
        &self,
        targets: &[InvalidationTarget],
        at: Moment,
        ago: Duration,
    ) -> Result<(), BackendError> {
        match self {
            Some(backend) => backend.expire(targets, at, ago).await,
            None => Ok(()),
        }
    }

    async fn expire_all(&self, now: Moment) -> Result<(), BackendError> {
        match self {
            Some(backend) => backend.expire_all(now).await,
            None => Ok(()),
        }
    }

    async fn clear(&self) -> Result<(), BackendError> {
        match self {
            Some(backend) => backend.clear().await,
            None => Ok(()),
        }
    }

    fn seed(&self) -> DigestSeed {
        self.as_ref().map_or_else(DigestSeed::default, B::seed)
    }

    fn max_response_size(&self) -> u64 {
        self.as_ref().map_or(0, B::max_response_size)
    }

    fn usage(&self) -> Option<Usage> {
        self.as_ref().map_or(Some(Usage::default()), B::usage)
    }

    fn transferred_bytes(&self) -> u64 {
        self.as_ref().map_or(0, B::transferred_bytes)
    }

    fn health(&self) -> Option<Health> {
        self.as_ref()?.health()
    }

    async fn drain(&self) {
        if let Some(backend) = self {
            backend.drain().await;
        }
    }
}
