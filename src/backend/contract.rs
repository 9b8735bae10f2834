//! The contract between the cache and the place where its responses are stored.

use std::fmt::Debug;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{
    BackendError, GraceScope, Group, Health, InvalidationTarget, JoinDecision, Lookup,
    LookupWithVariant, PutOutcome, StoredResponse, Usage,
};
use crate::key::{CacheKey, DigestSeed, Resource};
use crate::semantics::moment::Moment;

/// A store of responses that refuses to store outdated ones.
///
/// A *fill* is a call to the inner service after a miss, together with the storing of its response.
/// With the common cache interface (*get*, *set with expiry*, *delete*) a fill has a race: between
/// its *get* and its *set*, a write may change the data that the inner service has already read,
/// and the *set* then stores the old state until it expires. Here every lookup also captures a
/// **fence**, and [`put`](Self::put) refuses to store if the resource was invalidated since.
///
/// # Who calls what
///
/// For a read, the cache calls [`get_now`](Self::get_now), and [`get`](Self::get) if that returns
/// `None`. On a miss it calls the inner service and then [`put`](Self::put) with the fence of the
/// lookup.
///
/// ```text
/// read   get_now / get ── Found ──> answer, if fresh (read_body, if the body is not here)
///                      ── Varies ─> get_now / get under the variant's key
///                      ── Miss ───> join_decision a fill in flight? ─ no ─> inner service ──> put
///                      ── Found, not fresh ──> the same; is_still_valid? ── yes ──> validators
///                      ── Unfenced > inner service, nothing is stored
/// write  fence ──> inner service ──> replace (write-through) or invalidate ──> answer
/// ```
///
/// A write is answered after [`invalidate`](Self::invalidate) or [`replace`](Self::replace) has
/// returned, or [`invalidate_unknown`](Self::invalidate_unknown) if it may still be committed.
/// [`CacheHandle::clear`](crate::CacheHandle::clear) calls [`clear`](Self::clear), and so
/// does a write whose response names too many groups.
/// [`CacheHandle::expire`](crate::CacheHandle::expire) calls [`expire`](Self::expire).
/// [`CacheHandle::shutdown`](crate::CacheHandle::shutdown) calls [`drain`](Self::drain).
///
/// # The rules
///
/// * **A fence is captured before the inner service is called**, by `get_now`, `get` or `fence`, at
///   some moment between the call of that method and its return.
/// * **`put` compares and stores in one step.** If an invalidation of the key's resource took
///   effect after the fence was captured, it stores nothing and answers [`PutOutcome::Superseded`].
///   Refusing more than that is allowed, because a fence may cover several resources; storing an
///   outdated response never is.
/// * **`invalidate` has taken effect when it returns `Ok`.** No later lookup finds a response that
///   was stored before, and no `put` stores one with a fence that was captured before. Its cost
///   does not grow with the number of queries and variants. Repeating it is harmless. `Err` means
///   that the outcome is unknown: the invalidation may have taken effect, or may take effect later.
/// * **A group is invalidated with all its members**, the stored responses whose
///   [`groups`](super::StoredResponse::groups) contain it. Once `invalidate` of an
///   [`InvalidationTarget::Group`] has returned `Ok`, no lookup finds a member that was stored
///   before, and no `put` stores one with a fence that was captured before, although the groups of
///   a fill are known only when it stores. Responses outside of the group stay stored, but a fence
///   captured before may refuse to store new responses that belong to other groups.
/// * **An expired response stays, stale.** [`expire`](Self::expire) breaks fences as `invalidate`
///   does: no `put` stores a response whose fill began before. Unlike `invalidate`, it keeps the
///   stored responses, as ones whose lifetime has ended. A backend may remove them instead.
/// * **Losing an entry is always allowed, bringing one back is not.** A response may be evicted at
///   any time. A response that was removed, invalidated or replaced is never found again.
/// * **A variant records its rule.** A variant is one of several responses to one primary key that
///   differ by the request fields in `Vary`; the rule is the list of these fields. Each variant has
///   a key of its own: the primary key with a digest of the values of these fields. A `put` under
///   such a key also stores the response's [`VaryRule`](super::VaryRule) under
///   [`CacheKey::primary`], where lookups find it as [`Lookup::Varies`]. When another rule, or a
///   response without one, replaces that rule, its variants are removed: they are older, and must
///   not be found when the rule comes back.
///
/// # Errors, cancellation, blocking
///
/// An error never reaches a client, only the caller of a [`CacheHandle`](crate::CacheHandle). A
/// failed lookup is a miss whose response is not stored; a failed `put` is counted and logged; a
/// failed invalidation is logged, and the write is answered. Put a backend that can fail into a
/// [`Guarded`](super::Guarded), which delivers such invalidations later.
///
/// A panic in an operation is an error of that operation, also one in its future; a panic in
/// `get_now` sends the lookup to `get`. After one in `join_decision` the answer is
/// [`JoinDecision::Refuse`], after one in `has_current_groups` or `is_still_valid` it is `false`.
///
/// The future of every method may be dropped at any await point. The operation may then have taken
/// effect or not. No method may block the thread.
///
/// # Wrappers
///
/// A type that wraps another backend and changes a few operations implements
/// [`ForwardBackend`](super::ForwardBackend) instead: operations it does not mention are forwarded.
///
/// # A complete backend
///
/// This backend is one map behind one lock. Its fence is the number of invalidations so far. The
/// map grows without bound, and an invalidation takes time proportional to its size; otherwise the
/// backend keeps the contract. With the feature `test-util`, `backend::conformance::check` tests a
/// backend against all of the rules.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex};
/// use tower_response_cache::backend::*;
/// use tower_response_cache::clock::Moment;
/// use tower_response_cache::key::{CacheKey, Resource};
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
///     // Response and fence are read in one step, so a fence that holds vouches for both.
///     fn is_still_valid(&self, _: &CacheKey, _: &StoredResponse, fence: &u64) -> bool {
///         self.0.lock().unwrap().invalidations == *fence
///     }
///
///     async fn put(
///         &self,
///         key: &CacheKey,
///         fence: u64,
///         response: Arc<StoredResponse>,
///         _: Moment,
///     ) -> Result<PutOutcome, BackendError> {
///         let mut state = self.0.lock().unwrap();
///         if state.invalidations != fence {
///             return Ok(PutOutcome::Superseded);
///         }
///         let (primary, rule) = (key.primary(), response.vary_rule().cloned());
///         if state.rules.get(&primary) != rule.as_ref() {
///             state.responses.retain(|other, _| other.primary() != primary);
///             state.rules.remove(&primary);
///         }
///         state.rules.extend(rule.map(|rule| (primary, rule)));
///         state.responses.insert(*key, response);
///         Ok(PutOutcome::Stored)
///     }
///
///     async fn remove(&self, key: &CacheKey, fence: u64) -> Result<bool, BackendError> {
///         let mut state = self.0.lock().unwrap();
///         let holds = state.invalidations == fence;
///         if holds {
///             state.responses.remove(key);
///             state.rules.remove(key);
///         }
///         Ok(holds)
///     }
///
///     async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
///         let mut state = self.0.lock().unwrap();
///         state.invalidations += 1;
///         match target {
///             InvalidationTarget::Resource(resource) => {
///                 state.responses.retain(|key, _| key.resource() != resource);
///                 state.rules.retain(|key, _| key.resource() != resource);
///             }
///             InvalidationTarget::Group(group) => {
///                 state.responses.retain(|_, response| !response.groups().contains(group));
///             }
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
/// # #[cfg(feature = "test-util")]
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(
/// conformance::check(OneMap::default)
/// # );
/// ```
pub trait Backend: Clone + Send + Sync + 'static {
    /// The state that a fill captures before it starts and that must still hold when it stores.
    type Fence: Clone + PartialEq + Debug + Send + Sync + 'static;

    /// Looks a key up without waiting.
    ///
    /// The default returns `None`: this backend, or this lookup, has to wait, and the cache calls
    /// [`get`](Self::get) next. Implement it if a lookup needs no I/O: the cache then serves hits
    /// without boxing a future. It must not block.
    fn get_now(&self, key: &CacheKey) -> Option<Lookup<Self::Fence>> {
        let _ = key;
        None
    }

    /// Looks a key up.
    ///
    /// `now` is the time of the lookup, from which a backend outside of this process computes the
    /// age of the response (see [`codec::decode`](super::codec::decode)).
    ///
    /// # Errors
    /// If the backend fails or cannot be reached. The cache then calls the inner service and does
    /// not store its response.
    fn get(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> impl Future<Output = Result<Lookup<Self::Fence>, BackendError>> + Send;

    /// Looks a key up for an explanation, as [`get`](Self::get) does, but without a trace.
    ///
    /// Nothing is counted, and neither its failure nor its success says anything of the backend's
    /// health: an operator who looks must not change what others get. A backend that keeps such
    /// records overrides it, and fails where `get` would fail at once.
    ///
    /// The default calls `get`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn peek(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> impl Future<Output = Result<Lookup<Self::Fence>, BackendError>> + Send {
        self.get(key, now)
    }

    /// Looks a key up together with the variant that it is expected to lead to.
    ///
    /// The cache calls it instead of [`get`](Self::get) for a key whose responses varied when it
    /// was looked up last: a backend that answers both in one round trip saves the second. The
    /// result is that of `get` for `key`, and that of `get` for `variant`, or `None` if that was
    /// not looked up. The cache uses the latter only if the former is [`Lookup::Varies`] with the
    /// expected rule.
    ///
    /// The default calls `get` for `key` alone.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn get_with_variant(
        &self,
        key: &CacheKey,
        variant: &CacheKey,
        now: Moment,
    ) -> impl Future<Output = Result<LookupWithVariant<Self::Fence>, BackendError>> + Send {
        let _ = variant;
        async move { Ok((self.get(key, now).await?, None)) }
    }

    /// Reads bytes of the body of a response that a lookup has found without it.
    ///
    /// A backend may answer a lookup with a large response that has
    /// [no whole body](StoredResponse::has_whole_body). The cache then reads what the request
    /// needs: nothing for a 304 or HEAD, a range, or all. `Ok(None)` means that the body, or this
    /// range of it, is gone: it has been removed, replaced or damaged since the lookup. The cache
    /// then looks the response up once more. Bytes of another body are never returned.
    ///
    /// The default returns `Ok(None)`, which is right for a backend whose responses are whole. A
    /// wrapper has to forward it.
    ///
    /// # Errors
    /// If the backend fails or cannot be reached. The cache then calls the inner service and does
    /// not store its response.
    fn read_body(
        &self,
        response: &StoredResponse,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Option<Bytes>, BackendError>> + Send {
        let _ = (response, range);
        async { Ok(None) }
    }

    /// Captures a fence without a lookup, for a write whose own response may be stored.
    ///
    /// With `Some`, the fence must cover that resource. With `None`, it must cover every resource,
    /// because only the response of the write names the one to store. `Ok(None)` means that this
    /// backend has no such fence: the write then only invalidates.
    ///
    /// # Errors
    /// If the backend fails or cannot be reached. The write then only invalidates.
    fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> impl Future<Output = Result<Option<Self::Fence>, BackendError>> + Send;

    /// Returns whether a request may share the response of a fill in flight.
    ///
    /// `flight` is the fence of the fill, and `own` that of the request, which its own lookup
    /// captured later. The groups of the fill are not known yet.
    /// [`JoinDecision::CheckGroups`] promises that between the two captures no invalidation of the
    /// resource took effect, [`JoinDecision::Join`] that none of any group did either.
    /// [`JoinDecision::Refuse`] is always safe and costs a call to the inner service. The default
    /// compares the fences for equality.
    fn join_decision(
        &self,
        resource: &Resource,
        flight: &Self::Fence,
        own: &Self::Fence,
    ) -> JoinDecision {
        let _ = resource;
        match flight == own {
            true => JoinDecision::Join,
            false => JoinDecision::Refuse,
        }
    }

    /// Returns whether a request that was told [`JoinDecision::CheckGroups`] may share the response
    /// of the fill, which is in these groups.
    ///
    /// `true` promises that between the captures of `flight` and `own` no invalidation of one of
    /// these groups took effect. `false` is always safe. The default is `true` for a response in no
    /// group.
    fn has_current_groups(
        &self,
        groups: &[Group],
        flight: &Self::Fence,
        own: &Self::Fence,
    ) -> bool {
        let _ = (flight, own);
        groups.is_empty()
    }

    /// Returns whether the inner service may confirm or complete a stored response.
    ///
    /// `response` and `fence` are from one lookup of `key`. The cache asks right before it calls
    /// the inner service, which may be long after the lookup. With `true` it sends the validators
    /// of the response (RFC 9111 §4.3), or asks only for the range missing beside stored parts
    /// (§3.3). The answer to such a call may contain the stored body, and a weak validator cannot
    /// tell whether the body is still current.
    ///
    /// `true` promises that neither an invalidation of the resource, nor one of a group of the
    /// response, nor a [`clear`](Self::clear) took effect between the [`put`](Self::put) of the
    /// response and the capture of `fence`. A backend that reads response and fence in one step
    /// keeps this promise. One that captures the fence first has to compare: an invalidation may
    /// break the fences before the capture, and remove the response after it was read.
    ///
    /// An invalidation after the capture needs no answer of `false`: the cache does not store under
    /// a broken fence, and drops the validators if a request with another fence joins the call. A
    /// backend that knows of one without waiting answers `false` all the same, which saves a
    /// useless call.
    ///
    /// The default returns `false`, which is always safe: the inner service is then asked for
    /// complete responses only.
    fn is_still_valid(
        &self,
        key: &CacheKey,
        response: &StoredResponse,
        fence: &Self::Fence,
    ) -> bool {
        let _ = (key, response, fence);
        false
    }

    /// Stores a response if its fence still holds, in one step.
    ///
    /// `now` is the time of the store (see [`codec::encode`](super::codec::encode)).
    ///
    /// # Errors
    /// If the backend fails or cannot be reached. The response may be stored nevertheless.
    fn put(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> impl Future<Output = Result<PutOutcome, BackendError>> + Send;

    /// Invalidates the key's resource, and stores the response if its fence held before that
    /// invalidation, in one step.
    ///
    /// The cache calls it instead of `invalidate` for a write whose response is stored. The
    /// resource is invalidated whatever the outcome. The default only invalidates, and returns
    /// [`PutOutcome::Superseded`].
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate): the invalidation may have taken effect or not.
    fn replace(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> impl Future<Output = Result<PutOutcome, BackendError>> + Send {
        let _ = (fence, response, now);
        let target = InvalidationTarget::Resource(*key.resource());
        async move {
            self.invalidate(&target)
                .await
                .map(|()| PutOutcome::Superseded)
        }
    }

    /// Removes the entry of one key if the fence still holds, in one step.
    ///
    /// `Ok(true)` means that the fence held and that no entry is left under this key. `Ok(false)`
    /// means that the fence no longer holds and that the entry was left alone. Other keys of the
    /// resource stay, and so do all fences. The cache calls this method to remove the stored parts
    /// of a response (RFC 9111 §3.3), once the complete response is stored.
    ///
    /// # Errors
    /// If the backend fails or cannot be reached. The entry may be removed nevertheless. The cache
    /// logs the failure; the parts stay until they expire.
    fn remove(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
    ) -> impl Future<Output = Result<bool, BackendError>> + Send;

    /// Invalidates a resource or a group: see [the rules](Self#the-rules).
    ///
    /// # Errors
    /// If the invalidation was not acknowledged. It may have taken effect or not.
    fn invalidate(
        &self,
        target: &InvalidationTarget,
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Invalidates the target of a write that may still be committed, and refuses to store its
    /// responses for `grace`, at all instances that share the backend.
    ///
    /// The cache calls it instead of [`invalidate`](Self::invalidate) if the outcome of the write
    /// is unknown: after a 5xx, an error, a panic. A fill that begins before the write is committed
    /// would otherwise store outdated data, which nothing invalidates later.
    ///
    /// A backend that answers [`GraceScope::AllInstances`] promises, beyond the rules of
    /// `invalidate`: no response of the target is stored with a fence that was captured before
    /// `grace` has passed. The simplest way is to answer lookups with [`Lookup::Unfenced`], and
    /// [`fence`](Self::fence) with `None`. Neither a later `invalidate` nor a
    /// [`clear`](Self::clear) ends the period early; a second call may extend it.
    ///
    /// The default calls `invalidate` and answers [`GraceScope::OneCache`]: the cache that had the
    /// write stores nothing of the target for that long, and others that share the backend are not
    /// told.
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate). The period may have begun or not.
    fn invalidate_unknown(
        &self,
        target: &InvalidationTarget,
        grace: Duration,
    ) -> impl Future<Output = Result<GraceScope, BackendError>> + Send {
        let _ = grace;
        async move { self.invalidate(target).await.map(|()| GraceScope::OneCache) }
    }

    /// Invalidates several targets: with a `grace` as
    /// [`invalidate_unknown`](Self::invalidate_unknown), without as
    /// [`invalidate`](Self::invalidate).
    ///
    /// A [`Guarded`](super::Guarded) calls it for invalidations that it could not deliver earlier.
    /// The default calls these methods for one target after the other, until one fails. A remote
    /// backend that invalidates many targets with one command overrides it.
    ///
    /// # Errors
    /// If one of them was not acknowledged. Each may have taken effect or not.
    fn invalidate_many(
        &self,
        targets: &[InvalidationTarget],
        grace: Option<Duration>,
    ) -> impl Future<Output = Result<(), BackendError>> + Send {
        invalidate_each(self, targets, grace)
    }

    /// Makes all stored responses of these targets stale, and breaks the fences of their resources
    /// and groups.
    ///
    /// Once it has returned `Ok`, no later lookup finds a response of a target that was stored
    /// before and is still fresh, and no `put` stores one with a fence that was captured before.
    /// The responses stay stored: their lifetime ends at `at`, and the windows in which they may
    /// be used stale or be validated begin then. That was `ago` before this call: no time, unless
    /// the expiration is delivered late. One that is stale already stays as it is. An earlier or
    /// later [`invalidate`](Self::invalidate) still removes.
    ///
    /// [`is_still_valid`](Self::is_still_valid) may be `true` for a response that was expired, and
    /// only expired: its validators are sent, and a 304 makes it fresh.
    ///
    /// The default calls [`invalidate_many`](Self::invalidate_many): the responses are removed
    /// instead, which is always allowed.
    ///
    /// # Errors
    /// If the operation was not acknowledged. Each target may be expired or not.
    fn expire(
        &self,
        targets: &[InvalidationTarget],
        at: Moment,
        ago: Duration,
    ) -> impl Future<Output = Result<(), BackendError>> + Send {
        let _ = (at, ago);
        self.invalidate_many(targets, None)
    }

    /// Makes all stored responses stale, and breaks all fences: [`expire`](Self::expire) of
    /// everything.
    ///
    /// The default calls [`clear`](Self::clear).
    ///
    /// # Errors
    /// As [`expire`](Self::expire).
    fn expire_all(&self, now: Moment) -> impl Future<Output = Result<(), BackendError>> + Send {
        let _ = now;
        self.clear()
    }

    /// Invalidates everything: removes all entries and breaks all fences.
    ///
    /// # Errors
    /// If the operation was not acknowledged. It may have taken effect or not.
    fn clear(&self) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Returns the seed of the digests that keys, resources and groups consist of.
    ///
    /// The cache calls it once, when it is created. Instances that share stored responses must
    /// return the same seed. The default is a fixed, publicly known seed, with which a client could
    /// search for two requests with the same digest: return a secret seed, or a random one if no
    /// other process shares the backend.
    fn seed(&self) -> DigestSeed {
        DigestSeed::default()
    }

    /// Returns the largest response this backend accepts, in bytes of its
    /// [weight](super::StoredResponse::weight).
    ///
    /// The cache keeps no bytes of a body that is known to be larger. Default: no limit. With 0
    /// nothing is stored.
    fn max_response_size(&self) -> u64 {
        u64::MAX
    }

    /// Returns how much is stored. The default returns `None`: the number is unknown, or not
    /// available without waiting.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Returns how many bytes of responses have been transferred to and from the backend so far.
    ///
    /// It tells a slow network from a slow server: a [`Guarded`](super::Guarded) gives lookups more
    /// time for what is transferred meanwhile. The default returns 0: not known.
    fn transferred_bytes(&self) -> u64 {
        0
    }

    /// Returns the health of a backend that can fail. The default returns `None`: not known.
    fn health(&self) -> Option<Health> {
        None
    }

    /// Delivers invalidations that are still pending, before the process ends.
    ///
    /// Each [`CacheHandle::shutdown`](crate::CacheHandle::shutdown) calls it, and drops the future
    /// when its time is over. The default does nothing.
    fn drain(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Invalidates one target after the other, until one fails.
pub(super) async fn invalidate_each<B: Backend>(
    backend: &B,
    targets: &[InvalidationTarget],
    grace: Option<Duration>,
) -> Result<(), BackendError> {
    for target in targets {
        match grace {
            None => backend.invalidate(target).await?,
            Some(grace) => drop(backend.invalidate_unknown(target, grace).await?),
        }
    }
    Ok(())
}
