//! A response on its way into the store: decided when its head is here, stored when its body has
//! ended.
//!
//! ```text
//! head -> decide -> Storable -> capture (collects the body) -> commit -> backend.put
//!                -> Refusal: counted, said in Cache-Status
//! ```
//!
//! The rules are those of `storing_permission`; parts (206) are decided in `parts::store`. Nothing
//! here waits for the client.

use std::pin::pin;
use std::sync::{Arc, OnceLock};

use http::header::TRAILER;
use http::{HeaderMap, StatusCode, response};
use http_body::Body;

use crate::backend::{Backend, PutOutcome, StoredResponse};
use crate::body::capture::{Capture, CaptureLimits, Captured, Whole};
use crate::body::pump::watch_readers;
use crate::config::work_span::{Work, in_span, note_end};
use crate::flight::{BodyStream, BudgetShare};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{FillOutcome, Reason, Refusal, StoredBy};
use crate::semantics::request_kind::RequestKind;
use crate::semantics::stored::{KeptBy, StoredContent, StoredHead};
use crate::semantics::storing::StoragePolicy;
use crate::state::LayerState;
use crate::state::noted_requests::{NotedKey, RequestDigest};
use crate::state::throttled_log::Operation;
use crate::state::uncacheable::RefusalCause;

use super::fill_data::{Draft, EntrySource, Fill, MergePlan, NewEntry, SharingRules, Storable};
use super::parts;
use super::request::outgoing::OutgoingRequest;
use super::storing_permission::{
    add_date, add_tag, announced_length, outside_group_grace, storage_decision_of, storing_rules,
    variant_key,
};

/// A value that is kept until a body is stored, or is known not to be.
pub(crate) trait CaptureGuard: Send + 'static {
    /// Notes that the response is stored.
    fn mark_stored(&self) {}

    /// Notes that the response is not stored, and why.
    fn mark_refused(&self, _: Refusal) {}

    /// The stream from which clients read the body.
    fn stream(&self) -> Option<&BodyStream> {
        None
    }
}

/// Why a response that was to be stored is not, once that is known.
#[derive(Clone, Default)]
pub(crate) struct LateRefusal(Arc<OnceLock<Refusal>>);

impl LateRefusal {
    /// The refusal, if it has become known by now.
    pub(crate) fn get(&self) -> Option<Refusal> {
        self.0.get().copied()
    }
}

impl CaptureGuard for LateRefusal {
    fn mark_refused(&self, refusal: Refusal) {
        let _ = self.0.set(refusal);
    }
}

/// Decides whether a response may be stored.
///
/// One that may, and has no `Date`, gets the time of its receipt, on its way to the client too
/// (RFC 9110 §6.6.1). With a refused `fence` the response is judged all the same: followers may
/// share it.
pub(crate) fn decide<B: Backend, Res: Body>(
    state: &LayerState<B>,
    fill: Fill<B::Fence>,
    fence: Result<B::Fence, Refusal>,
    outgoing: &OutgoingRequest,
    head: &mut response::Parts,
    body: &Res,
) -> Result<Box<Storable<B::Fence>>, Refusal> {
    if head.status == StatusCode::PARTIAL_CONTENT
        && let Some(part) = parts::store::part_to_store(state, &fill, outgoing, head)
    {
        return parts::store::decide(state, part, fill, fence, outgoing, (head, body));
    }
    if let Some(own) = &outgoing.origin_head {
        parts::store::check_own_permission(state, own, &fill, outgoing, body)?;
    }
    let asked = outgoing.asked();
    let mut rules = storing_rules(&state.config, asked, head)?;
    rules.existing = fill.miss.replaced_status;
    let (is_forced, is_short_refresh) = (fill.is_forced(), fill.is_short_refresh);
    let grant = storage_decision_of(state, asked, &fill.key, (head, body), &mut rules)?;
    rules.existing = None;
    let target = fill.key.target(rules.is_private);
    let fence = outside_group_grace(state, fence, &grant.groups, outgoing.at);
    add_date(head, &grant);
    let lookup_key = fill.miss.lookup_key;
    let key = variant_key(state, target.key, &grant, &outgoing.headers);
    let shared_key = fill.key.key.with_variant(key.variant());
    if grant.freshness.is_reusable() && target.is_own {
        note_storable(state, [&lookup_key, &key], outgoing.kind, &grant);
    }
    let length = announced_length(head, body);
    Ok(Box::new(Storable {
        draft: Draft {
            head: StoredHead::new(target.identity, head.status, &head.headers, grant.clone()),
            source: EntrySource {
                key,
                shared_key,
                lookup_key,
                kind: outgoing.kind,
                is_short_refresh,
                is_confirmed: outgoing.is_confirmed(),
                partition: target.partition,
            },
        },
        is_for_flight: target.is_own,
        sharing: SharingRules {
            identity: fill.key.identity,
            grant,
            rules,
            called: outgoing.at,
            length,
        },
        fence,
        has_trailers: head.headers.contains_key(TRAILER),
        merge: None,
        is_typical: !is_forced && outgoing.is_for_whole(),
        request: None,
    }))
}

