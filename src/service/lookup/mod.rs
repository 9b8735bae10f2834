//! Lookup in the store, and the verdict on the stored response.
//!
//! Start reading with [`lookup_now`], which a memory hit passes without waiting. [`lookup`] is the
//! same for backends that have to be waited for, [`judge_found`] for explanations. All end in
//! `judge`. Whether a hit is refreshed is decided in `due_refresh`; who answers where nothing is a
//! hit, in `who_answers`.

pub(crate) mod detached_body;
pub(crate) mod due_refresh;
pub(crate) mod lookups;
mod outcome;
mod variants;
pub(crate) mod who_answers;

use std::pin::pin;

use http::{HeaderMap, StatusCode, request};
use tracing::Span;

use self::detached_body::read_needed;
use self::due_refresh::{RefreshDecision, RefreshingRequest, due_refresh, is_early_refresh_due};
use self::outcome::LookupResult;
pub(crate) use self::outcome::{CacheAnswer, LookupOutcome};
pub(crate) use self::variants::selects;
use super::fill_data::{Hit, Miss, StoredState};
use super::request::preconditions::Preconditions;
use super::request::route::{ReadRequest, RequestKey};
use crate::backend::{Backend, BackendError, Lookup, StoredResponse};
use crate::config::work_span::{Work, in_span, note_end};
use crate::key::CacheKey;
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{FetchReason, Reason, Refresh, StaleUse};
use crate::semantics::request_kind::RequestKind;
use crate::semantics::reuse::{Candidate, ReuseDecision, decide_reuse, refuses_other_credentials};
use crate::state::LayerState;
use crate::state::noted_requests::RequestDigest;
use crate::state::throttled_log::Operation;

/// The request that a lookup was made for.
struct Subject<'r, K, D> {
    directives: &'r RequestDirectives,
    headers: &'r HeaderMap,
    /// Computes the kind of the request, which few hits need.
    kind: K,
    /// Computes the digest of the request, which fewer need.
    digest: D,
    now: Moment,
}

/// Looks a request up without waiting; `None` where the backend needs waiting for.
pub(crate) fn lookup_now<B: Backend>(
    state: &LayerState<B>,
    read: &ReadRequest<'_>,
    request: &request::Parts,
) -> Option<LookupOutcome<B::Fence>> {
    let completed_fills = state.shared.coalescing.flights.completed_fills(&read.key);
    let (lookup, lookup_key) = state.shared.store.lookup_now(&read.key, &request.headers)?;
    let now = state.now();
    let result = LookupResult {
        lookup,
        lookup_key,
        completed_fills,
    };
    let is_same_key = |identity: &[u8]| read.parts.matches(&state.config.scope, identity);
    let subject = Subject {
        directives: &read.directives,
        headers: &request.headers,
        kind: || read.kind(&state.config, request),
        digest: || state.digest_as_sent(request),
        now,
    };
    Some(judge(state, result, is_same_key, &subject))
}

/// Looks a request up. A backend that fails is a miss that is not stored; the failure is logged.
///
/// A large body is read as far as the preconditions need it. Cancelling this has no effect but that
/// of dropping the lookup.
pub(crate) async fn lookup<B: Backend>(
    state: &LayerState<B>,
    key: &RequestKey,
    headers: &HeaderMap,
    preconditions: Preconditions<'_>,
) -> LookupOutcome<B::Fence> {
    let span = state.config.span_of(Work::Lookup);
    let found = pin!(look_up(state, key, headers, preconditions));
    let outcome = in_span(&span, found).await;
    note_lookup(&span, &outcome);
    outcome
}

/// Notes in the span of a lookup how that has ended.
pub(crate) fn note_lookup<F>(span: &Span, outcome: &LookupOutcome<F>) {
    let (status, reason) = match outcome {
        LookupOutcome::Answer(CacheAnswer::Hit(hit) | CacheAnswer::HitAndRefresh(hit, ..)) => {
            match hit.reuse.stale {
                None => ("hit", None),
                Some(use_) => ("stale", Some(use_.as_str())),
            }
        }
        LookupOutcome::Fetch(miss) => ("miss", Some(miss.reason.as_str())),
    };
    note_end(span, status, reason);
}

