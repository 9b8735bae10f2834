//! The body of a large stored response, which a backend gives only when it is wanted.
//!
//! Start with [`read_needed`].

use std::ops::Range;
use std::sync::Arc;

use http::Method;

use super::outcome::{CacheAnswer, LookupOutcome};
use crate::backend::{Backend, BackendError, StoredResponse};
use crate::semantics::reuse::Selection;
use crate::service::request::preconditions::Preconditions;
use crate::service::select::stored::selection_of;
use crate::state::LayerState;

/// The outcome with as much of the body as it needs; `None` if that is gone.
pub(super) async fn read_needed<B: Backend>(
    state: &LayerState<B>,
    outcome: LookupOutcome<B::Fence>,
    preconditions: Preconditions<'_>,
) -> Result<Option<LookupOutcome<B::Fence>>, BackendError> {
    Ok(match outcome {
        LookupOutcome::Answer(CacheAnswer::Hit(mut hit)) => {
            let needed = needed(&hit.response, preconditions);
            let read = read(state, hit.response.clone(), needed).await?;
            read.map(|response| {
                hit.response = response;
                CacheAnswer::Hit(hit).into()
            })
        }
        LookupOutcome::Answer(CacheAnswer::HitAndRefresh(mut hit, mut due)) => {
            // The refresh may confirm all of it.
            let read = read_whole(state, hit.response.clone()).await?;
            read.map(|response| {
                due.miss.replace_stored(Some(response.clone()));
                hit.response = response;
                CacheAnswer::HitAndRefresh(hit, due).into()
            })
        }
        LookupOutcome::Fetch(mut miss) => {
            if let Some(stored) = miss.stored_response().cloned() {
                miss.replace_stored(read_whole(state, stored).await?);
            }
            Some(LookupOutcome::Fetch(miss))
        }
    })
}

/// The bytes of the body that a request needs.
fn needed(response: &StoredResponse, preconditions: Preconditions<'_>) -> Range<u64> {
    let whole = 0..response.body_length();
    if *preconditions.method == Method::HEAD {
        return 0..0;
    }
    let Some(fields) = preconditions.fields else {
        return whole;
    };
    match selection_of(response, preconditions.method, fields) {
        Selection::NotModified | Selection::Unsatisfiable => 0..0,
        Selection::Part(part) => part,
        Selection::Whole | Selection::Parts(_) => whole,
    }
}

/// The response with its whole body; `None` if that is gone.
pub(crate) async fn read_whole<B: Backend>(
    state: &LayerState<B>,
    response: Arc<StoredResponse>,
) -> Result<Option<Arc<StoredResponse>>, BackendError> {
    let whole = 0..response.body_length();
    read(state, response, whole).await
}

/// The response with these bytes of its body; `None` if they are gone.
async fn read<B: Backend>(
    state: &LayerState<B>,
    response: Arc<StoredResponse>,
    range: Range<u64>,
) -> Result<Option<Arc<StoredResponse>>, BackendError> {
    if range.is_empty() || response.has_whole_body() {
        return Ok(Some(response));
    }
    let start = range.start;
    let backend = &state.shared.store.backend;
    let bytes = backend.read_body(&response, range).await?;
    Ok(bytes.map(|bytes| {
        let mut response = Arc::new(response.with_bytes_of_body(start, bytes));
        state.count_copy_of(&mut response);
        response
    }))
}