/// Remembers that a response which others may use can be stored, for the keys that it was looked up
/// under and is stored under.
fn note_storable<B: Backend>(
    state: &LayerState<B>,
    [lookup_key, key]: [&CacheKey; 2],
    kind: RequestKind,
    grant: &StoragePolicy,
) {
    let uncacheable = &state.shared.coalescing.uncacheable;
    let (at, ttl) = (
        grant.freshness.received,
        state.config.coalesce.uncacheable_ttl,
    );
    uncacheable.note_storable((lookup_key, kind), at, ttl);
    if key != lookup_key {
        uncacheable.note_storable((key, kind), at, ttl);
    }
}

/// Collects a body for the store.
///
/// The bytes are taken from `share`, unless the stream of a flight does that (`is_counted`).
/// `guard` is dropped when the body is stored, or is known not to be.
pub(crate) fn capture<B: Backend>(
    state: &LayerState<B>,
    storable: Box<Storable<B::Fence>>,
    share: Arc<BudgetShare>,
    is_counted: bool,
    guard: impl CaptureGuard,
) -> Capture {
    let limits = CaptureLimits {
        max_bytes: state.max_stored_body(),
        announced: storable.sharing.length,
        has_trailers: storable.has_trailers,
        is_counted,
    };
    let state = state.clone();
    Capture::new(limits, share, move |captured| {
        commit(&state, *storable, captured, guard);
    })
}

/// Stores a response whose body has ended cleanly. Where the backend needs waiting for, that
/// happens in the background.
pub(crate) fn commit<B: Backend>(
    state: &LayerState<B>,
    storable: Storable<B::Fence>,
    captured: Captured,
    guard: impl CaptureGuard,
) {
    let (whole, fence) = match (captured, storable.fence) {
        (Ok(whole), Ok(fence)) => (whole, fence),
        (Ok(_), Err(refusal)) => {
            return refuse_whole(state, guard, (storable.sharing.called, refusal));
        }
        (Err(refusal), _) => {
            if let Some(request) = storable.request {
                note_late_refusal(state, &storable.draft.source, request, refusal);
            }
            guard.mark_refused(refusal);
            return record_unstored(state, storable.sharing.called, refusal);
        }
    };
    let Whole {
        content,
        trailers,
        share,
    } = whole;
    let (content, trailers) = match storable.merge {
        Some(merge) => match merged(&merge, content, &share) {
            Some(content) => (content, None),
            None => {
                return refuse_whole(state, guard, (storable.sharing.called, Refusal::Budget));
            }
        },
        None => (content, trailers),
    };
    if !share.may_store(content.bytes().len() as u64) {
        return refuse_whole(state, guard, (storable.sharing.called, Refusal::Budget));
    }
    let (whole, time) = ((&content, trailers), (storable.sharing.called, state.now()));
    let entry = NewEntry::new(state, storable.draft, fence, whole, time);
    drop(content);
    let task = state.clone();
    state.shared.background.run(async move {
        let refusal = entry.store(task.clone()).await;
        drop(share);
        end_fill(&task, refusal, guard).await;
    });
}

