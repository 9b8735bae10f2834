//! The flights that one request follows.
//!
//! Knows flights and fences, not the request. Start at [`FollowedFlights::add`].

use std::sync::Arc;
use std::task::{Context, Poll};

use crate::backend::{Backend, Group};
use crate::flight::{BodyReader, FlightOutcome, FlightResult, Follower, OthersWait};
use crate::state::shared_head::SharedHead;

/// The flights that a request follows. The first outcome counts.
pub(super) struct FollowedFlights<F>(Vec<Following<F>>);

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
        Self(Vec::new())
    }

    /// Follows a flight, unless it does already. `own` is the fence of the request.
    pub(super) fn add(&mut self, mut follower: Follower<F, SharedHead>, own: Option<F>) {
        let id = follower.flight_id();
        if self.0.iter().any(|known| known.id == id) {
            return;
        }
        follower.detach_call();
        let fences = follower.take_flight_fence().zip(own);
        self.0.push(Following {
            id,
            others_wait: follower.others_wait(),
            result: follower.wait(),
            group_check: fences.map(|(flight, own)| GroupCheck { flight, own }),
        });
    }

    /// The waits for those of other clients.
    pub(super) fn waits_for_others(&self) -> impl Iterator<Item = &OthersWait> {
        let waits = self.0.iter().map(|following| &following.others_wait);
        waits.filter_map(Option::as_deref)
    }

    /// The first outcome. The flight is not followed any more then.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<FlightEnd<F>> {
        for index in 0..self.0.len() {
            if let Poll::Ready((outcome, reader)) = self.0[index].result.as_mut().poll(cx) {
                let Following { group_check, .. } = self.0.swap_remove(index);
                return Poll::Ready(FlightEnd {
                    outcome,
                    reader,
                    group_check,
                });
            }
        }
        Poll::Pending
    }
}
