//! Request coalescing: one fill per key. A miss leads a flight, or follows one that is under way.
//!
//! ```text
//! miss -> member: joins the flights of its key
//!           |- leader ---> run_fill -> origin, then deliver: followers, store
//!           |- follower -> share_with_follower: the leader's response, if it may be shared
//!           |- neither --> run_fill, alone
//!           |- the calls it followed have failed: wait_for_place, then one of the above
//!           `- it has waited enough, and may use a stale response: stale_fallback
//! ```
//!
//! Start reading with [`coalesce`]. A flight itself (`crate::flight`) knows nothing of requests;
//! this module decides who may share a response.

mod at_once;
pub(crate) mod deliver;
pub(crate) mod delivery;
pub(crate) mod followed_flights;
pub(crate) mod member;
pub(crate) mod release_followers;
pub(crate) mod run_fill;
pub(crate) mod share_with_follower;
pub(crate) mod shared_call;
pub(crate) mod stale_fallback;
mod wait_for_place;

use http::Request;

use crate::backend::Backend;
use crate::flight::{FlightOutcome, Leader, OthersWait, Place};
use crate::semantics::reason::{FetchReason, Reason, Refusal};
use crate::semantics::reuse::is_condition_or_range;
use crate::shares::ClientId;
use crate::state::LayerState;
use crate::state::shared_head::SharedHead;
use crate::state::uncacheable::ExpectedRefusal;
use crate::stats::Event;
use crate::timeout::with_timeout;

use self::followed_flights::FlightEnd;
use self::member::{FlightMember, Joined, Waited, is_known};
use self::release_followers::is_transient;
use self::share_with_follower::{Followed, follow};
use self::stale_fallback::{
    WaitingClient, give_up_waiting, makes_no_other_call, patience_left, stale_hit_without_call,
    use_stale,
};
use super::bounds::{InnerBody, InnerService};
use super::fill_data::{Fill, Hit, Miss};
use super::lookup::lookups::{Lookups, Serving};
use super::lookup::{CacheAnswer, LookupOutcome};
use super::request::outgoing::OutgoingRequest;
use super::request::preconditions::take_client_conditions;
use super::request::route::RequestKey;
use super::respond::serve_hit;
use super::served::{Served, ServedResult};

/// Answers a miss: from another request's fill, or by a fill of its own. The client is that of the
/// request, if it is known.
// Rare parts are boxed, and so is the request, so that the future takes less than a KiB.
#[allow(
    clippy::manual_async_fn,
    reason = "an `async fn` holds each argument twice"
)]
pub(crate) fn coalesce<S, B, Req, Res>(
    state: LayerState<B>,
    inner: S,
    (mut request, client): (Box<Request<Req>>, Option<ClientId>),
    mut fill: Box<Fill<B::Fence>>,
) -> impl Future<Output = ServedResult<Res, S::Error>>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Req: Send + 'static,
    Res: InnerBody,
{
    async move {
        let outgoing = prepare(&state, (&mut *request, client), &fill);
        let caller = match join_flights(&state, &mut fill, &outgoing).await {
            JoinOutcome::Served(served) => return Ok(served),
            JoinOutcome::Stale(hit) => {
                return Ok(use_stale(&state, inner, request, *fill, &outgoing, hit));
            }
            JoinOutcome::Calls(caller) => caller,
        };
        record_fetch(&state, fill.miss.reason);
        if let Some(client) = WaitingClient::new(&state, &fill, &outgoing) {
            let goes_on = matches!(caller, Caller::Leader(_));
            let called = call(state, inner, request, fill, outgoing, caller);
            return Box::pin(client.wait(Box::pin(called), goes_on)).await;
        }
        call(state, inner, request, fill, outgoing, caller).await
    }
}

/// Calls the inner service: for the followers if the request leads a flight, else for itself.
#[allow(
    clippy::manual_async_fn,
    reason = "an `async fn` holds each argument twice"
)]
fn call<S, B, Req, Res>(
    state: LayerState<B>,
    inner: S,
    request: Box<Request<Req>>,
    fill: Box<Fill<B::Fence>>,
    outgoing: Box<OutgoingRequest>,
    caller: Caller<B::Fence>,
) -> impl Future<Output = ServedResult<Res, S::Error>>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Req: Send + 'static,
    Res: InnerBody,
{
    async move {
        match caller {
            Caller::Leader(leader) => {
                run_fill::lead(state, inner, request, fill, outgoing, leader).await
            }
            Caller::Alone(place) => {
                let filling = run_fill::run_fill(state, inner, request, fill, outgoing, None);
                let called = Box::pin(filling).await;
                let has_recovered =
                    || matches!(&called, Ok(served) if !is_transient(served.response.status()));
                if let Some(place) = place
                    && has_recovered()
                {
                    place.end_pacing();
                }
                called
            }
        }
    }
}

