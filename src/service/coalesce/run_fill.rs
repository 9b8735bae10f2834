//! A fill: calls the inner service, decides on its response, and hands it to its readers. With
//! followers it is led by one request; without, it is that request's alone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, StatusCode, response};
use pin_project_lite::pin_project;

use crate::backend::Backend;
use crate::body::origin::OriginBody;
use crate::flight::{FlightOutcome, Leader};
use crate::semantics::reason::Refusal;
use crate::service::bounds::{InnerBody, InnerService};
use crate::service::fill_data::{Fill, Storable};
use crate::service::origin::fetch::fetch_from_origin;
use crate::service::origin::interpret::FetchOutcome;
use crate::service::origin::update_from_head::update_from_head;
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::request::route::RequestKey;
use crate::service::response_groups::take_own;
use crate::service::served::{Served, ServedResult};
use crate::service::store_fill::decide;
use crate::service::storing_permission::storage_fence;
use crate::state::LayerState;
use crate::state::inner_layers::{InnerLayers, Marked};
use crate::state::noted_requests::NotedKey;
use crate::state::shared_head::SharedHead;

use super::deliver::{deliver, deliver_captured, deliver_confirmed, deliver_unstored};
use super::delivery::{Delivery, SharedLeader};
use super::release_followers::{note_refusal, release_followers};
use super::shared_call;

/// Leads a flight. The fill is polled by its request, and by a task of its own as soon as others
/// follow.
pub(crate) fn lead<S, B, Req, Res>(
    state: LayerState<B>,
    inner: S,
    request: Box<Request<Req>>,
    fill: Box<Fill<B::Fence>>,
    outgoing: Box<OutgoingRequest>,
    leader: Leader<B::Fence, SharedHead>,
) -> impl Future<Output = ServedResult<Res, S::Error>>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Req: Send + 'static,
    Res: InnerBody,
{
    let leader = Arc::new(leader);
    let led = Some(leader.clone());
    let fill = run_fill(state.clone(), inner, request, fill, outgoing, led);
    shared_call::answer(state, &leader, fill)
}

/// Runs a fill: for its followers if it has a leader, else for one request alone.
#[allow(
    clippy::manual_async_fn,
    reason = "an `async fn` holds each argument twice"
)]
pub(crate) fn run_fill<S, B, Req, Res>(
    state: LayerState<B>,
    inner: S,
    request: Box<Request<Req>>,
    mut fill: Box<Fill<B::Fence>>,
    mut outgoing: Box<OutgoingRequest>,
    leader: Option<SharedLeader<B::Fence>>,
) -> impl Future<Output = ServedResult<Res, S::Error>>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Req: 'static,
    Res: InnerBody,
{
    async move {
        let fence = storage_fence(&state, &fill, outgoing.at);
        if let Some(leader) = leader.as_deref().filter(|leader| leader.has_predecessors()) {
            // Boxed, because few flights have one.
            Box::pin(wait_for_predecessors(&state, leader, &outgoing)).await;
        }
        let marked = Marked::new(inner, &state);
        let layers = marked.layers();
        let (leader_ref, asked) = (leader.as_deref(), (&mut *fill, &mut *outgoing));
        let call = led_call(&state, marked, request, asked, leader_ref);
        let (response, info) = match call.await {
            FetchOutcome::Response(response, info) => (response, info),
            // Both are for this request alone: the flight ends without a response.
            FetchOutcome::Replacement(served) => return Ok(served),
            FetchOutcome::Error(error) => return Err(error),
        };
        let (state, exempt) = options_of(&layers, state, &fill.key, &mut outgoing);
        let (mut head, body) = response.into_parts();
        // A response that an inner layer exempts says nothing of a stored one.
        if outgoing.method == Method::HEAD && exempt.is_none() {
            // Boxed: its future takes kilobytes, which a GET should not move.
            Box::pin(update_from_head(&state, &fill, &outgoing, &head)).await;
        }
        let key = leader
            .as_ref()
            .map_or(fill.miss.lookup_key, |leader| leader.key());
        let is_forced = fill.is_forced();
        let decision = match (exempt, fence) {
            (Some(refusal), _) => Err(refusal),
            // Without followers, a response that cannot be stored need not be judged.
            (None, Err(refusal)) if leader.is_none() => Err(refusal),
            (None, fence) => decide(&state, *fill, fence, &outgoing, &mut head, &body),
        };
        let refused = refusal_of(&decision).map(|refusal| (refusal, head.status));
        if let Some(refused) = refused.filter(|_| !is_forced) {
            note_refusal(&state, &key, &outgoing, refused, leader.is_none());
        }
        let delivery = Delivery {
            state: &state,
            outgoing: &outgoing,
            info,
        };
        let answered = (head, body);
        Ok(conclude(delivery, leader, answered, decision, refused))
    }
}

