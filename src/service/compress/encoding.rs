//! Makes a coded form once, for all requests that wait for it, and stores it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::backend::{Backend, PutOutcome};
use crate::flight::count_stored;
use crate::semantics::stored::{KeptBy, StoredContent};
use crate::state::LayerState;
use crate::state::encodings::{EncodingLead, EncodingTurn};
use crate::state::throttled_log::Operation;
use crate::timeout::with_timeout;

use super::encode::encode;
use super::sub_entry::{FoundForm, SubEntry};

/// How long no form is made again that the backend has not stored.
const UNSTORABLE_TTL: Duration = Duration::from_secs(10);

/// The longest time that a request waits for its form. The threads that may block are those of the
/// application, too: it may have all of them wait, for a database for example.
const ENCODING_TIMEOUT: Duration = Duration::from_secs(1);

/// The content of a coded form that is not stored; `None` if the request gets the identity: the
/// form is no smaller, or cannot be made now.
///
/// A client that leaves does not end an encoding.
pub(super) async fn encoded<B: Backend>(
    state: &LayerState<B>,
    entry: SubEntry,
    fence: B::Fence,
) -> Option<Bytes> {
    let (encodings, key) = (&state.shared.encodings, entry.key);
    if !entry.stored.has_whole_body() || encodings.is_unstorable(&key, || state.now()) {
        return None;
    }
    let runtime = state.shared.background.runtime_for_new_work()?;
    let result = match encodings.join(&entry.identity) {
        EncodingTurn::Leads(lead, result) => {
            let task = encode_and_store(state.clone(), entry, fence, lead);
            state.shared.background.spawn(&runtime, task);
            result
        }
        EncodingTurn::Follows(result) => result,
        EncodingTurn::Refused => return None,
    };
    let result = with_timeout(ENCODING_TIMEOUT, result.wait()).await;
    if result.is_none() {
        // Others do not wait as long for the same one.
        encodings.note_unstorable(&key, state.now(), UNSTORABLE_TTL);
    }
    result??
}

/// Makes a form, tells those that wait for it, and stores it.
async fn encode_and_store<B: Backend>(
    state: LayerState<B>,
    entry: SubEntry,
    fence: B::Fence,
    lead: EncodingLead,
) {
    // Another encoding may have ended since the lookup.
    let found = state.shared.store.backend.get_now(&entry.key);
    if let Some(FoundForm::Form(form)) = found.map(|lookup| entry.judge(lookup)) {
        return lead.publish(Some(form.body()).filter(|body| !body.is_empty()));
    }
    let (coding, content) = (entry.coding, entry.stored.body());
    let began = state.now();
    let Ok(encoded) = spawn_blocking(move || encode(coding, &content)).await else {
        return state.shared.background.report_panic();
    };
    let cost = state.now().monotonic_since(began);
    let is_smaller = encoded.is_some();
    let length = encoded.as_ref().map(Bytes::len);
    tracing::debug!(coding = coding.name(), length, ?cost, "encoded");
    let buffers = &state.shared.coalescing.buffers;
    let content = count_stored(buffers, encoded.unwrap_or_default());
    lead.publish(is_smaller.then(|| content.bytes().clone()));
    store(&state, &entry, fence, content, cost).await;
}

/// Stores a form.
async fn store<B: Backend>(
    state: &LayerState<B>,
    entry: &SubEntry,
    fence: B::Fence,
    content: StoredContent,
    cost: Duration,
) {
    let response = Arc::new(entry.with_content(&content, cost));
    drop(content);
    let backend = &state.shared.store.backend;
    let put = backend.put(&entry.key, fence, response.clone(), state.now());
    let put = put.await;
    match &put {
        Ok(PutOutcome::Stored) if Arc::strong_count(&response) == 1 => {
            response.note_kept_elsewhere(KeptBy::OtherProcess);
        }
        Ok(PutOutcome::Stored) => {}
        _ => response.note_kept_elsewhere(KeptBy::Readers),
    }
    match put {
        Ok(PutOutcome::Stored | PutOutcome::Superseded) => {}
        Ok(_) => state
            .shared
            .encodings
            .note_unstorable(&entry.key, state.now(), UNSTORABLE_TTL),
        Err(error) => {
            state.backend_failed(Operation::Store, &error);
            state
                .shared
                .encodings
                .note_unstorable(&entry.key, state.now(), UNSTORABLE_TTL);
        }
    }
}