async fn look_up<B: Backend>(
    state: &LayerState<B>,
    key: &RequestKey,
    headers: &HeaderMap,
    preconditions: Preconditions<'_>,
) -> LookupOutcome<B::Fence> {
    // Boxed: two allocations of less than a kilobyte take less time than a larger one.
    match Box::pin(look_up_once(state, key, headers)).await {
        Ok(result) if result.has_detached_body() => {
            Box::pin(with_body(state, key, headers, preconditions, result)).await
        }
        Ok(mut result) => {
            state.count_copy(&mut result.lookup);
            judge_waited(state, key, headers, result)
        }
        Err(error) => failed_lookup(state, key, &error),
    }
}

/// The outcome of a lookup whose response has no whole body: what the request needs of that is read
/// before anything is answered.
///
/// If it is gone, the response is looked up once more, and is a miss if its body is gone again.
async fn with_body<B: Backend>(
    state: &LayerState<B>,
    key: &RequestKey,
    headers: &HeaderMap,
    preconditions: Preconditions<'_>,
    mut result: LookupResult<B::Fence>,
) -> LookupOutcome<B::Fence> {
    for is_last in [false, true] {
        let (lookup, lookup_key) = (result.lookup.clone(), result.lookup_key);
        let completed_fills = result.completed_fills;
        let outcome = judge_waited(state, key, headers, result);
        if matches!(outcome, LookupOutcome::Fetch(_)) && key.directives.only_if_cached {
            // No call follows, so that the body is of no use.
            return outcome;
        }
        match read_needed(state, outcome, preconditions).await {
            Ok(Some(outcome)) => return outcome,
            Ok(None) if is_last => {
                // The fill replaces the entry that is of no use.
                let fence = lookup.into_fence();
                let miss = Miss::new(FetchReason::UriMiss, fence, lookup_key, completed_fills);
                return LookupOutcome::Fetch(miss);
            }
            Ok(None) => {}
            Err(error) => return failed_lookup(state, key, &error),
        }
        result = match look_up_once(state, key, headers).await {
            Ok(result) => result,
            Err(error) => return failed_lookup(state, key, &error),
        };
    }
    unreachable!("the last attempt returns")
}

async fn look_up_once<B: Backend>(
    state: &LayerState<B>,
    key: &RequestKey,
    headers: &HeaderMap,
) -> Result<LookupResult<B::Fence>, BackendError> {
    let completed_fills = state.shared.coalescing.flights.completed_fills(&key.key);
    let store = &state.shared.store;
    let (lookup, lookup_key) = store
        .lookup_with_vary(&key.key, headers, state.now())
        .await?;
    Ok(LookupResult {
        lookup,
        lookup_key,
        completed_fills,
    })
}

/// The outcome of a lookup that the backend has failed.
fn failed_lookup<B: Backend>(
    state: &LayerState<B>,
    key: &RequestKey,
    error: &BackendError,
) -> LookupOutcome<B::Fence> {
    state.backend_failed(Operation::Lookup, error);
    without_backend(key)
}

/// The outcome of a lookup without a backend.
pub(crate) fn without_backend<F>(key: &RequestKey) -> LookupOutcome<F> {
    let reason = FetchReason::BackendFailed;
    LookupOutcome::Fetch(Miss::new(reason, None, key.key, 0))
}

/// The verdict on a lookup that had to wait for the backend.
fn judge_waited<B: Backend>(
    state: &LayerState<B>,
    key: &RequestKey,
    headers: &HeaderMap,
    result: LookupResult<B::Fence>,
) -> LookupOutcome<B::Fence> {
    let is_same_key = |identity: &[u8]| identity == &*key.identity;
    let subject = Subject {
        directives: &key.directives,
        headers,
        kind: || key.kind(&state.config.credential_fields, headers),
        digest: || state.digest_of(headers),
        now: state.now(),
    };
    judge(state, result, is_same_key, &subject)
}

/// The verdict on what an explanation has found under a key, by the rules of a read that has to wait
/// for its backend.
pub(crate) fn judge_found<B: Backend>(
    state: &LayerState<B>,
    key: &RequestKey,
    headers: &HeaderMap,
    (lookup, lookup_key): (Lookup<B::Fence>, CacheKey),
) -> LookupOutcome<B::Fence> {
    let result = LookupResult {
        lookup,
        lookup_key,
        completed_fills: state.shared.coalescing.flights.completed_fills(&key.key),
    };
    judge_waited(state, key, headers, result)
}

