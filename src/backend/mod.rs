//! Where stored responses live: the contract, and the backends that keep it.
//!
//! Knows keys and stored responses. Does not know requests, freshness or who asks: whether what is found may be used is
//! the verdict's business.

pub mod codec;
pub mod conformance;
mod either;
mod error;
mod guarded;
mod health;
mod memory;
#[cfg(feature = "redis")]
pub mod redis;

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

pub use either::Either;
pub use error::BackendError;
pub use guarded::{Guarded, GuardedFence};
pub use health::{BreakerState, Health};
pub use memory::{MemoryBackend, MemoryFence};
#[cfg(feature = "redis")]
pub use redis::RedisBackend;

pub use crate::key::{CacheKey, DigestSeed, Resource};
pub use crate::semantics::freshness::Freshness;
pub use crate::semantics::freshness::Staleness;
pub use crate::semantics::groups::Group;
pub use crate::semantics::moment::Moment;
pub use crate::semantics::ranges::PartialContent;
pub use crate::semantics::stored::StoredResponse;
pub use crate::semantics::vary::VaryRule;

/// How many variants of one key are kept, unless that is said.
pub(crate) const MOST_VARIANTS: usize = 32;

/// What a lookup found, fresh or not, with the fence of the fill that may follow.
#[derive(Clone, Debug)]
pub enum Lookup<F> {
    /// A response under the very key that was asked for.
    Found(Arc<StoredResponse>, F),
    /// The responses under this key vary: ask again with [`CacheKey::variant_for`] this rule.
    Varies(Arc<VaryRule>, F),
    /// Nothing.
    Miss(F),
}

/// What became of a response that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// It is stored.
    Stored,
    /// Its resource, or a group that it is in, was invalidated after the fence was captured: it is not stored.
    Superseded,
    /// It is larger than this backend takes: it is not stored.
    TooLarge,
}

/// What is invalidated.
///
/// A backend that meets a target it does not know must [`clear`](Backend::clear): too much is safe, too little is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// A resource, by its digest: all queries and variants of it, and every fill of it in flight.
    Resource(Resource),
    /// A group: every response that is in it (RFC 9875), and every fill in flight that would be.
    Group(Group),
}

/// What a backend holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Entries held, a backend's own records included.
    pub entries: u64,
    /// Bytes of memory these entries hold.
    pub bytes: u64,
    /// Entries that were pushed out for want of room, since the backend was made.
    pub evictions: u64,
}

