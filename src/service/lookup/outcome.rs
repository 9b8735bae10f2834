//! What a lookup ends with.

use super::due_refresh::DueRefresh;
use crate::backend::Lookup;
use crate::key::CacheKey;
use crate::semantics::reason::FetchReason;
use crate::service::fill_data::{Hit, Miss};
use crate::service::request::route::RequestKey;

/// The outcome of a lookup.
#[allow(
    clippy::large_enum_variant,
    reason = "boxing the large variant would cost every miss an allocation"
)]
pub(crate) enum LookupOutcome<F> {
    /// The cache answers the request.
    Answer(CacheAnswer<F>),
    /// The inner service is asked.
    Fetch(Miss<F>),
}

impl<F> LookupOutcome<F> {
    /// The outcome; a miss in the place of a 504 if the partition of the request may have the
    /// response.
    pub(crate) fn leave_to_partition(self, key: &RequestKey) -> Self {
        match self {
            Self::Answer(CacheAnswer::GatewayTimeout) if key.can_enter_partition() => {
                Self::Fetch(Miss::new(FetchReason::UriMiss, None, key.key, 0))
            }
            outcome => outcome,
        }
    }
}

/// How the cache answers a request without the inner service.
pub(crate) enum CacheAnswer<F> {
    /// With a stored response.
    Hit(Hit),
    /// With a stored response, which is refreshed in the background.
    // The refresh is boxed, because few hits have one.
    HitAndRefresh(Hit, Box<DueRefresh<F>>),
    /// With a 504, because the request is `only-if-cached`.
    GatewayTimeout,
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