/// Remembers that a body turned out to be too large, or to have no end: the next requests need not
/// wait for a response that is not kept either.
fn note_late_refusal<B: Backend>(
    state: &LayerState<B>,
    source: &EntrySource,
    request: RequestDigest,
    refusal: Refusal,
) {
    let key = NotedKey::new(&source.lookup_key, source.kind);
    match refusal {
        Refusal::TooLarge => note_refused(state, (key, request), RefusalCause::Response),
        Refusal::Endless => {
            let uncacheable = &state.shared.coalescing.uncacheable;
            uncacheable.note_endless((key, request), state.now());
        }
        _ => {}
    }
}

/// Ends a fill whose response is stored, or refused.
pub(crate) async fn end_fill<B: Backend>(
    state: &LayerState<B>,
    refusal: Option<Refusal>,
    guard: impl CaptureGuard,
) {
    match refusal {
        None => guard.mark_stored(),
        Some(refusal) => {
            guard.mark_refused(refusal);
            // Boxed: its future is larger than that of a store.
            Box::pin(leave_to_readers(state, guard)).await;
        }
    }
}

/// Counts and logs why a body that was collected since a call is not stored.
fn record_unstored<B: Backend>(state: &LayerState<B>, called: Moment, refusal: Refusal) {
    state.record_refusal(refusal);
    let (histograms, time) = (
        &state.shared.histograms,
        state.now().monotonic_since(called),
    );
    histograms.observe_fill(FillOutcome::from_refusal(refusal), time);
}

/// Refuses a body that has arrived whole since a call: there is no room in memory, or no fence.
fn refuse_whole<B: Backend>(
    state: &LayerState<B>,
    guard: impl CaptureGuard,
    (called, refusal): (Moment, Refusal),
) {
    guard.mark_refused(refusal);
    record_unstored(state, called, refusal);
    let task = state.clone();
    let left = async move { leave_to_readers(&task, guard).await };
    state.shared.background.run(left);
}

/// Leaves a body that is not stored to its readers, and watches those that stop.
async fn leave_to_readers<B: Backend>(state: &LayerState<B>, guard: impl CaptureGuard) {
    let stream = guard.stream().cloned();
    drop(guard);
    if let Some(stream) = stream {
        watch_readers(&stream, state.config.coalesce.slow_reader_timeout).await;
    }
}

/// The new bytes of a part merged with the stored ones. Both are in memory until then: `None` if
/// the budget has no room for that.
fn merged(merge: &MergePlan, new: StoredContent, share: &BudgetShare) -> Option<StoredContent> {
    if merge.stored.is_none() {
        return Some(new);
    }
    share
        .try_take(merge.stored_length())
        .then(|| share.count_stored(merge.merge(new.bytes().clone())))
}

impl<F> NewEntry<F> {
    /// The entry of a response with this content, from the call until now.
    pub(crate) fn new<B: Backend>(
        state: &LayerState<B>,
        draft: Draft,
        fence: F,
        (content, trailers): (&StoredContent, Option<HeaderMap>),
        (called, now): (Moment, Moment),
    ) -> Self {
        let cost = now.monotonic_since(called);
        let mut head = draft.head;
        add_tag(&state.config, &mut head, content.bytes());
        Self {
            response: Arc::new(head.with_content(content, trailers, cost)),
            length: content.bytes().len() as u64,
            fence,
            now,
            cost,
            source: draft.source,
        }
    }

