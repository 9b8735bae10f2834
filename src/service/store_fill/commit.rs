//! The end of a fill: its response is stored once its body is whole, or is refused.

use crate::backend::Backend;
use crate::body::capture::{Captured, Whole};
use crate::body::pump::watch_readers;
use crate::flight::BudgetShare;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{FillOutcome, Refusal};
use crate::semantics::stored::StoredContent;
use crate::service::fill_data::{MergePlan, NewEntry, Storable};
use crate::state::LayerState;

use super::capture_guard::CaptureGuard;
use super::notes::note_late_refusal;

/// Stores a response whose body has ended cleanly. Where the backend needs waiting for, that
/// happens in the background.
pub(crate) fn commit<B: Backend>(
    state: &LayerState<B>,
    storable: Storable<B::Fence>,
    captured: Captured,
    guard: impl CaptureGuard,
) {
    let called = storable.sharing.called;
    if captured.is_ok() {
        guard.note_time(state.now().monotonic_since(called));
    }
    let (whole, fence) = match (captured, storable.fence) {
        (Ok(whole), Ok(fence)) => (whole, fence),
        (Ok(_), Err(refusal)) => {
            return refuse_whole(state, guard, (called, refusal));
        }
        (Err(refusal), _) => {
            if let Some(request) = storable.request {
                note_late_refusal(state, &storable.draft.source, request, refusal);
            }
            guard.mark_refused(refusal);
            return record_unstored(state, called, refusal);
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
                return refuse_whole(state, guard, (called, Refusal::Budget));
            }
        },
        None => (content, trailers),
    };
    if !share.may_store(content.bytes().len() as u64) {
        return refuse_whole(state, guard, (called, Refusal::Budget));
    }
    if !guard.claim_store(storable.draft.source.key) {
        return refuse_whole(state, guard, (called, Refusal::Superseded));
    }
    let (whole, time) = ((&content, trailers), (called, state.now()));
    let entry = NewEntry::new(state, storable.draft, fence, whole, time);
    drop(content);
    let task = state.clone();
    state.shared.background.run(async move {
        let refusal = entry.store(task.clone()).await;
        drop(share);
        end_fill(&task, refusal, guard).await;
    });
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
