//! Who answers a request that its first lookup has not answered.
//!
//! ```text
//! public response --no--> private response --no--> parts --no--> 504, if it is only-if-cached
//!                         and its parts                    |---> inner service, past the cache
//!                                                          `---> a fill
//! ```
//!
//! The only place where this is decided. Requests are answered by it, with
//! [`Serving`](super::lookups::Serving) lookups, and explained by it, with lookups that leave no
//! trace. Start with [`who_answers`]; [`is_for_service`] spares most misses the way through it.
//!
//! In its partition a request has another key. Only requests with the same id have that key, and
//! whatever is stored, refused or held against requests there concerns these alone. A response
//! that turns out to be public is stored for all from there as well. A request enters its partition
//! where something is stored for it there, or a public response is expected to be refused;
//! otherwise it joins public flights, and enters its partition if their response is private.

use http::{HeaderMap, Method};

use super::lookups::Lookups;
use super::{CacheAnswer, LookupOutcome};
use crate::backend::Backend;
use crate::semantics::reason::{Bypass, FetchReason};
use crate::service::fill_data::Fill;
use crate::service::parts::find::{answer_from_parts, may_have_parts};
use crate::state::LayerState;
use crate::state::uncacheable::ExpectedRefusal;

/// Who answers a request.
pub(crate) enum Answerer<F> {
    /// The cache, with a stored response.
    Store(CacheAnswer<F>),
    /// The cache, with a 504: the request is `only-if-cached`, and for this reason no stored
    /// response may be used (RFC 9111 §5.2.1.7).
    GatewayTimeout(FetchReason),
    /// The inner service, past the cache.
    Bypass(Bypass),
    /// The inner service, or a call of another request: see `coalesce`.
    Service,
}

/// Whether the inner service answers a miss, without a further lookup.
pub(crate) fn is_for_service<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    method: &Method,
    headers: &HeaderMap,
) -> bool {
    let key = &fill.key;
    key.can_be_sent()
        && !key.directives.only_if_cached
        && !key.can_enter_partition()
        && !may_have_parts(state, fill, method, headers)
}

/// Decides who answers a request that the lookup of its public key has not answered.
///
/// The fill becomes that of the request's partition where that is of more use, and notes stored
/// parts that complete the request.
pub(crate) async fn who_answers<B: Backend>(
    state: &LayerState<B>,
    lookups: &mut impl Lookups<B>,
    fill: &mut Fill<B::Fence>,
    method: &Method,
    headers: &HeaderMap,
) -> Answerer<B::Fence> {
    if let Some(found) = look_further(state, lookups, fill, method, headers).await {
        return Answerer::Store(found.with_refresh_if(fill.key.can_be_sent()));
    }
    if fill.key.directives.only_if_cached {
        return Answerer::GatewayTimeout(fill.miss.reason);
    }
    match fill.key.can_be_sent() {
        true => Answerer::Service,
        false => Answerer::Bypass(Bypass::HookPanicked),
    }
}

/// The stored response that answers the request: one of its partition, or parts.
async fn look_further<B: Backend>(
    state: &LayerState<B>,
    lookups: &mut impl Lookups<B>,
    fill: &mut Fill<B::Fence>,
    method: &Method,
    headers: &HeaderMap,
) -> Option<CacheAnswer<B::Fence>> {
    if !fill.key.can_enter_partition() {
        return look_for_parts(state, lookups, fill, method, headers).await;
    }
    let is_refused = expects_refusal(state, fill, headers);
    fill.key.enter_partition();
    let preconditions = fill.key.preconditions_of(method, headers);
    let outcome = lookups.find(state, &fill.key, headers, preconditions);
    let private = match outcome.await {
        LookupOutcome::Answer(found) => return Some(found),
        LookupOutcome::Fetch(miss) => miss,
    };
    let stays =
        is_refused || private.stored_response().is_some() || state.is_partly_stored(&fill.key.key);
    let public = std::mem::replace(&mut fill.miss, private);
    let found = look_for_parts(state, lookups, fill, method, headers).await;
    if found.is_some() || stays || fill.miss.parts.is_some() {
        return found;
    }
    fill.key.leave_partition();
    fill.miss = public;
    look_for_parts(state, lookups, fill, method, headers).await
}

async fn look_for_parts<B: Backend>(
    state: &LayerState<B>,
    lookups: &mut impl Lookups<B>,
    fill: &mut Fill<B::Fence>,
    method: &Method,
    headers: &HeaderMap,
) -> Option<CacheAnswer<B::Fence>> {
    if !may_have_parts(state, fill, method, headers) {
        return None;
    }
    let hit = answer_from_parts(state, lookups, fill, headers).await?;
    Some(CacheAnswer::Hit(hit))
}

/// Whether a public response is expected to be refused: that to a request with the same fields was.
/// Many different ones a single client may have sent.
fn expects_refusal<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    headers: &HeaderMap,
) -> bool {
    let kind = fill.key.kind(&state.config.credential_fields, headers);
    let uncacheable = &state.shared.coalescing.uncacheable;
    let asked = (&fill.miss.lookup_key, kind);
    let digest = || state.digest_of(headers);
    fill.miss.stored_response().is_none()
        && uncacheable.expected(asked, state.now(), digest, false) == ExpectedRefusal::Alike
}
