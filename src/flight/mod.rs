//! Request coalescing: one call to the inner service for all concurrent misses of a key.
//!
//! A *flight* is one such call with everything that belongs to it. The request that makes the call
//! is the [`Leader`]; the others are [`Follower`](follower::Follower)s, which wait for the
//! [`FlightOutcome`] and read the whole body from the [`BodyStream`].
//!
//! ```text
//!            enter, lead_refresh
//!   vacant ------------------------> waiting      every request may join
//!      ^                                |
//!      |                                | begin_call
//!      |                                v
//!      |                             calling      a request may join if the fences allow it
//!      |                                |
//!      |                                | publish, close_with, or the leader is dropped
//!      |           +-------------+------+------+-------------+
//!      |           v             v             v             v
//!      |        Shared        Refused       Exempt        Vacant
//!      |        followers     one of the followers leads a flight
//!      |        read the      of its own
//!      |        same body
//!      |           |             |             |             |
//!      +-----------+-------------+-------------+-------------+
//!         close: later requests do not find the flight any more;
//!         its followers still get the outcome and the body
//! ```
//!
//! A response that is refused may be refused for any field of the leader's request. The service
//! remembers that, and tells which of the followers call for themselves; one of the others leads
//! the next flight.
//!
//! A shared flight is closed when its body has been stored, or is known not to be; until then later
//! requests join it. Whether a request may join a call that has begun is decided by *fences*: a
//! fence is captured from the backend before the call, and a write of the resource breaks it. So no
//! request gets a response older than a write that was answered before the request began. Where
//! there is no fence, only a call that has not begun may be joined, and the next call waits for the
//! one that is running: N concurrent misses make at most two calls.
//!
//! After failed calls the followers do not all call at once: the calls of the key are
//! [paced](pacing), and a response that may be shared ends that.
//!
//! Cancellation: a follower that is dropped leaves the flight, and the others notice nothing. A
//! leader's call has a [`CallDriver`], which goes on in a task of its own as soon as the first
//! follower has come; without followers the call is cancelled with its request. A leader that is
//! dropped before it has an outcome leaves the flight vacant, and a follower takes over.
//!
//! A client whose flight has [held up](hold_ups) others leads none that requests of other clients
//! wait for, but those of clients like it. A flight that is avoided so goes on [behind](lineups) the
//! one that is opened instead. And of each limited number of places a client has its
//! [share](crate::shares).
//!
//! Also in here, because fills need them: the [`Budget`] of bytes under way, and the
//! [`ExpiringSet`] of keys to be treated differently for a while.
//!
//! This module knows keys, fences and bytes. It does not know requests, responses or the inner
//! service: the service decides whether a head suits a follower, and whether a whole body is
//! stored. Start reading at [`Flights::enter`], then [`Leader`].

mod announcement;
mod budget;
mod expiring_set;
mod flight_maps;
mod follower;
mod hold_ups;
mod join_rules;
mod leader;
mod lineups;
#[cfg(all(test, trc_loom))]
mod model;
mod pacing;
mod rivals;
mod stream;
mod stripes;
mod table;
mod takeover_timeout;
#[cfg(test)]
mod tests;

pub(crate) use announcement::FlightOutcome;
pub(crate) use budget::{Budget, BudgetLimits, BudgetShare, count_stored};
pub(crate) use expiring_set::{ExpiringSet, ticks};
pub(crate) use follower::{CallDriver, FlightResult, Follower};
pub(crate) use hold_ups::let_downs::LetDowns;
pub(crate) use hold_ups::others_wait::OthersWait;
pub(crate) use hold_ups::patience::patience_for;
pub(crate) use join_rules::JoinRules;
pub(crate) use leader::Leader;
pub(crate) use pacing::{
    Place, PlaceLimit, Precedence, RefreshLength, RefreshRules, Refreshing, ShortRefresh,
};
pub(crate) use stream::{BodyEnd, BodyEvent, BodyReader, BodyStream, Capacity};
pub(crate) use table::{Entered, Flights, Foreseen};
