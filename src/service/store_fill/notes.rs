//! What other requests learn from the response to one: whether it can be stored.

use crate::backend::Backend;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::reason::Refusal;
use crate::semantics::request_kind::RequestKind;
use crate::semantics::storing::StoragePolicy;
use crate::service::fill_data::EntrySource;
use crate::state::LayerState;
use crate::state::noted_requests::{NotedKey, RequestDigest};
use crate::state::uncacheable::RefusalCause;

/// Remembers that a response which others may use can be stored, for the keys that it was looked up
/// under and is stored under.
pub(super) fn note_storable<B: Backend>(
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

/// Remembers from now on that the response to a request is refused, so that requests like it do
/// not wait.
pub(crate) fn note_refused<B: Backend>(
    state: &LayerState<B>,
    noted: (NotedKey, RequestDigest),
    refused: (RefusalCause, Refusal),
    now: Moment,
) {
    let ttl = state.config.coalesce.uncacheable_ttl;
    let uncacheable = &state.shared.coalescing.uncacheable;
    uncacheable.note(noted, refused, now, ttl);
}

/// Remembers that a body turned out to be too large, or to have no end: the next requests need not
/// wait for a response that is not kept either.
pub(super) fn note_late_refusal<B: Backend>(
    state: &LayerState<B>,
    source: &EntrySource,
    request: RequestDigest,
    refusal: Refusal,
) {
    let key = NotedKey::new(&source.lookup_key, source.kind);
    match refusal {
        Refusal::TooLarge => {
            note_refused(
                state,
                (key, request),
                (RefusalCause::Response, refusal),
                state.now(),
            );
        }
        Refusal::Endless => {
            let uncacheable = &state.shared.coalescing.uncacheable;
            uncacheable.note_endless((key, request), state.now());
        }
        _ => {}
    }
}
