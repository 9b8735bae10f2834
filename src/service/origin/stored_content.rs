//! Whether a response may consist of content that was looked up before the call: of a stored body
//! that a 304 confirms, or of stored parts that a 206 completes.
//!
//! A write may have come since the lookup. The inner service cannot tell by a weak validator, such
//! as a `Last-Modified` of one second, so stored content is given up once it may be older than a
//! write that one of the response's readers knows of. See `docs/protocols.md`.

use crate::backend::Backend;
use crate::service::fill_data::Miss;
use crate::state::LayerState;

/// Gives up stored content that may have been invalidated, right before the call.
///
/// `is_for_all` tells whether every request that has joined until now may get that content.
pub(crate) fn check_content<B: Backend>(
    state: &LayerState<B>,
    miss: &mut Miss<B::Fence>,
    is_for_all: bool,
) {
    if !is_for_all || !is_still_valid(state, miss) {
        miss.give_up_content();
    }
}

fn is_still_valid<B: Backend>(state: &LayerState<B>, miss: &Miss<B::Fence>) -> bool {
    let backend = &state.shared.store.backend;
    let is_stored_valid = miss.stored_response().is_none_or(|stored| {
        let fence = miss.fence.as_ref();
        fence.is_some_and(|fence| backend.is_still_valid(&miss.lookup_key, stored, fence))
    });
    let are_parts_valid = miss
        .parts
        .as_ref()
        .is_none_or(|held| backend.is_still_valid(&held.lookup_key, &held.response, &held.fence));
    is_stored_valid && are_parts_valid
}