/// A store of responses with a *fence*, which is what makes it safe to fill while others write.
///
/// # The contract
///
/// The classic cache interface is get, set with expiry, delete. Between a fill's `get` and its `set` a write may change
/// what the fill has read, and then the `set` stores the past. So here a lookup hands out a fence *with* its answer, and
/// `put` refuses when the resource was invalidated since:
///
/// * **A fence is captured before the inner service is called**, by [`get_now`](Self::get_now), [`get`](Self::get) or
///   [`fence`](Self::fence), at some moment between that method's call and its return.
/// * **[`put`](Self::put) compares and stores in one step.** If an [`invalidate`](Self::invalidate) of the key's resource
///   took effect after the fence was captured, it stores nothing and answers [`Put::Superseded`]. It may refuse more than
///   that (fences may be coarse), never less.
/// * **[`invalidate`](Self::invalidate) has taken effect when it returns `Ok`**: no later lookup finds a response that was
///   stored before, and no fence captured before stores anything. Its cost to the caller does not grow with the number of
///   queries and variants. Repeating it is harmless. `Err` means "unknown": it may have taken effect, or may yet.
/// * **A group is invalidated through its members** ([`StoredResponse::groups`]): once `invalidate` of a [`Target::Group`]
///   has returned `Ok`, no lookup finds a member that was stored before, and a fence captured before stores no member,
///   though which groups a fill is in is known only when it stores. That holds for [`replace`](Self::replace), too. Others
///   are not concerned, or as few as a coarse fence must.
/// * **Losing is always allowed.** A response, or what makes it reachable, may vanish at any time. Bringing one back is not.
/// * A put under a key with a variant also records the response's rule under [`CacheKey::primary`], where lookups find it
///   as [`Lookup::Varies`].
///
/// All methods may be cancelled at any await point and may then have taken effect or not. None may block the thread.
/// Errors never reach a client: a failed lookup is a miss that is not stored.
///
/// [`conformance::check`] holds a backend against all of this; [`codec`] makes bytes of a response for those that keep it
/// elsewhere.
///
/// # A whole backend
///
/// One map behind one lock, whose fence is the number of invalidations so far. It grows without bound and invalidates
/// in time proportional to its size; it is otherwise correct.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex};
/// use tower_response_cache::backend::*;
///
/// #[derive(Clone, Default)]
/// struct OneMap(Arc<Mutex<State>>);
///
/// #[derive(Default)]
/// struct State {
///     invalidations: u64,
///     responses: HashMap<CacheKey, Arc<StoredResponse>>,
///     rules: HashMap<CacheKey, Arc<VaryRule>>,
/// }
///
/// impl Backend for OneMap {
///     type Fence = u64;
///
///     async fn get(&self, key: &CacheKey, _: Moment) -> Result<Lookup<u64>, BackendError> {
///         let state = self.0.lock().unwrap();
///         let fence = state.invalidations;
///         Ok(match (state.responses.get(key), state.rules.get(key)) {
///             (Some(response), _) => Lookup::Found(response.clone(), fence),
///             (None, Some(rule)) => Lookup::Varies(rule.clone(), fence),
///             (None, None) => Lookup::Miss(fence),
///         })
///     }
///
///     async fn fence(&self, _: Option<&Resource>) -> Result<Option<u64>, BackendError> {
///         Ok(Some(self.0.lock().unwrap().invalidations))
///     }
///
///     async fn put(&self, key: &CacheKey, fence: u64, response: Arc<StoredResponse>, _: Moment) -> Result<Put, BackendError> {
///         let mut state = self.0.lock().unwrap();
///         if state.invalidations != fence {
///             return Ok(Put::Superseded);
///         }
///         match response.vary_rule() {
///             Some(rule) => state.rules.insert(key.primary(), rule.clone()),
///             None => state.rules.remove(key),
///         };
///         state.responses.insert(*key, response);
///         Ok(Put::Stored)
///     }
///
///     async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
///         let mut state = self.0.lock().unwrap();
///         state.invalidations += 1;
///         match target {
///             Target::Resource(resource) => {
///                 state.responses.retain(|key, _| key.resource() != resource);
///                 state.rules.retain(|key, _| key.resource() != resource);
///             }
///             Target::Group(group) => state.responses.retain(|_, response| !response.groups().contains(group)),
///             _ => {
///                 state.responses.clear();
///                 state.rules.clear();
///             }
///         }
///         Ok(())
///     }
///
///     async fn clear(&self) -> Result<(), BackendError> {
///         let mut state = self.0.lock().unwrap();
///         state.invalidations += 1;
///         state.responses.clear();
///         state.rules.clear();
///         Ok(())
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(
/// conformance::check(OneMap::default)
/// # );
/// ```
pub trait Backend: Clone + Send + Sync + 'static {
    /// What a fill captured before it began and must still hold when it stores.
    type Fence: Clone + PartialEq + Debug + Send + Sync + 'static;

    /// A lookup that needs no waiting; `None` (the default) if this backend, or this lookup, needs some.
    ///
    /// A hit answered from here costs no boxed future. Must not block.
    fn get_now(&self, key: &CacheKey) -> Option<Lookup<Self::Fence>> {
        let _ = key;
        None
    }

    /// Looks a key up; `now` is the moment a response that is kept elsewhere is read at, see [`codec::decode`].
    ///
    /// # Errors
    /// When the backend cannot be asked.
    fn get(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> impl Future<Output = Result<Lookup<Self::Fence>, BackendError>> + Send;

    /// Captures a fence without a lookup, for a write that may store its own answer.
    ///
    /// Without a resource, the fence must serve for whichever one the write's answer will name. `Ok(None)` if this
    /// backend has no such fence; the write then only invalidates.
    ///
    /// # Errors
    /// When the backend cannot be asked.
    fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> impl Future<Output = Result<Option<Self::Fence>, BackendError>> + Send;

    /// Whether a request whose own lookup gave it `own` may be answered by a fill that began under `flight`: no
    /// invalidation of the resource, and none of any group, took effect between the capture of `flight` and that of `own`.
    /// Which groups the fill is in, nobody knows yet.
    ///
    /// Asked after `own` was captured; may say no at any time, which costs a call to the inner service. By default equal
    /// fences only.
    fn may_join(&self, resource: &Resource, flight: &Self::Fence, own: &Self::Fence) -> bool {
        let _ = resource;
        flight == own
    }

    /// Stores a response if its fence still holds; `now` is the moment it is written at, see [`codec::encode`].
    ///
    /// # Errors
    /// When the backend could not be asked; the response may be stored all the same.
    fn put(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> impl Future<Output = Result<Put, BackendError>> + Send;

    /// Invalidates the key's resource and, if the fence held until then, stores the response: both in one step.
    ///
    /// The default never stores.
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate).
    fn replace(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> impl Future<Output = Result<Put, BackendError>> + Send {
        let _ = (fence, response, now);
        let target = Target::Resource(*key.resource());
        async move { self.invalidate(&target).await.map(|()| Put::Superseded) }
    }

    /// Invalidates.
    ///
    /// # Errors
    /// When it is not known to have taken effect.
    fn invalidate(&self, target: &Target) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Invalidates everything.
    ///
    /// # Errors
    /// When it is not known to have taken effect.
    fn clear(&self) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// The seed of digests: equal for everyone who shares what is stored here.
    fn seed(&self) -> DigestSeed {
        DigestSeed::default()
    }

    /// The largest response this backend takes, in bytes of its [weight](StoredResponse::weight). What is known to be
    /// larger is not even captured. No limit by default.
    fn largest(&self) -> u64 {
        u64::MAX
    }

    /// What is held, where that can be told at no cost.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// How it is doing, for one that can fail.
    fn health(&self) -> Option<Health> {
        None
    }

    /// Delivers what it still owes to whoever shares it. Called when the cache shuts down, which limits it in time.
    fn drain(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}
