//! What becomes of a request that no stored response answers, before any call is made.
//!
//! The beginning of `coalesce`, with the functions of that: later steps depend on what a call
//! brings.

use http::Request;

use crate::backend::Backend;
use crate::flight::Foreseen;
use crate::semantics::reason::Refresh;
use crate::service::coalesce::member::FlightMember;
use crate::service::coalesce::stale_fallback::{
    give_up_waiting, makes_no_other_call, refresh_of, stale_hit_without_call,
};
use crate::service::coalesce::{lookup_again, prepare};
use crate::service::fill_data::{Fill, Hit, Miss};
use crate::service::lookup::lookups::Lookups;
use crate::service::refresh::may_begin_refresh;
use crate::service::request::outgoing::OutgoingRequest;
use crate::state::LayerState;

/// What becomes of a request.
pub(super) enum Prospect {
    /// A stored response answers it after all: a stale one, because calls fail, or one of its
    /// partition. With the refresh that it begins.
    Hit(Hit, Option<Refresh>),
    /// It waits for another request.
    Waits,
    /// It calls the inner service.
    Calls,
}

/// Foresees what becomes of a request, whose conditions and ranges are taken off as they are before
/// a call. Returns them with the rest of the outgoing request.
pub(super) async fn foresee<B: Backend>(
    state: &LayerState<B>,
    lookups: &mut impl Lookups<B>,
    request: &mut Request<()>,
    fill: &mut Fill<B::Fence>,
) -> (Prospect, Box<OutgoingRequest>) {
    let outgoing = prepare(state, (request, None), fill);
    let mut member = FlightMember::new(state, fill, &outgoing);
    loop {
        if let Some(hit) = stale_hit_without_call(state, &member, fill, &outgoing) {
            return (stale(state, fill, &outgoing, hit), outgoing);
        }
        let prospect = match member.foresee(state, fill, &outgoing, state.now()) {
            Foreseen::JoinsNone if member.turn_private(state, fill, &outgoing) => {
                match lookup_again(state, lookups, &mut member, fill, &outgoing).await {
                    Some(hit) => Prospect::Hit(hit, None),
                    None => continue,
                }
            }
            Foreseen::NeedsPlace if makes_no_other_call(state, fill, &outgoing) => {
                let hit = give_up_waiting(state, fill);
                hit.map_or(Prospect::Waits, |hit| stale(state, fill, &outgoing, hit))
            }
            Foreseen::Follows | Foreseen::NeedsPlace => Prospect::Waits,
            Foreseen::JoinsNone | Foreseen::Leads => Prospect::Calls,
        };
        return (prospect, outgoing);
    }
}

/// A stale response that answers without a call of its request.
fn stale<B: Backend>(
    state: &LayerState<B>,
    fill: &mut Fill<B::Fence>,
    outgoing: &OutgoingRequest,
    hit: Hit,
) -> Prospect {
    let Miss {
        reason, lookup_key, ..
    } = fill.miss;
    let miss = std::mem::replace(&mut fill.miss, Miss::new(reason, None, lookup_key, 0));
    let due = refresh_of(state, miss, outgoing, hit.response.clone());
    let begins = may_begin_refresh(state, &due);
    Prospect::Hit(hit, begins.then_some(due.reason))
}