/// Takes over the options of the layers that the request has passed, with the request as their
/// hooks see it. They may see credentials in it that this layer does not.
fn options_of<B: Backend>(
    layers: &InnerLayers,
    state: LayerState<B>,
    key: &RequestKey,
    outgoing: &mut OutgoingRequest,
) -> (LayerState<B>, Option<Refusal>) {
    let own = state.config.credential_fields.clone();
    let (state, exempt) = layers.options(state);
    let for_hooks = layers.request_for_hooks();
    outgoing.for_hooks = for_hooks.or(outgoing.for_hooks.take());
    let fields = &state.config.credential_fields;
    if *fields != own {
        outgoing.kind = key.kind(fields, &outgoing.headers);
    }
    (state, exempt)
}

/// Calls the inner service for a fill.
fn led_call<S, B, Req, Res>(
    state: &LayerState<B>,
    marked: Marked<S, B>,
    request: Box<Request<Req>>,
    (fill, outgoing): (&mut Fill<B::Fence>, &mut OutgoingRequest),
    leader: Option<&Leader<B::Fence, SharedHead>>,
) -> impl Future<Output = FetchOutcome<Res, S::Error>>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Req: 'static,
    Res: InnerBody,
{
    let layers = marked.layers();
    // Without followers the response is for a request that began before its lookup.
    let begins = move |now| leader.is_none_or(|leader| leader.begin_call(now));
    LedCall {
        leader,
        exempts: move || layers.is_exempt(&state.config),
        fetched: fetch_from_origin(state, marked, request, fill, outgoing, begins),
    }
}

pin_project! {
    /// The call of a flight, if there is a leader. If a layer further inside exempts the request, its
    /// followers are released at once: they need not wait for a response that is not for them.
    struct LedCall<'l, F, X, C> {
        leader: Option<&'l Leader<F, SharedHead>>,
        exempts: X,
        #[pin]
        fetched: C,
    }
}

impl<F, X: Fn() -> bool, C: Future> Future for LedCall<'_, F, X, C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let call = self.project();
        let polled = call.fetched.poll(cx);
        if let Some(leader) = call.leader
            && polled.is_pending()
            && (call.exempts)()
        {
            leader.exempt();
        }
        polled
    }
}

/// Delivers a response: to its client alone, or to the followers as well. These go on without it if
/// it is refused.
fn conclude<B: Backend, Res: InnerBody>(
    delivery: Delivery<'_, B>,
    leader: Option<SharedLeader<B::Fence>>,
    (mut head, body): (response::Parts, OriginBody<Res>),
    decision: Result<Box<Storable<B::Fence>>, Refusal>,
    refused: Option<(Refusal, StatusCode)>,
) -> Served<Res> {
    let state = delivery.state;
    take_own(&state.config, &mut head.headers, &mut head.extensions);
    if let (Some(leader), Some(refused)) = (&leader, refused) {
        release_followers(leader, delivery.outgoing.kind, refused);
    }
    let storable = match decision {
        Ok(storable) => storable,
        Err(refusal) => return deliver_unstored(delivery, head, body, refusal),
    };
    let leader = leader.filter(|_| refused.is_none());
    let runtime = state.shared.background.runtime();
    if let Some(leader) = leader.as_ref().filter(|_| runtime.is_none()) {
        leader.close_with(FlightOutcome::Vacant);
    }
    match (body.as_stored(), runtime) {
        (Some(confirmed), runtime) if leader.is_none() || runtime.is_none() => {
            deliver_confirmed(delivery, head, confirmed, *storable)
        }
        (_, Some(runtime)) => deliver(delivery, head, body, storable, (leader, runtime)),
        (_, None) => deliver_captured(delivery, head, body, storable),
    }
}

/// Why a response is not shared with the followers, if so. One that is stored, but may not be used
/// without validation, is not (RFC 9111 §4, §5.2.2.4); nor is one that is stored for its client
/// alone, while others may have joined.
fn refusal_of<F>(decision: &Result<Box<Storable<F>>, Refusal>) -> Option<Refusal> {
    match decision {
        Ok(storable) if !storable.is_for_flight => Some(Refusal::Private),
        Ok(storable) if storable.sharing.grant.freshness.is_reusable() => None,
        Ok(_) => Some(Refusal::NoCache),
        Err(refusal) => Some(*refusal),
    }
}

/// Waits for the calls before this one, which must end first.
async fn wait_for_predecessors<B: Backend>(
    state: &LayerState<B>,
    leader: &Leader<B::Fence, SharedHead>,
    outgoing: &OutgoingRequest,
) {
    let uncacheable = &state.shared.coalescing.uncacheable;
    let is_for_all = |outcome: &FlightOutcome<SharedHead>| {
        let FlightOutcome::Refused { kind, .. } = *outcome else {
            return false;
        };
        let key = NotedKey::new(&leader.key(), kind);
        let request = || outgoing.digest(state);
        kind == outgoing.kind && uncacheable.contains(key, state.now(), request)
    };
    let outcomes = leader.wait_for_predecessors().await;
    if let Some(refused) = outcomes.into_iter().find(is_for_all) {
        // The response to this call will not be shareable either.
        leader.close_with(refused);
    }
}