/// Turns the result of a lookup into its outcome: compares the full key and the selecting
/// fields, then lets `semantics` decide on freshness (RFC 9111 §4).
///
/// `is_same_key` compares full keys: two keys may share a digest.
fn judge<B: Backend>(
    state: &LayerState<B>,
    result: LookupResult<B::Fence>,
    is_same_key: impl Fn(&[u8]) -> bool,
    subject: &Subject<'_, impl Fn() -> RequestKind, impl Fn() -> RequestDigest>,
) -> LookupOutcome<B::Fence> {
    let (response, fence) = match result.lookup {
        Lookup::Found(response, fence) => (Some(response), Some(fence)),
        Lookup::Varies(_, fence) | Lookup::Miss(fence) => (None, Some(fence)),
        Lookup::Unfenced => (None, None),
    };
    let lookup_key = result.lookup_key;
    let has_vary_rule = lookup_key != lookup_key.primary();
    let found = match &response {
        None if lookup_key.is_unselected() => Candidate::BeyondLimit,
        None if has_vary_rule => Candidate::OtherVariant,
        None => Candidate::Absent,
        Some(response) if !is_same_key(response.identity()) => Candidate::OtherKey,
        Some(response) => candidate(response, subject),
    };
    let verdict = decide_reuse(subject.directives, found, subject.now);
    let miss = |reason| Miss::new(reason, fence, lookup_key, result.completed_fills);
    match (verdict, response) {
        (ReuseDecision::Fresh { age, left }, Some(response)) => {
            let is_due = is_early_refresh_due(state, &response, left);
            let hit = Hit::fresh(response, age, left);
            if !is_due {
                return CacheAnswer::Hit(hit).into();
            }
            let miss = miss(FetchReason::Stale);
            hit_and_refresh(state, hit, Refresh::Early, miss, subject)
        }
        (ReuseDecision::StaleWhileRevalidate, Some(response)) => {
            let mut miss = miss(FetchReason::Stale);
            miss.stored = StoredState::Stale(response.clone());
            let hit = Hit::stale(response, subject.now, StaleUse::WhileRevalidate);
            hit_and_refresh(state, hit, Refresh::Stale, miss, subject)
        }
        (ReuseDecision::MaxStale, Some(response)) => {
            CacheAnswer::Hit(Hit::stale(response, subject.now, StaleUse::MaxStale)).into()
        }
        // A 504 is given only once nothing else may answer: another lookup, or stored parts.
        (ReuseDecision::Fetch(reason) | ReuseDecision::GatewayTimeout(reason), response) => {
            let mut miss = miss(reason);
            match response {
                Some(response) => miss.note_found(response),
                // A rule stands for the responses of its variants, which a response without a
                // rule would remove: an error must not.
                None => miss.replaced_status = has_vary_rule.then_some(StatusCode::OK),
            }
            LookupOutcome::Fetch(miss)
        }
        (_, None) => unreachable!("only a response can be used"),
    }
}

/// What a stored response of the same key is to a request.
fn candidate<'r>(
    response: &'r StoredResponse,
    subject: &Subject<'_, impl Fn() -> RequestKind, impl Fn() -> RequestDigest>,
) -> Candidate<'r, StoredResponse> {
    if !selects(response, subject.headers) {
        Candidate::OtherVariant
    } else if refuses_other_credentials(response.status(), &subject.kind) {
        Candidate::OtherCredentials
    } else {
        Candidate::Response(response)
    }
}

/// Answers with a response that may be used, and has it refreshed if that is due.
#[inline(never)]
fn hit_and_refresh<B: Backend>(
    state: &LayerState<B>,
    hit: Hit,
    reason: Refresh,
    miss: Miss<B::Fence>,
    subject: &Subject<'_, impl Fn() -> RequestKind, impl Fn() -> RequestDigest>,
) -> LookupOutcome<B::Fence> {
    if subject.directives.only_if_cached {
        return CacheAnswer::Hit(hit).into();
    }
    let request = RefreshingRequest {
        kind: (subject.kind)(),
        digest: (subject.digest)(),
        is_for_store: !subject.directives.no_store,
        now: subject.now,
    };
    match due_refresh(state, &hit.response, reason, miss, request) {
        RefreshDecision::None => CacheAnswer::Hit(hit).into(),
        RefreshDecision::Refresh(due) => CacheAnswer::HitAndRefresh(hit, due).into(),
        RefreshDecision::Fetch(miss) => LookupOutcome::Fetch(miss),
    }
}
