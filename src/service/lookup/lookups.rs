//! How the lookups of one request are made: for an answer, or for an explanation of it.

use std::future::Future;

use http::HeaderMap;

use super::detached_body::read_whole;
use super::{LookupOutcome, lookup, selects};
use crate::backend::{Backend, Lookup, StoredResponse};
use crate::key::CacheKey;
use crate::semantics::reason::FetchReason;
use crate::service::fill_data::HeldParts;
use crate::service::request::preconditions::Preconditions;
use crate::service::request::route::RequestKey;
use crate::state::LayerState;
use crate::state::throttled_log::Operation;

/// Makes lookups. What they mean is decided by their caller, [`who_answers`], alone.
///
/// [`who_answers`]: super::who_answers::who_answers
pub(crate) trait Lookups<B: Backend>: Send {
    /// Looks up the whole response of a key. A backend that fails has none.
    fn find(
        &mut self,
        state: &LayerState<B>,
        key: &RequestKey,
        headers: &HeaderMap,
        preconditions: Preconditions<'_>,
    ) -> impl Future<Output = LookupOutcome<B::Fence>> + Send;

    /// Looks up the stored parts of a key. A backend that fails has none.
    fn find_parts(
        &mut self,
        state: &LayerState<B>,
        key: &RequestKey,
        headers: &HeaderMap,
    ) -> impl Future<Output = Option<HeldParts<B::Fence>>> + Send;

    /// Whether the request can be repeated: otherwise no stored part completes it.
    fn can_repeat(&self, state: &LayerState<B>) -> bool;

    /// Takes note of why the parts that were found last do not answer the request.
    fn note_useless_parts(&mut self, _: FetchReason) {}
}

/// The lookups of a request that is to be answered. By default, it cannot be repeated.
#[derive(Default)]
pub(crate) struct Serving {
    can_repeat: bool,
}

impl Serving {
    /// Those of a request that can be repeated, or not. It is noted for explanations.
    pub(crate) fn new<B: Backend>(state: &LayerState<B>, can_repeat: bool) -> Self {
        state.shared.origin.note_repeatable(can_repeat);
        Self { can_repeat }
    }
}

impl<B: Backend> Lookups<B> for Serving {
    fn find(
        &mut self,
        state: &LayerState<B>,
        key: &RequestKey,
        headers: &HeaderMap,
        preconditions: Preconditions<'_>,
    ) -> impl Future<Output = LookupOutcome<B::Fence>> + Send {
        lookup(state, key, headers, preconditions)
    }

    fn find_parts(
        &mut self,
        state: &LayerState<B>,
        key: &RequestKey,
        headers: &HeaderMap,
    ) -> impl Future<Output = Option<HeldParts<B::Fence>>> + Send {
        find_parts(state, key, headers)
    }

    fn can_repeat(&self, _: &LayerState<B>) -> bool {
        self.can_repeat
    }
}

/// The stored parts of a key, with their bytes. A backend that fails is logged, and has none.
pub(crate) async fn find_parts<B: Backend>(
    state: &LayerState<B>,
    key: &RequestKey,
    headers: &HeaderMap,
) -> Option<HeldParts<B::Fence>> {
    let store = &state.shared.store;
    let parts_key = key.key.for_partial_content(&store.seed);
    let (mut lookup, lookup_key) = store
        .lookup_with_vary(&parts_key, headers, state.now())
        .await
        .inspect_err(|error| state.backend_failed(Operation::Lookup, error))
        .ok()?;
    state.count_copy(&mut lookup);
    let mut held = usable_parts(lookup, lookup_key, key, headers)?;
    held.response = read_whole(state, held.response)
        .await
        .inspect_err(|error| state.backend_failed(Operation::Lookup, error))
        .ok()??;
    Some(held)
}

/// The parts that a lookup has found, if they are those of the request.
pub(crate) fn usable_parts<F>(
    lookup: Lookup<F>,
    lookup_key: CacheKey,
    key: &RequestKey,
    headers: &HeaderMap,
) -> Option<HeldParts<F>> {
    let is_usable = |response: &StoredResponse| {
        response.identity() == &*key.identity
            && response.parts().is_some()
            && selects(response, headers)
    };
    match lookup {
        Lookup::Found(response, fence) if is_usable(&response) => Some(HeldParts {
            response,
            lookup_key,
            fence,
            completion: None,
        }),
        _ => None,
    }
}
