//! Background refresh of a stored response that has been used while stale (RFC 5861 §3), or is
//! about to expire.
//!
//! A refresh is a fill that leads a flight: requests that miss meanwhile follow it. It starts only
//! if no other refresh of the key is under way, and not while the inner service is in backoff. As a
//! refresh may hang or fail because of its request, one that takes longer than usual is joined by
//! another, with the fields of a [proven request](crate::state::proven_requests), or for a short
//! time.

mod fields;
mod under_way;

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::runtime::Handle;

use crate::backend::Backend;
use crate::flight::{
    Leader, OtherRefreshes, RefreshFields, RefreshRules, Refreshing, ShortRefresh, patience_for,
};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{Reason, Refresh};
use crate::semantics::request_kind::RequestKind;
use crate::state::LayerState;
use crate::state::noted_requests::{NotedKey, RequestDigest};
use crate::state::origin_failures::Backoff;
use crate::state::proven_requests::{CallFields, FoundRequest};
use crate::state::shared_head::SharedHead;
use crate::stats::Event;
use crate::timeout::with_timeout;

use self::fields::{has_replaced_fields, make_whole};
use self::under_way::{RefreshUnderWay, ReplayUnderWay};
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
    fields: ChosenFields,
    leader: Leader<B::Fence, SharedHead>,
    /// The time after which it counts as dead.
    timeout: Duration,
    runtime: Handle,
}

/// The fields with which a refresh is made.
enum ChosenFields {
    Own,
    /// Its own, until this time has passed.
    OwnShort(Duration),
    Replay(FoundRequest),
}

/// The time without a response after which a refresh takes longer than usual.
pub(crate) fn patience<F>(miss: &Miss<F>) -> Duration {
    let stored = miss.stored_response();
    patience_for(stored.map_or(Duration::ZERO, |stored| stored.cost()))
}

/// Takes on the refresh of a stored response, unless enough of its key are under way.
#[inline(never)]
pub(crate) fn begin_refresh<B: Backend>(
    state: &LayerState<B>,
    due: DueRefresh<B::Fence>,
) -> Option<BackgroundRefresh<B>> {
    let (kind, request, miss) = (due.kind, due.request, due.miss);
    let shared = &state.shared;
    let runtime = shared.background.runtime_for_new_work()?;
    let (fence, key, now) = (miss.fence.clone()?, miss.lookup_key, state.now());
    let join_rules = join_rules(state, now);
    let refreshing = |cost| Refreshing {
        request: request.as_number(),
        cost,
    };
    let own = refreshing(miss.stored_response().map_or(Duration::ZERO, |s| s.cost()));
    let rules = RefreshRules {
        join_rules,
        own: (due.backoff < Backoff::OfMany).then_some(own),
        has_failed: due.backoff != Backoff::None,
    };
    let (mut proven, mut short) = (None, None);
    let others = OtherRefreshes {
        proven: || {
            let found = proven.insert(state.proven_request((&key, kind), now)?);
            let (request, cost) = (found.as_number(), found.cost);
            Some(Refreshing { request, cost })
        },
        short: || {
            let found = short.insert(state.short_refreshes((&key, kind), request, now)?);
            let (timeout, limit) = (found.timeout, found.limit);
            let refreshing = refreshing(found.cost);
            Some(ShortRefresh {
                refreshing,
                timeout,
                limit,
            })
        },
    };
    let flights = &shared.coalescing.flights;
    let (leader, fields) = flights.lead_refresh(key, fence, rules, others)?;
    let fields = match (fields, proven, short) {
        (RefreshFields::Proven, Some(proven), _) => ChosenFields::Replay(proven),
        (RefreshFields::OwnShort, _, Some(short)) => ChosenFields::OwnShort(short.timeout),
        _ => ChosenFields::Own,
    };
    note_begun(state, due.reason, (&key, kind), &fields, now);
    Some(BackgroundRefresh {
        timeout: leader.time_left(join_rules),
        state: state.clone(),
        miss,
        kind,
        request,
        fields,
        leader,
        runtime,
    })
}

/// Counts a refresh that begins, and notes with which fields it does.
fn note_begun<B: Backend>(
    state: &LayerState<B>,
    reason: Refresh,
    key: (&CacheKey, RequestKind),
    fields: &ChosenFields,
    now: Moment,
) {
    let proven = &state.shared.origin.proven;
    match fields {
        ChosenFields::Own => {}
        ChosenFields::OwnShort(_) => proven.note_short(key),
        ChosenFields::Replay(_) => proven.note_tried(key, now),
    }
    state.count(Event::Refresh(reason));
    let is_replay = matches!(fields, ChosenFields::Replay(_));
    tracing::debug!(reason = reason.as_str(), is_replay, "refresh");
}

impl<B: Backend> BackgroundRefresh<B> {
    /// Fetches in a background task, for `fill_timeout` at most, or a shorter time. The request that was answered
    /// moves into it.
    pub(crate) fn spawn<S, Req, Res>(self, inner: S, mut request: Request<Req>, key: RequestKey)
    where
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
            fields,
            leader,
            timeout,
            runtime,
        } = self;
        let stored = miss.stored_response();
        let noted = (NotedKey::new(&leader.key(), kind), digest);
        let own = || RefreshUnderWay::new(&state, noted, stored, timeout);
        let mut ends_after = state.config.coalesce.fill_timeout;
        let (fields, own, replay) = match fields {
            ChosenFields::Replay(found)
                if has_replaced_fields(&state, &found, &mut request, (&key, stored)) =>
            {
                let replay = ReplayUnderWay::new(&state, (leader.key(), kind), found.cost);
                (CallFields::Replay(found.replay), None, Some(replay))
            }
            ChosenFields::OwnShort(timeout) => {
                ends_after = ends_after.min(timeout);
                (CallFields::OwnShort, None, None)
            }
            _ => (CallFields::Own, Some(own()), None),
        };
        let outgoing = OutgoingRequest::unchanged(&state.config, &request, kind, state.now());
        let layer = state.clone();
        layer.shared.background.spawn(&runtime, async move {
            let mut fill = miss.with_key(key);
            fill.fields = fields;
            let leader = Some(Arc::new(leader));
            let filled = run_fill(state.clone(), inner, request, fill, outgoing, leader);
            // Its client has been answered; an error is recorded where it arises.
            let answer = with_timeout(ends_after, filled).await;
            match (answer, replay) {
                (Some(Ok(response)), Some(replay)) => replay.note_answer(response.status()),
                (None, None) => state.shared.origin.failures.note_hung(noted, state.now()),
                _ => {}
            }
            drop(own);
        });
    }
}
