//! Puts a whole response into the backend.

use std::pin::pin;
use std::sync::Arc;

use http::HeaderMap;

use crate::backend::{Backend, PutOutcome, StoredResponse};
use crate::config::work_span::{Work, in_span, note_end};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{FillOutcome, Reason, Refusal, StoredBy};
use crate::semantics::stored::{KeptBy, StoredContent};
use crate::service::fill_data::{Draft, NewEntry};
use crate::service::parts;
use crate::service::storing_permission::add_tag;
use crate::shares::ClientId;
use crate::state::LayerState;
use crate::state::noted_requests::NotedKey;
use crate::state::throttled_log::Operation;

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
            // Borrowed: what is moved takes its place in the future twice.
            let source = &self.source;
            let span = state.config.span_of(Work::Store);
            let put = put(&state, &source.key, self.fence, self.response, self.now);
            let refusal = in_span(&span, pin!(put)).await;
            if let Some(partition) = source.partition.filter(|_| refusal.is_none()) {
                // Boxed, because most responses are public.
                Box::pin(limit_partition(&state, partition, source.key)).await;
            }
            let is_stored = refusal.is_none();
            if let Some(client) = source.client_of_variant().filter(|_| is_stored) {
                // Boxed, because few responses have variants.
                Box::pin(limit_variants(&state, client, source.key)).await;
            }
            let status = refusal.map_or("stored", |_| "refused");
            note_end(&span, status, refusal.map(Reason::as_str));
            let histograms = &state.shared.histograms;
            let outcome = refusal.map_or(FillOutcome::Stored, FillOutcome::from_refusal);
            histograms.observe_fill(outcome, self.cost);
            if refusal.is_none() {
                histograms.observe_stored(self.length);
                let origin = &state.shared.origin;
                let lookup_key = NotedKey::new(&source.lookup_key, source.kind);
                origin.failures.forget(lookup_key);
                if let Some(request) = source.request {
                    origin.working.note_stored((lookup_key, request), self.now);
                }
                let uncacheable = &state.shared.coalescing.uncacheable;
                uncacheable.forget_endless(lookup_key);
                let (key, time) = ((&source.lookup_key, source.kind), (self.now, self.cost));
                let table = &origin.short_refreshes;
                match source.is_confirmed {
                    // It may come sooner than a new body.
                    true => table.note_confirmed(key, source.is_short_refresh, self.now),
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
    let partitions = &state.shared.partitions;
    let oldest = partitions.note_stored(partition, stored, limit);
    remove(state, oldest).await;
}

/// Removes the variant of a key that a client had stored last, if it has more than its share now.
async fn limit_variants<B: Backend>(state: &LayerState<B>, client: ClientId, stored: CacheKey) {
    let variants = &state.shared.store.of_clients;
    remove(state, variants.note_stored(&stored, client)).await;
}

/// Removes responses that have to make room for others.
async fn remove<B: Backend>(state: &LayerState<B>, keys: impl IntoIterator<Item = CacheKey>) {
    let backend = &state.shared.store.backend;
    for key in keys {
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