    /// Stores the response, and notes that for later requests. Returns the refusal, if any.
    #[allow(
        clippy::manual_async_fn,
        reason = "an `async fn` holds each argument twice"
    )]
    pub(crate) fn store<B: Backend<Fence = F>>(
        self,
        state: LayerState<B>,
    ) -> impl Future<Output = Option<Refusal>> {
        async move {
            let (source, length) = (self.source, self.length);
            let span = state.config.span_of(Work::Store);
            let put = put(&state, &source.key, self.fence, self.response, self.now);
            let refusal = in_span(&span, pin!(put)).await;
            if let Some(partition) = source.partition.filter(|_| refusal.is_none()) {
                // Boxed, because most responses are public.
                Box::pin(limit_partition(&state, partition, source.key)).await;
            }
            let status = refusal.map_or("stored", |_| "refused");
            note_end(&span, status, refusal.map(Reason::as_str));
            let histograms = &state.shared.histograms;
            let outcome = refusal.map_or(FillOutcome::Stored, FillOutcome::from_refusal);
            histograms.observe_fill(outcome, self.cost);
            if refusal.is_none() {
                histograms.observe_stored(length);
                let origin = &state.shared.origin;
                let lookup_key = NotedKey::new(&source.lookup_key, source.kind);
                origin.failures.forget(lookup_key);
                let uncacheable = &state.shared.coalescing.uncacheable;
                uncacheable.forget_endless(lookup_key);
                let (key, time) = ((&source.lookup_key, source.kind), (self.now, self.cost));
                let table = &origin.short_refreshes;
                match source.is_confirmed {
                    // It may come sooner than a new body.
                    true => table.note_confirmed(key),
                    false => table.note_stored(key, source.is_short_refresh, time),
                }
            }
            refusal
        }
    }
}

/// Puts a response into the backend, and removes the parts that it supersedes. Returns the refusal,
/// if any.
async fn put<B: Backend>(
    state: &LayerState<B>,
    key: &CacheKey,
    fence: B::Fence,
    response: Arc<StoredResponse>,
    now: Moment,
) -> Option<Refusal> {
    let whole_key = key.primary();
    let superseded = (response.parts().is_none() && state.is_partly_stored(&whole_key))
        .then(|| parts::superseded::SupersededParts::new(whole_key, &fence));
    let store = &state.shared.store;
    let put = store.backend.put(key, fence, response.clone(), now);
    let put = put.await;
    let is_stored = matches!(put, Ok(PutOutcome::Stored));
    if !is_stored {
        response.note_kept_elsewhere(KeptBy::Readers);
    } else if Arc::strong_count(&response) == 1 {
        response.note_kept_elsewhere(KeptBy::OtherProcess);
    }
    if is_stored {
        store.languages.remember(key, &response);
        if let Some(rule) = response.vary_rule() {
            store.rules.remember_stored(key, rule);
        }
        if let Some(superseded) = superseded {
            // Boxed, because few responses supersede any.
            Box::pin(superseded.remove(state)).await;
        }
    }
    let by = match response.parts() {
        None => StoredBy::Fill,
        Some(_) => StoredBy::Parts,
    };
    state.record_put(&put, by)
}

/// Removes the responses of a partition that were stored first, if there are too many now.
async fn limit_partition<B: Backend>(state: &LayerState<B>, partition: u128, stored: CacheKey) {
    let limit = state.config.max_private_entries;
    let backend = &state.shared.store.backend;
    let partitions = &state.shared.partitions;
    for key in partitions.note_stored(partition, stored, limit) {
        let removed = match backend.fence(Some(key.resource())).await {
            Ok(Some(fence)) => backend.remove(&key, fence).await.map(drop),
            // Nothing of its resource is stored for now.
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            state.backend_failed(Operation::Store, &error);
        }
    }
}

/// Remembers that the response to a request is refused, so that requests like it do not wait.
pub(crate) fn note_refused<B: Backend>(
    state: &LayerState<B>,
    noted: (NotedKey, RequestDigest),
    cause: RefusalCause,
) {
    let (now, ttl) = (state.now(), state.config.coalesce.uncacheable_ttl);
    let uncacheable = &state.shared.coalescing.uncacheable;
    uncacheable.note(noted, cause, now, ttl);
}
