//! Background refresh of a stored response that has been used while stale (RFC 5861 §3), or is
//! about to expire.
//!
//! A refresh is a fill that leads a flight: requests that miss meanwhile follow it. It starts only
//! if no other refresh of the key is under way, and not while the inner service is in backoff. As a
//! refresh may hang because of the fields of its request, one that takes longer than usual is joined
//! by others, most of them [for a short time](crate::state::short_refreshes); but first by a request
//! with the fields of one that [has brought](crate::state::noted_requests::WorkingRequests) a
//! response. Each has the fields of its own request: a call that no client has made may bring a response that is for none.

mod under_way;

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use tokio::runtime::Handle;

use crate::backend::Backend;
use crate::flight::{Leader, RefreshLength, RefreshRules, Refreshing, ShortRefresh, patience_for};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::reason::Reason;
use crate::semantics::request_kind::RequestKind;
use crate::semantics::reuse::is_condition_or_range;
use crate::state::LayerState;
use crate::state::bounded_work::WorkPermit;
use crate::state::noted_requests::{NotedKey, RequestDigest};
use crate::state::origin_failures::Backoff;
use crate::state::shared_head::SharedHead;
use crate::stats::Event;
use crate::timeout::with_timeout;

use self::under_way::{RefreshUnderWay, ShortRefreshUnderWay};
use super::bounds::{InnerBody, InnerService};
use super::coalesce::member::join_rules;
use super::coalesce::run_fill::run_fill;
use super::fill_data::Miss;
use super::lookup::due_refresh::DueRefresh;
use super::request::outgoing::OutgoingRequest;
use super::request::route::RequestKey;

/// A refresh that has taken the lead of a flight, and is about to start.
pub(crate) struct BackgroundRefresh<B: Backend> {
    state: LayerState<B>,
    miss: Miss<B::Fence>,
    kind: RequestKind,
    request: RequestDigest,
    short: Option<ShortRefreshUnderWay>,
    leader: Leader<B::Fence, SharedHead>,
    /// The time after which it counts as dead.
    timeout: Duration,
    runtime: Handle,
    /// Its place among all; `None` for a short one.
    permit: Option<WorkPermit>,
}

/// The time that the stored response took.
fn stored_cost<F>(miss: &Miss<F>) -> Duration {
    let stored = miss.stored_response();
    stored.map_or(Duration::ZERO, |stored| stored.cost())
}

/// The time without a response after which a refresh takes longer than usual.
pub(crate) fn patience<F>(miss: &Miss<F>) -> Duration {
    patience_for(stored_cost(miss))
}

/// Takes on the refresh of a stored response, unless enough of its key are under way.
#[inline(never)]
pub(crate) fn begin_refresh<B: Backend>(
    state: &LayerState<B>,
    due: DueRefresh<B::Fence>,
) -> Option<BackgroundRefresh<B>> {
    let shared = &state.shared;
    let runtime = shared.background.runtime_for_new_work()?;
    let (fence, now) = (due.miss.fence.clone()?, state.now());
    let mut rules = refresh_rules(state, &due, now);
    let permit = take_place(state, &due, &mut rules);
    let mut timeout = None;
    let short = || {
        let short = short_refresh(state, &due, now)?;
        timeout = Some(short.timeout);
        Some(short)
    };
    let flights = &shared.coalescing.flights;
    let (leader, length) = flights.lead_refresh(due.miss.lookup_key, fence, rules, short)?;
    let DueRefresh {
        kind,
        request,
        miss,
        reason,
        ..
    } = due;
    let (key, cost) = (miss.lookup_key, stored_cost(&miss));
    let timeout = timeout.filter(|_| length == RefreshLength::Short);
    let permit = permit.filter(|_| length == RefreshLength::Long);
    let short = timeout.map(|timeout| {
        let table = &shared.origin.short_refreshes;
        ShortRefreshUnderWay {
            _permit: table.note_begun((&key, kind), request.client(), (cost, now)),
            timeout,
        }
    });
    (shared.origin.working).note_begun((NotedKey::new(&key, kind), request));
    state.count(Event::Refresh(reason));
    tracing::debug!(reason = reason.as_str(), ?length, "refresh");
    Some(BackgroundRefresh {
        timeout: leader.time_left(rules.join_rules),
        state: state.clone(),
        miss,
        kind,
        request,
        short,
        leader,
        runtime,
        permit,
    })
}

/// Takes a place among the refreshes of all keys. If there is none, only a short one may begin:
/// there are few of these, and a client whose requests hang has no place for long.
fn take_place<B: Backend>(
    state: &LayerState<B>,
    due: &DueRefresh<B::Fence>,
    rules: &mut RefreshRules,
) -> Option<WorkPermit> {
    let places = state.shared.origin.refreshes.of(due.is_working);
    let permit = places.begin(due.request.client(), state.config.max_refreshes);
    if permit.is_none() {
        let flights = &state.shared.coalescing.flights;
        if flights.may_lead_refresh(&due.miss.lookup_key, *rules, || None) {
            state.count(Event::RefreshRefused);
        }
        rules.own = None;
    }
    permit
}

