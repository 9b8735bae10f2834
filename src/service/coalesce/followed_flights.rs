//! The flights that one request follows.
//!
//! Knows flights and fences, not the request. Start at [`FollowedFlights::add`].

use std::sync::Arc;
use std::task::{Context, Poll};

use crate::backend::{Backend, Group};
use crate::flight::{BodyReader, FlightOutcome, FlightResult, Flights, Follower, OthersWait};
use crate::key::CacheKey;
use crate::state::shared_head::SharedHead;

/// The flights that a request follows. The first outcome counts.
///
/// Dropping it before, as where the client leaves, notes for whom it has waited long.
pub(super) struct FollowedFlights<F> {
    all: Vec<Following<F>>,
    /// Where it is noted, if one of them is of another client: the table, and the latest key.
    table: Option<(Flights<F, SharedHead>, CacheKey)>,
}

struct Following<F> {
    id: u64,
    result: FlightResult<SharedHead>,
    others_wait: Option<Arc<OthersWait>>,
    group_check: Option<GroupCheck<F>>,
}

/// The end of a flight for a request that followed it.
pub(crate) struct FlightEnd<F> {
    pub(super) outcome: FlightOutcome<SharedHead>,
    pub(super) reader: Option<BodyReader>,
    /// To be made before the response is shared.
    pub(super) group_check: Option<GroupCheck<F>>,
    /// The wait for it, if it was of another client.
    pub(super) others_wait: Option<Arc<OthersWait>>,
}

/// The fences of a flight and of a request that follows it. The groups of the response must not
/// have been invalidated between them.
pub(crate) struct GroupCheck<F> {
    flight: F,
    own: F,
}

impl<F> GroupCheck<F> {
    /// Whether the response, which is in these groups, may be shared.
    pub(super) fn holds<B: Backend<Fence = F>>(&self, backend: &B, groups: &[Group]) -> bool {
        backend.has_current_groups(groups, &self.flight, &self.own)
    }
}

impl<F> FollowedFlights<F> {
    pub(super) const fn new() -> Self {
        Self {
            all: Vec::new(),
            table: None,
        }
    }

    /// Follows a flight of a key, unless it does already. `own` is the fence of the request.
    pub(super) fn add(
        &mut self,
        mut follower: Follower<F, SharedHead>,
        own: Option<F>,
        (flights, key): (&Flights<F, SharedHead>, &CacheKey),
    ) {
        let id = follower.flight_id();
        if self.all.iter().any(|known| known.id == id) {
            return;
        }
        follower.detach_call();
        let fences = follower.take_flight_fence().zip(own);
        let others_wait = follower.others_wait();
        if others_wait.is_some() {
            self.table = Some((flights.clone(), *key));
        }
        self.all.push(Following {
            id,
            others_wait,
            result: follower.wait(),
            group_check: fences.map(|(flight, own)| GroupCheck { flight, own }),
        });
    }

    /// Notes that the request gives up to wait for those that it follows.
    pub(super) fn note_given_up(&self) {
        self.note_in_vain(|_| true);
    }

    fn note_in_vain(&self, is_in_vain: impl Fn(&OthersWait) -> bool) {
        if let Some((flights, key)) = &self.table {
            let waits = self.all.iter().map(|following| &following.others_wait);
            let waits = waits.filter_map(Option::as_deref);
            flights.note_in_vain(key, waits.filter(|wait| is_in_vain(wait)));
        }
    }

    /// The first outcome. The flight is not followed any more then.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<FlightEnd<F>> {
        for index in 0..self.all.len() {
            if let Poll::Ready((outcome, reader)) = self.all[index].result.as_mut().poll(cx) {
                let following = self.all.swap_remove(index);
                return Poll::Ready(FlightEnd {
                    outcome,
                    reader,
                    group_check: following.group_check,
                    others_wait: following.others_wait,
                });
            }
        }
        Poll::Pending
    }
}

impl<F> Drop for FollowedFlights<F> {
    fn drop(&mut self) {
        self.note_in_vain(OthersWait::is_long);
    }
}
