//! Whether a response may be stored, and under which key: the rules of `semantics` with the
//! options of this layer.
//!
//! A response is stored only if all of these agree: the fence of its lookup still holds, no write
//! of unknown outcome concerns it ([`storage_fence`], [`check_group_grace`]), the RFC's rules and
//! the layer's limits allow it ([`storage_decision`]).

use std::sync::Arc;

use http::header::DATE;
use http::{HeaderMap, HeaderName, HeaderValue, request, response};
use http_body::Body;

use crate::backend::{Backend, Group, StoredResponse};
use crate::body::ending;
use crate::config::Config;
use crate::error::panics::Panicked;
use crate::key::CacheKey;
use crate::policy::CachePolicy;
use crate::random::uniform;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{FetchReason, Refusal};
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::{
    RequestHead, ResponseHead, StatedPolicy, StorageDecision, StoragePolicy, StoringRules,
    decide_storage,
};
use crate::state::LayerState;

use super::cached_values::cached_date;
use super::fill_data::Fill;
use super::request::partition::Partition;
use super::request::route::RequestKey;
use super::response_groups::groups_of;

/// The fence under which the response to a fill that begins now may be stored, or why it may not.
/// Must be asked before the inner service is called.
pub(crate) fn storage_fence<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    now: Moment,
) -> Result<B::Fence, Refusal> {
    if let Some(refusal) = fill.miss.refusal {
        return Err(refusal);
    }
    let fence = fill.miss.fence.clone().ok_or(match fill.miss.reason {
        FetchReason::BackendFailed => Refusal::BackendFailed,
        FetchReason::LongSelectingFields => Refusal::LongSelectingFields,
        // The backend answered `Lookup::Unfenced`.
        _ => Refusal::WriteGrace,
    })?;
    let resource = fill.key.key.resource();
    if state.shared.write_grace.covers_resource(resource, now) {
        return Err(Refusal::WriteGrace);
    }
    Ok(fence)
}

/// A request, when its response is judged.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'r> {
    /// The request as the rules for storing see it.
    pub(crate) head: RequestHead<'r>,
    /// The request as the hooks of the application see it, if there are any.
    pub(crate) for_hooks: Option<&'r request::Parts>,
    /// When the head of the response was received.
    pub(crate) received: Moment,
    /// The stored response that the response confirms or completes, if it does.
    pub(crate) continued: Option<&'r StoredResponse>,
    /// Whether the response was put together with stored parts.
    pub(crate) is_assembled: bool,
}

/// Decides whether the response to a request with this key may be stored: for all, or else for
/// its client alone, which `rules` say then.
///
/// A response that was stored for one client stays so, whatever confirms or completes it: the new
/// head need not repeat why.
pub(crate) fn storage_decision_of<B: Backend, Res: Body>(
    state: &LayerState<B>,
    request: Asked<'_>,
    key: &RequestKey,
    answered: (&response::Parts, &Res),
    rules: &mut StoringRules,
) -> Result<StoragePolicy, Refusal> {
    let has_stored_content = request.continued.is_some() || request.is_assembled;
    let refusal = if has_stored_content && key.is_in_partition() {
        Refusal::Private
    } else {
        match storage_decision(state, request, &key.identity, answered, rules) {
            Err(refusal) if refusal.is_of_shared_caches() => refusal,
            decided => return decided,
        }
    };
    match &key.partition {
        Partition::Public => Err(refusal),
        Partition::LongId => Err(Refusal::LongPrivateId),
        Partition::Of(partition) if !rules.may_be_private_to(&partition.id) => Err(refusal),
        Partition::Of(_) => {
            rules.is_private = true;
            storage_decision(state, request, &key.identity, answered, rules)
        }
    }
}

/// Decides whether a response may be stored, under the key whose full form is `identity`.
pub(crate) fn storage_decision<B: Backend, Res: Body>(
    state: &LayerState<B>,
    request: Asked<'_>,
    identity: &[u8],
    (head, body): (&response::Parts, &Res),
    rules: &StoringRules,
) -> Result<StoragePolicy, Refusal> {
    let answered = ResponseHead {
        status: head.status,
        headers: &head.headers,
        at: request.received,
    };
    let limit = state.max_stored_body();
    match decide_storage(request.head, answered, rules) {
        StorageDecision::Refuse(refusal) => Err(refusal),
        StorageDecision::Store(_) if limit == 0 => Err(Refusal::NoRoom),
        StorageDecision::Store(_) if least_length(head, body) > limit => Err(Refusal::TooLarge),
        StorageDecision::Store(_) if is_too_large(&head.headers, state.config.max_head) => {
            Err(Refusal::HeadTooLarge)
        }
        StorageDecision::Store(grant) => {
            // The last word, so that the hook is asked of what would be stored otherwise.
            state.config.check_store_if(request.for_hooks, head)?;
            let withheld = match &state.config.groups {
                None => grant.withheld,
                Some(groups) => {
                    let taken = groups.taken_fields().iter().cloned();
                    grant.withheld.into_iter().chain(taken).collect()
                }
            };
            Ok(StoragePolicy {
                groups: groups_of(
                    state,
                    (request.for_hooks, request.continued),
                    identity,
                    head,
                )?,
                withheld,
                ..grant
            })
        }
    }
}

