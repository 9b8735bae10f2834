//! Background refresh of a stored response that has been used while stale (RFC 5861 §3), or is
//! about to expire.
//!
//! A refresh is a fill that leads a flight: requests that miss meanwhile follow it. It starts only
//! if no other refresh of the key is under way, and not while the inner service is in backoff. As a
//! refresh may hang or fail because of its request, one that takes longer than usual is joined by
//! another, with the fields of a [proven request](crate::state::proven_requests).

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use tokio::runtime::Handle;

use crate::backend::{Backend, StoredResponse};
use crate::flight::{Leader, RefreshFields, RefreshRules, Refreshing, patience_for};
use crate::semantics::moment::Moment;
use crate::semantics::reason::Reason;
use crate::semantics::request_kind::RequestKind;
use crate::semantics::reuse::is_condition_or_range;
use crate::state::LayerState;
use crate::state::noted_requests::{NotedKey, RequestDigest};
use crate::state::origin_failures::Backoff;
use crate::state::proven_requests::FoundRequest;
use crate::state::shared_head::SharedHead;
use crate::stats::Event;
use crate::timeout::with_timeout;

use super::bounds::{InnerBody, InnerService};
use super::coalesce::member::join_rules;
use super::coalesce::run_fill::run_fill;
use super::fill_data::Miss;
use super::lookup::due_refresh::DueRefresh;
use super::lookup::selects;
use super::request::outgoing::{OutgoingRequest, copy_of_head};
use super::request::route::{RequestKey, Route, classify};

/// A refresh that has taken the lead of a flight, and is about to start.
pub(crate) struct BackgroundRefresh<B: Backend> {
    state: LayerState<B>,
    miss: Miss<B::Fence>,
    kind: RequestKind,
    request: RequestDigest,
    /// The request whose fields it is made with instead.
    proven: Option<FoundRequest>,
    leader: Leader<B::Fence, SharedHead>,
    /// The time after which it counts as dead.
    timeout: Duration,
    runtime: Handle,
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
    let DueRefresh {
        reason,
        kind,
        request,
        backoff,
        miss,
    } = due;
    let shared = &state.shared;
    let runtime = shared.background.runtime_for_new_work()?;
    let (fence, key, now) = (miss.fence.clone()?, miss.lookup_key, state.now());
    let join_rules = join_rules(state, now);
    let own = Refreshing {
        request: request.as_number(),
        cost: miss.stored_response().map_or(Duration::ZERO, |s| s.cost()),
    };
    let rules = RefreshRules {
        join_rules,
        own: (backoff != Backoff::Holds).then_some(own),
        has_failed: backoff != Backoff::None,
    };
    let mut proven = None;
    let find_proven = || {
        let found = state.proven_request((&key, kind), now)?;
        let found = proven.insert(found);
        Some(Refreshing {
            request: found.digest().as_number(),
            cost: found.cost,
        })
    };
    let flights = &shared.coalescing.flights;
    let (leader, fields) = flights.lead_refresh(key, fence, rules, find_proven)?;
    let proven = match fields {
        RefreshFields::Own => None,
        RefreshFields::Proven => {
            shared.origin.proven.note_tried((&key, kind), now);
            proven
        }
    };
    let timeout = leader.time_left(join_rules);
    state.count(Event::Refresh(reason));
    let is_replay = proven.is_some();
    tracing::debug!(reason = reason.as_str(), is_replay, "refresh");
    Some(BackgroundRefresh {
        state: state.clone(),
        miss,
        kind,
        request,
        proven,
        leader,
        timeout,
        runtime,
    })
}

/// A refresh under way. Unless it stores something, requests with its fields begin no other one
/// before it counts as dead, or has ended, and `failure_backoff` has passed.
struct RefreshUnderWay<B: Backend> {
    state: LayerState<B>,
    noted: (NotedKey, RequestDigest),
    began: Moment,
    /// The time for which the stored response may be used without validation from then on.
    stale_use: Duration,
    /// The time after which it counts as dead. The note may be that of another one then.
    timeout: Duration,
}

