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

mod capture_guard;
mod commit;
mod decide;
mod new_entry;
mod notes;

use std::sync::Arc;

use crate::backend::Backend;
use crate::body::capture::{Capture, CaptureLimits};
use crate::flight::BudgetShare;
use crate::state::LayerState;

use super::fill_data::Storable;

pub(crate) use self::capture_guard::{CaptureGuard, LateRefusal};
pub(crate) use self::commit::{commit, end_fill};
pub(crate) use self::decide::decide;
pub(crate) use self::notes::note_refused;

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