/// The rules of this layer for a response, whatever is stored already.
///
/// # Errors
/// If a hook panics, the refusal.
pub(crate) fn storing_rules(
    config: &Config,
    request: Asked<'_>,
    head: &response::Parts,
) -> Result<StoringRules, Refusal> {
    let assigned = config.assigned_ttl(request.for_hooks, head);
    Ok(StoringRules {
        assigned: assigned.map_err(|Panicked| Refusal::HookPanicked)?,
        store_set_cookie: config.store_set_cookie,
        existing: None,
        ignored: config.ignored,
        targets: config.targeted_cache_control.clone(),
        explicit_only: false,
        stale: config.stale,
        max_fresh: config.max_ttl,
        shortened_by: config.ttl_jitter * (1.0 - drawn(config)),
        is_private: false,
        stated: stated_policy(request, head),
    })
}

/// What is said about a response for this cache alone: by its policy and, where it confirms or
/// completes a stored response, by the fields that select that.
fn stated_policy(request: Asked<'_>, head: &response::Parts) -> Option<Arc<StatedPolicy>> {
    let stated = CachePolicy::of(&head.extensions).map(|policy| policy.stated().clone());
    let Some(rule) = request.continued.and_then(StoredResponse::vary_rule) else {
        return stated;
    };
    let mut stated = stated.unwrap_or_default();
    let vary_on = &mut Arc::make_mut(&mut stated).vary_on;
    vary_on.extend(rule.names().iter().cloned());
    Some(stated)
}

/// A random number between 0 and 1; 1 without jitter.
fn drawn(config: &Config) -> f64 {
    if config.ttl_jitter > 0.0 {
        uniform(&*config.random)
    } else {
        1.0
    }
}

/// The key of the variant that a response to a request with these header fields is.
pub(crate) fn variant_key<B: Backend>(
    state: &LayerState<B>,
    key: CacheKey,
    grant: &StoragePolicy,
    request: &HeaderMap,
) -> CacheKey {
    match &grant.selected {
        Some(selected) => key.variant_for(&state.shared.store.seed, selected.rule(), request),
        None => key,
    }
}

/// Adds an `ETag` made of the content to the head of a stored response, where the layer wants it.
pub(crate) fn add_tag(config: &Config, head: &mut StoredHead, content: &[u8]) {
    if config.generate_etags {
        head.add_generated_tag(content);
    }
}

/// Refuses a response in a group that a write of unknown outcome named a moment ago.
///
/// The groups of a fill are known only from its response. A grace period that must bar its store
/// was there before its fence was captured, or the write has broken that fence.
pub(crate) fn check_group_grace<B: Backend>(
    state: &LayerState<B>,
    groups: &[Group],
    began: Moment,
) -> Result<(), Refusal> {
    let grace = &state.shared.write_grace;
    match groups.iter().any(|group| grace.covers_group(group, began)) {
        true => Err(Refusal::WriteGrace),
        false => Ok(()),
    }
}

/// The fence of a response in these groups, unless one of them is in a grace period.
pub(crate) fn outside_group_grace<B: Backend>(
    state: &LayerState<B>,
    fence: Result<B::Fence, Refusal>,
    groups: &[Group],
    began: Moment,
) -> Result<B::Fence, Refusal> {
    let fence = fence?;
    check_group_grace(state, groups, began)?;
    Ok(fence)
}

/// Gives a response that may be stored a `Date`, if it has none (RFC 9110 §6.6.1).
pub(crate) fn add_date(head: &mut response::Parts, grant: &StoragePolicy) {
    let date = head.headers.entry(DATE);
    date.or_insert_with(|| cached_date(grant.freshness.received));
}

/// The length that a response announces for its body, in bytes.
pub(crate) fn announced_length<Res: Body>(head: &response::Parts, body: &Res) -> Option<u64> {
    ending::announced_length(&head.headers).or_else(|| body.size_hint().exact())
}

/// The fewest bytes that a body can have, by its size hint and its announced length.
fn least_length<Res: Body>(head: &response::Parts, body: &Res) -> u64 {
    let least = body.size_hint().lower();
    least.max(announced_length(head, body).unwrap_or(0))
}

/// The most field lines of a stored response. A `HeaderMap` holds some 24,000, with those that the
/// cache adds.
const MAX_FIELD_LINES: usize = 4096;

/// Whether a header section is too large to be stored.
fn is_too_large(headers: &HeaderMap, max_head: usize) -> bool {
    head_length(headers) > max_head || headers.len() > MAX_FIELD_LINES
}

/// The bytes of all field lines, as HTTP/1.1 writes them.
fn head_length(headers: &HeaderMap) -> usize {
    let line = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    headers.iter().map(line).sum()
}
