//! What is told how the storing of a body has ended.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::flight::BodyStream;
use crate::key::CacheKey;
use crate::semantics::reason::Refusal;

/// A value that is kept until a body is stored, or is known not to be.
pub(crate) trait CaptureGuard: Send + 'static {
    /// Notes how long the call took until the body was whole.
    fn note_time(&self, _: Duration) {}

    /// Whether the response may be stored under this key, whose turn it is now: that of no call
    /// which began later was stored meanwhile.
    fn claim_store(&self, _: CacheKey) -> bool {
        true
    }

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