/// Whether the refresh of a stored response would begin now. Nothing changes.
pub(crate) fn may_begin_refresh<B: Backend>(
    state: &LayerState<B>,
    due: &DueRefresh<B::Fence>,
) -> bool {
    let (shared, now) = (&state.shared, state.now());
    let mut rules = refresh_rules(state, due, now);
    let places = shared.origin.refreshes.of(due.is_working);
    if !places.has_room(due.request.client(), state.config.max_refreshes) {
        rules.own = None;
    }
    let short = || short_refresh(state, due, now);
    let flights = &shared.coalescing.flights;
    shared.background.runtime_for_new_work().is_some()
        && due.miss.fence.is_some()
        && flights.may_lead_refresh(&due.miss.lookup_key, rules, short)
}

/// The rules by which a refresh begins.
fn refresh_rules<B: Backend>(
    state: &LayerState<B>,
    due: &DueRefresh<B::Fence>,
    now: Moment,
) -> RefreshRules {
    let failures = &state.shared.origin.failures;
    let noted = NotedKey::new(&due.miss.lookup_key, due.kind);
    RefreshRules {
        join_rules: join_rules(state, due.request.client(), now),
        own: (due.is_working || due.backoff < Backoff::OfMany).then(|| Refreshing {
            request: due.request.as_number(),
            cost: stored_cost(&due.miss),
            is_working: due.is_working,
        }),
        have_hung: due.is_working && failures.has_any_hung(noted, now, due.request),
    }
}

/// The short refresh that there may be in place of one that takes its time.
fn short_refresh<B: Backend>(
    state: &LayerState<B>,
    due: &DueRefresh<B::Fence>,
    now: Moment,
) -> Option<ShortRefresh> {
    let noted = (&due.miss.lookup_key, due.kind);
    let limits = state.short_refreshes(noted, due.request, (stored_cost(&due.miss), now))?;
    Some(ShortRefresh {
        refreshing: Refreshing {
            request: due.request.as_number(),
            cost: limits.cost,
            is_working: false,
        },
        timeout: limits.timeout,
        patience: limits.patience,
        limit: limits.at_once,
    })
}

/// Makes a request one for the whole response, whatever part of it its client was content with.
fn make_whole<Req>(request: &mut Request<Req>) {
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    let conditions = headers.keys().filter(|name| is_condition_or_range(name));
    for name in conditions.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

impl<B: Backend> BackgroundRefresh<B> {
    /// Fetches in a background task, for `fill_timeout` at most. The request that was answered moves
    /// into it.
    pub(crate) fn spawn<S, Req, Res>(
        self,
        inner: S,
        mut request: Box<Request<Req>>,
        key: RequestKey,
    ) where
        S: InnerService<Req, Res>,
        Req: Send + 'static,
        Res: InnerBody,
    {
        make_whole(&mut request);
        let Self {
            state,
            miss,
            kind,
            request: digest,
            short,
            leader,
            timeout,
            runtime,
            permit,
        } = self;
        let lookup_key = leader.key();
        let noted = (NotedKey::new(&lookup_key, kind), digest);
        let is_short = short.is_some();
        let long = (!is_short)
            .then(|| RefreshUnderWay::new(&state, noted, miss.stored_response(), timeout));
        let fill_timeout = state.config.coalesce.fill_timeout;
        let limit = (short.as_ref()).map_or(fill_timeout, |short| short.timeout.min(fill_timeout));
        let from = (kind, digest.client());
        let outgoing = OutgoingRequest::new(&state.config, &request, from, state.now(), None);
        let layer = state.clone();
        layer.shared.background.spawn(&runtime, async move {
            let mut fill = miss.with_key(key);
            fill.is_short_refresh = is_short;
            let leader = Arc::new(leader);
            let led = Some(leader.clone());
            let filled = run_fill(state.clone(), inner, request, fill, outgoing, led);
            // Its client has been answered; an error is recorded where it arises.
            let whole = async {
                if let Ok(response) = filled.await {
                    response.response.into_body().wait_for_end().await;
                }
            };
            let ended = with_timeout(limit, Box::pin(whole)).await;
            match ended {
                // One that has waited for the readiness of the service all the time says nothing.
                None if !leader.has_called() => {}
                None => state.shared.origin.failures.note_hung(noted, state.now()),
                Some(()) if is_short => note_short_end(&state, (&lookup_key, kind), noted),
                Some(()) => {}
            }
            drop((long, short, permit));
        });
    }
}

/// Notes that a short refresh has ended in time. What it has stored is noted where that is stored.
fn note_short_end<B: Backend>(
    state: &LayerState<B>,
    key: (&CacheKey, RequestKind),
    noted: (NotedKey, RequestDigest),
) {
    let origin = &state.shared.origin;
    if origin.short_refreshes.is_tried(key) {
        let backoff = state.config.failure_backoff;
        origin.failures.note_useless(noted, state.now(), backoff);
    }
}
