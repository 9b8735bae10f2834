//! Backends chosen when the program runs.

use std::sync::Arc;

use super::{
    Backend, BackendError, CacheKey, DigestSeed, Health, Lookup, Moment, Put, Resource,
    StoredResponse, Target, Usage,
};

/// One of two backends, or one of two backends' fences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first.
    Left(A),
    /// The second.
    Right(B),
}

impl<F> Lookup<F> {
    /// The same with another fence.
    pub fn map_fence<G>(self, make: impl FnOnce(F) -> G) -> Lookup<G> {
        match self {
            Self::Found(response, fence) => Lookup::Found(response, make(fence)),
            Self::Varies(rule, fence) => Lookup::Varies(rule, make(fence)),
            Self::Miss(fence) => Lookup::Miss(make(fence)),
        }
    }
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

    async fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> Result<Option<Self::Fence>, BackendError> {
        match self {
            Self::Left(a) => Ok(a.fence(resource).await?.map(Either::Left)),
            Self::Right(b) => Ok(b.fence(resource).await?.map(Either::Right)),
        }
    }

    fn may_join(&self, resource: &Resource, flight: &Self::Fence, own: &Self::Fence) -> bool {
        match (self, flight, own) {
            (Self::Left(a), Either::Left(flight), Either::Left(own)) => {
                a.may_join(resource, flight, own)
            }
            (Self::Right(b), Either::Right(flight), Either::Right(own)) => {
                b.may_join(resource, flight, own)
            }
            _ => false,
        }
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        match (self, fence) {
            (Self::Left(a), Either::Left(fence)) => a.put(key, fence, response, now).await,
            (Self::Right(b), Either::Right(fence)) => b.put(key, fence, response, now).await,
            _ => Ok(Put::Superseded),
        }
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        match (self, fence) {
            (Self::Left(a), Either::Left(fence)) => a.replace(key, fence, response, now).await,
            (Self::Right(b), Either::Right(fence)) => b.replace(key, fence, response, now).await,
            _ => {
                self.invalidate(&Target::Resource(*key.resource())).await?;
                Ok(Put::Superseded)
            }
        }
    }

    async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
        match self {
            Self::Left(a) => a.invalidate(target).await,
            Self::Right(b) => b.invalidate(target).await,
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

    fn largest(&self) -> u64 {
        match self {
            Self::Left(a) => a.largest(),
            Self::Right(b) => b.largest(),
        }
    }

    fn usage(&self) -> Option<Usage> {
        match self {
            Self::Left(a) => a.usage(),
            Self::Right(b) => b.usage(),
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

/// A backend or none: without one every lookup is a miss and nothing is stored or captured.
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

    async fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> Result<Option<Self::Fence>, BackendError> {
        match self {
            Some(backend) => Ok(backend.fence(resource).await?.map(Some)),
            None => Ok(None),
        }
    }

    fn may_join(&self, resource: &Resource, flight: &Self::Fence, own: &Self::Fence) -> bool {
        match (self, flight, own) {
            (Some(backend), Some(flight), Some(own)) => backend.may_join(resource, flight, own),
            _ => false,
        }
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        match (self, fence) {
            (Some(backend), Some(fence)) => backend.put(key, fence, response, now).await,
            _ => Ok(Put::TooLarge),
        }
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        match (self, fence) {
            (Some(backend), Some(fence)) => backend.replace(key, fence, response, now).await,
            _ => {
                self.invalidate(&Target::Resource(*key.resource())).await?;
                Ok(Put::TooLarge)
            }
        }
    }

    async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
        match self {
            Some(backend) => backend.invalidate(target).await,
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

    fn largest(&self) -> u64 {
        self.as_ref().map_or(0, B::largest)
    }

    fn usage(&self) -> Option<Usage> {
        self.as_ref().map_or(Some(Usage::default()), B::usage)
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