/// Takes the conditions and ranges off the request of a client, where its response may be for
/// others, too.
pub(crate) fn prepare<B: Backend, Req>(
    state: &LayerState<B>,
    (request, client): (&mut Request<Req>, Option<ClientId>),
    fill: &Fill<B::Fence>,
) -> Box<OutgoingRequest> {
    let now = state.now();
    let kind = fill
        .key
        .kind(&state.config.credential_fields, request.headers());
    let mut taken = None;
    if request.headers().keys().any(is_condition_or_range) {
        let has_stored = fill.miss.stored_response().is_some();
        let (headers, asked) = (request.headers(), (&fill.miss.lookup_key, kind));
        let uncacheable = &state.shared.coalescing.uncacheable;
        let is_known = is_known(state, fill, now);
        let digest = || state.digest_of(headers).with_client(client);
        let expected = || uncacheable.expected(asked, now, digest, is_known);
        let is_private = fill.key.directives.no_store || expected() == ExpectedRefusal::Alike;
        taken = take_client_conditions(request, has_stored, is_private);
    }
    OutgoingRequest::new(&state.config, request, (kind, client), now, taken)
}

/// The result of joining the flights of a key.
enum JoinOutcome<Res, F> {
    /// A response of another request's fill, or one that was stored meanwhile.
    Served(Served<Res>),
    /// A stale response, which is to be refreshed: the call that this request waited for brings
    /// nothing for now.
    Stale(Hit),
    /// This request calls the inner service.
    Calls(Caller<F>),
}

/// A request that calls the inner service.
enum Caller<F> {
    /// Others may follow it.
    Leader(Leader<F, SharedHead>),
    /// It calls for itself, in its place if it has one.
    Alone(Option<Box<Place<F, SharedHead>>>),
}

/// Joins flights until one has brought a response that this request may share, or it has to call
/// the inner service itself.
async fn join_flights<B: Backend, Res>(
    state: &LayerState<B>,
    fill: &mut Fill<B::Fence>,
    outgoing: &OutgoingRequest,
) -> JoinOutcome<Res, B::Fence> {
    let respond = |key: &RequestKey, hit: Hit| {
        JoinOutcome::Served(serve_hit(state, key, &hit, outgoing.preconditions()))
    };
    let mut member = FlightMember::new(state, fill, outgoing);
    let mut began = Some(outgoing.at);
    loop {
        if let Some(hit) = stale_hit_without_call(state, &member, fill, outgoing) {
            return JoinOutcome::Stale(hit);
        }
        let now = began.take().unwrap_or_else(|| state.now());
        let waited = match member.join(state, fill, outgoing, now) {
            Joined::Neither if member.turn_private(state, fill, outgoing) => Waited::RetryLookup,
            Joined::Neither => return JoinOutcome::Calls(Caller::Alone(member.place)),
            Joined::Leader(leader) => return JoinOutcome::Calls(Caller::Leader(leader)),
            Joined::Follower(time_left) => {
                let timeout = time_left.min(patience_left(state, fill, outgoing));
                member.wait_or_turn(state, timeout, fill, outgoing).await
            }
            Joined::NeedsPlace if makes_no_other_call(state, fill, outgoing) => Waited::TimedOut,
            Joined::NeedsPlace => {
                let timeout = patience_left(state, fill, outgoing);
                let waiting = member.wait_for_place(state, fill, outgoing);
                let waited = with_timeout(timeout, waiting).await;
                waited.unwrap_or(Waited::TimedOut)
            }
            Joined::RetryLookup => Waited::RetryLookup,
        };
        if matches!(waited, Waited::TimedOut)
            && let Some(hit) = give_up_waiting(state, fill)
        {
            return JoinOutcome::Stale(hit);
        }
        match waited {
            Waited::Outcome(end) => {
                if let Some(ended) = use_outcome(state, &mut member, end, fill, outgoing) {
                    return ended;
                }
            }
            Waited::CanJoin => {}
            Waited::RetryLookup => {
                let mut lookups = Serving::default();
                let looking = lookup_again(state, &mut lookups, &mut member, fill, outgoing);
                if let Some(hit) = Box::pin(looking).await {
                    return respond(&fill.key, hit);
                }
            }
            Waited::TimedOut => {
                if calls_alone_after_timeout(state, &mut member, fill) {
                    return JoinOutcome::Calls(Caller::Alone(None));
                }
            }
        }
    }
}

