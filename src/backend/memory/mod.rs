//! Stored responses in the memory of this process: limited in bytes, invalidated in constant time.
//!
//! ```text
//! mod              MemoryBackend: implements Backend    builder   its options
//! store            the operations, their locks           entry     entries and their weight
//! slots            where a resource's responses lie      map       entries by slot; evicts them
//! fence            invalidations of resources            groups    invalidations of groups
//! variants         the variants under one key            evicted   what the map evicts
//! expiry           makes responses stale                 expirations   tokens of stale responses
//! ```
//!
//! The first response of a resource shares a slot, the *head*, with the *record* of the resource.
//! All other responses are valid only under the token in the head. An invalidation removes the
//! head: responses stored under its token are out of reach from then on and are evicted later. The
//! eviction of a head has the effect of an invalidation. The members of an invalidated group stay
//! in place: each lookup compares the number of the group's last invalidation with that of the
//! member.
//!
//! Locks are taken in this order: a stripe of the fences, then the map's own (see `map`). Code that
//! runs under these takes no stripe.
//!
//! Start reading at `store`.

mod builder;
mod entry;
mod evicted;
mod expirations;
mod expiry;
mod fence;
mod groups;
mod map;
#[cfg(all(test, trc_loom))]
mod model;
mod slots;
mod store;
#[cfg(test)]
mod tests;
mod variants;

use std::sync::Arc;
use std::time::Duration;

pub use self::builder::MemoryBackendBuilder;
pub use self::fence::MemoryFence;
use self::store::MemoryStore;
use super::{
    Backend, BackendError, Group, InvalidationTarget, JoinDecision, Lookup, PutOutcome,
    StoredResponse, Usage,
};
use crate::key::{CacheKey, DigestSeed, Resource};
use crate::semantics::moment::Moment;

/// Stores responses in the memory of this process.
///
/// Clones share the stored responses. Keys, headers, bodies and bookkeeping together take at most
/// the capacity, in bytes; entries that are used least are evicted first (a variant of S3-FIFO).
/// Expired responses that may not be used stale either are removed when new ones are stored. An
/// invalidation takes the same time for any number of queries and variants. No operation fails or
/// waits.
///
/// Each thread that answers from stored responses also remembers header fields of the last ones, in
/// at most 640 KiB that are not part of the capacity. Beyond that, the fields of a response are
/// made anew for each answer.
///
/// ```
/// use tower_response_cache::backend::MemoryBackend;
///
/// const MIB: u64 = 1024 * 1024;
/// let backend = MemoryBackend::builder()
///     .capacity(256 * MIB)
///     .max_response_size(5 * MIB)
///     .build();
/// ```
#[derive(Clone, Debug)]
pub struct MemoryBackend(Arc<MemoryStore>);

impl MemoryBackend {
    /// Creates a backend with a capacity in bytes and defaults for all other options.
    ///
    /// With a capacity of 0 nothing is stored.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        Self::builder().capacity(capacity).build()
    }

    /// Returns a builder with default options: a capacity of 64 MiB, responses of up to 2 MiB, 32
    /// variants of a key.
    pub fn builder() -> MemoryBackendBuilder {
        MemoryBackendBuilder::default()
    }
}

impl Default for MemoryBackend {
    /// Creates a backend with a capacity of 64 MiB that stores responses of up to 2 MiB.
    fn default() -> Self {
        Self::builder().build()
    }
}

impl Backend for MemoryBackend {
    type Fence = MemoryFence;

    fn get_now(&self, key: &CacheKey) -> Option<Lookup<MemoryFence>> {
        Some(self.0.get(key))
    }

    async fn get(&self, key: &CacheKey, _: Moment) -> Result<Lookup<MemoryFence>, BackendError> {
        Ok(self.0.get(key))
    }

    async fn fence(&self, _: Option<&Resource>) -> Result<Option<MemoryFence>, BackendError> {
        Ok(Some(self.0.fences.capture()))
    }

    fn join_decision(
        &self,
        resource: &Resource,
        flight: &MemoryFence,
        own: &MemoryFence,
    ) -> JoinDecision {
        // A fence is the number of invalidations so far: if some lie in between, their targets
        // decide.
        match own <= flight {
            true => JoinDecision::Join,
            false => self.0.join_decision(resource, *flight),
        }
    }

    fn has_current_groups(&self, groups: &[Group], flight: &MemoryFence, _: &MemoryFence) -> bool {
        self.0.groups.none_since(groups, *flight)
    }

    fn is_still_valid(&self, key: &CacheKey, response: &StoredResponse, _: &MemoryFence) -> bool {
        self.0.is_still_valid(key, response)
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: MemoryFence,
        response: Arc<StoredResponse>,
        _: Moment,
    ) -> Result<PutOutcome, BackendError> {
        Ok(self.0.put(key, fence, response))
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: MemoryFence,
        response: Arc<StoredResponse>,
        _: Moment,
    ) -> Result<PutOutcome, BackendError> {
        Ok(self.0.replace(key, fence, response))
    }

    async fn remove(&self, key: &CacheKey, fence: MemoryFence) -> Result<bool, BackendError> {
        Ok(self.0.remove(key, fence))
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        match target {
            InvalidationTarget::Resource(resource) => self.0.invalidate(*resource),
            InvalidationTarget::Group(group) => self.0.groups.invalidate(group, &self.0.fences),
        }
        Ok(())
    }

    async fn expire(
        &self,
        targets: &[InvalidationTarget],
        at: Moment,
        _: Duration,
    ) -> Result<(), BackendError> {
        for target in targets {
            match target {
                InvalidationTarget::Resource(resource) => self.0.expire(resource, at),
                InvalidationTarget::Group(group) => {
                    self.0.groups.expire(group, at, &self.0.fences);
                }
            }
        }
        Ok(())
    }

    async fn expire_all(&self, now: Moment) -> Result<(), BackendError> {
        self.0.expire_all(now);
        Ok(())
    }

    async fn clear(&self) -> Result<(), BackendError> {
        self.0.clear();
        Ok(())
    }

    fn seed(&self) -> DigestSeed {
        self.0.options.seed
    }

    fn max_response_size(&self) -> u64 {
        self.0.options.max_response_size
    }

    fn usage(&self) -> Option<Usage> {
        Some(self.0.usage())
    }
}
