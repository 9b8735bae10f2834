//! Lookups of requests that have a partition of their own, beside public responses.
//!
//! ```text
//! nothing public answers it -> look_into_partition: answered from there
//!    |                           |- something is stored there, or a public response is expected to
//!    |                           |  be refused: it has entered its partition
//!    |- it joins public flights, whose response turns out to be private:
//!       it enters its partition, looks up once more, and joins the flights of its partition
//! ```
//!
//! In its partition a request has another key. Only requests with the same id have that key, and
//! whatever is stored, refused or held against requests there concerns these alone. A response
//! that turns out to be public is stored for all from there as well. Start with
//! [`look_into_partition`].

use http::{HeaderMap, Method};

use crate::backend::Backend;
use crate::service::fill_data::Fill;
use crate::state::LayerState;
use crate::state::uncacheable::ExpectedRefusal;

use super::{CacheAnswer, LookupOutcome, lookup};

/// Looks a request up in its partition, after a lookup that has answered nothing. Returns the
/// answer, if there is one; otherwise the request has entered its partition where that is of more
/// use than public flights.
pub(crate) async fn look_into_partition<B: Backend>(
    state: &LayerState<B>,
    fill: &mut Fill<B::Fence>,
    method: &Method,
    headers: &HeaderMap,
) -> Option<CacheAnswer<B::Fence>> {
    let is_refused = fill.miss.stored_response().is_none() && {
        let kind = fill.key.kind(&state.config.credential_fields, headers);
        let uncacheable = &state.shared.coalescing.uncacheable;
        let asked = (&fill.miss.lookup_key, kind);
        let digest = || state.digest_of(headers);
        uncacheable.expected(asked, state.now(), digest, false) != ExpectedRefusal::No
    };
    fill.key.enter_partition();
    let preconditions = fill.key.preconditions_of(method, headers);
    match lookup(state, &fill.key, headers, preconditions).await {
        LookupOutcome::Answer(CacheAnswer::GatewayTimeout) => {}
        LookupOutcome::Answer(found) => return Some(found),
        LookupOutcome::Fetch(miss) => {
            let is_stored = miss.stored_response().is_some();
            if is_refused || is_stored || state.is_partly_stored(&fill.key.key) {
                fill.miss = miss;
                return None;
            }
        }
    }
    fill.key.leave_partition();
    None
}