/// Notes that a request has waited for too long. Returns whether it calls for itself alone now;
/// otherwise it opens a flight.
fn calls_alone_after_timeout<B: Backend>(
    state: &LayerState<B>,
    member: &mut FlightMember<B::Fence>,
    fill: &mut Fill<B::Fence>,
) -> bool {
    if state.config.coalesce.coalesce_timeout.is_zero() {
        fill.miss.refusal = Some(Refusal::WaitedTooLong);
        return true;
    }
    member.note_slow_flight(state);
    // The first follower to come back calls, too, with a fence of its own time; the others wait for
    // both calls.
    fill.miss.completed_fills = Miss::<B::Fence>::OUTDATED;
    false
}

/// Uses the outcome of a followed flight. `None` if it brought nothing for this request, which then
/// joins another one.
fn use_outcome<B: Backend, Res>(
    state: &LayerState<B>,
    member: &mut FlightMember<B::Fence>,
    end: FlightEnd<B::Fence>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
) -> Option<JoinOutcome<Res, B::Fence>> {
    let client = end.others_wait.as_deref().map(OthersWait::client);
    match end.outcome {
        FlightOutcome::Shared(head) => {
            let check = end.group_check;
            let followed = follow(state, (&head, end.reader), check, fill, outgoing);
            member.note_look(state, &followed);
            if matches!(followed, Followed::OtherVariant(_) | Followed::Lost) {
                let flights = &state.shared.coalescing.flights;
                flights.note_in_vain(&member.key, end.others_wait.as_deref().into_iter());
            }
            match followed {
                Followed::Hit(served) => return Some(JoinOutcome::Served(served)),
                Followed::Collapsed(served) => {
                    record_fetch(state, fill.miss.reason);
                    return Some(JoinOutcome::Served(served));
                }
                Followed::NotShareable => {
                    return Some(JoinOutcome::Calls(Caller::Alone(member.place.take())));
                }
                Followed::OtherVariant(key) => member.set_variant(key),
                Followed::TooOld => member.require_newer(),
                Followed::Lost => {
                    member.note_let_down(client);
                    member.note_failed_flight();
                }
            }
            return None;
        }
        // The stored response may not be used without validation either.
        FlightOutcome::Refused { kind, .. }
            if kind == outgoing.kind && fill.miss.needs_validation() =>
        {
            return Some(JoinOutcome::Calls(Caller::Alone(member.place.take())));
        }
        FlightOutcome::Refused { kind, .. } if kind == outgoing.kind => member.note_lost_flight(),
        FlightOutcome::Refused { kind, .. } => member.note_refused_kind(kind),
        FlightOutcome::Exempt => member.note_exempt_flight(),
        FlightOutcome::Vacant => member.note_failed_flight(),
    }
    member.note_let_down(client);
    None
}

/// Counts and logs a request that the store did not answer.
fn record_fetch<B: Backend>(state: &LayerState<B>, reason: FetchReason) {
    state.count(Event::Fetch(reason));
    tracing::debug!(reason = reason.as_str(), "fetch");
}

/// Looks up once more: a fill that has ended since may have stored the response. If not, this
/// lookup's findings count from now on, its fence too.
pub(crate) async fn lookup_again<B: Backend>(
    state: &LayerState<B>,
    lookups: &mut impl Lookups<B>,
    member: &mut FlightMember<B::Fence>,
    fill: &mut Fill<B::Fence>,
    outgoing: &OutgoingRequest,
) -> Option<Hit> {
    let preconditions = outgoing.preconditions();
    let found = lookups.find(state, &fill.key, &outgoing.headers, preconditions);
    match found.await {
        LookupOutcome::Answer(CacheAnswer::Hit(hit) | CacheAnswer::HitAndRefresh(hit, ..)) => {
            Some(hit)
        }
        LookupOutcome::Fetch(miss) => {
            fill.miss = miss;
            member.set_key_looked_up(fill.miss.lookup_key);
            None
        }
    }
}
