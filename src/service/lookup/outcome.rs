//! What a lookup ends with.

use super::due_refresh::DueRefresh;
use crate::backend::Lookup;
use crate::key::CacheKey;
use crate::service::fill_data::{Hit, Miss};

/// The outcome of a lookup.
#[allow(
    clippy::large_enum_variant,
    reason = "boxing the large variant would cost every miss an allocation"
)]
pub(crate) enum LookupOutcome<F> {
    /// A stored response answers the request.
    Answer(CacheAnswer<F>),
    /// It does not: `who_answers` says who does.
    Fetch(Miss<F>),
}

/// A stored response that answers a request.
pub(crate) enum CacheAnswer<F> {
    /// The response alone.
    Hit(Hit),
    /// The response, which is refreshed in the background.
    // The refresh is boxed, because few hits have one.
    HitAndRefresh(Hit, Box<DueRefresh<F>>),
}

impl<F> CacheAnswer<F> {
    /// The answer; without its refresh if the request cannot be sent to the inner service.
    pub(crate) fn with_refresh_if(self, can_be_sent: bool) -> Self {
        match self {
            Self::HitAndRefresh(hit, ..) if !can_be_sent => Self::Hit(hit),
            answer => answer,
        }
    }
}

impl<F> From<CacheAnswer<F>> for LookupOutcome<F> {
    fn from(answer: CacheAnswer<F>) -> Self {
        Self::Answer(answer)
    }
}

/// The result of a lookup, with the key it ended at.
pub(super) struct LookupResult<F> {
    pub(super) lookup: Lookup<F>,
    pub(super) lookup_key: CacheKey,
    /// The number of completed fills near the key before the lookup.
    pub(super) completed_fills: u64,
}

impl<F> LookupResult<F> {
    /// Whether the response that was found has no whole body.
    pub(super) fn has_detached_body(&self) -> bool {
        matches!(&self.lookup, Lookup::Found(response, _) if !response.has_whole_body())
    }
}