impl<B: Backend> RefreshUnderWay<B> {
    fn new(
        state: &LayerState<B>,
        noted: (NotedKey, RequestDigest),
        stored: Option<&Arc<StoredResponse>>,
        timeout: Duration,
    ) -> Self {
        let (began, backoff) = (state.now(), state.config.failure_backoff);
        let failures = &state.shared.origin.failures;
        failures.note_refresh(noted, began, timeout, backoff);
        Self {
            state: state.clone(),
            noted,
            began,
            stale_use: stored.map_or(Duration::ZERO, |stored| stale_use_left(stored, began)),
            timeout,
        }
    }

    /// Notes that it was refused, and returns whether it was: unless its request is remembered as
    /// one that is, it would not have begun.
    fn note_refusal(&self) -> bool {
        let uncacheable = &self.state.shared.coalescing.uncacheable;
        let now = self.state.now();
        let left = self.stale_use.saturating_sub(now.since(self.began));
        uncacheable.note_refresh(self.noted, now, left)
    }
}

/// The time for which a response may still be used without validation.
fn stale_use_left(stored: &StoredResponse, now: Moment) -> Duration {
    let freshness = stored.freshness();
    let window = freshness.stale.while_revalidate;
    freshness.lifetime.map_or(Duration::MAX, |lifetime| {
        lifetime
            .saturating_add(window)
            .saturating_sub(freshness.age(now))
    })
}

impl<B: Backend> Drop for RefreshUnderWay<B> {
    fn drop(&mut self) {
        let now = self.state.now();
        // A page that is refused to all is no failure: the next request finds that out, too.
        let backoff = match self.note_refusal() {
            true => Duration::ZERO,
            false => self.state.config.failure_backoff,
        };
        if now.since(self.began) < self.timeout {
            let failures = &self.state.shared.origin.failures;
            failures.end_refresh(self.noted, now, backoff);
        }
    }
}

impl<B: Backend> BackgroundRefresh<B> {
    /// Fetches in a background task, for `fill_timeout` at most. The request that was answered
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
            proven,
            leader,
            timeout,
            runtime,
        } = self;
        let is_replay = match proven {
            Some(proven) => {
                let stored = miss.stored_response();
                has_replaced_fields(&state, &proven, &mut request, (&key, stored))
            }
            None => false,
        };
        let stored = miss.stored_response();
        let noted = (NotedKey::new(&leader.key(), kind), digest);
        // What becomes of the fields of another request says nothing of this one.
        let under_way = (!is_replay).then(|| RefreshUnderWay::new(&state, noted, stored, timeout));
        let outgoing = OutgoingRequest::unchanged(&state.config, &request, kind, state.now());
        let layer = state.clone();
        layer.shared.background.spawn(&runtime, async move {
            let timeout = state.config.coalesce.fill_timeout;
            let mut fill = miss.with_key(key);
            fill.is_replay = is_replay;
            let leader = Some(Arc::new(leader));
            let filled = run_fill(state, inner, request, fill, outgoing, leader);
            // Its client has been answered; an error is recorded where it arises.
            drop(with_timeout(timeout, filled).await);
            drop(under_way);
        });
    }
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

/// Gives a request the fields of a proven one, unless a key hook makes another key of it then, or
/// they select another variant: the call has the validators of this one. Its response is still
/// judged by its own kind: its extensions, which may tell the client, stay.
fn has_replaced_fields<B: Backend, Req>(
    state: &LayerState<B>,
    proven: &FoundRequest,
    request: &mut Request<Req>,
    (key, stored): (&RequestKey, Option<&Arc<StoredResponse>>),
) -> bool {
    let own = request.headers().clone();
    proven.replace_fields(request.headers_mut(), &state.config.credential_fields);
    let is_selected = stored.is_none_or(|stored| selects(stored, request.headers()));
    if is_selected && has_key(state, request, key) {
        return true;
    }
    *request.headers_mut() = own;
    false
}

/// Whether a request has a key. Without a hook its key depends on its target and host alone.
fn has_key<B: Backend, Req>(
    state: &LayerState<B>,
    request: &Request<Req>,
    key: &RequestKey,
) -> bool {
    if !state.config.has_key_hook() {
        return true;
    }
    let head = copy_of_head(request);
    let route = classify(&state.config, &state.shared.store.seed, &head);
    matches!(route, Route::Read(read) if read.key == key.key)
}
