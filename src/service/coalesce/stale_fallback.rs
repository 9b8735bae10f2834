//! A request that has a stale response to turn to, and waits for its call for a limited time.
//!
//! | why it calls | it turns to the stale response |
//! |---|---|
//! | refreshes of others were refused | if the call fails, or takes too long |
//! | the stale response may be used only if a call fails, and calls of others did | if the call takes too long; its own failure allows it in any case |
//!
//! Those others may all be one client. So a request does not go by them, and is no worse off for
//! them either: when it turns to the stale response, a refresh of its own runs in the background,
//! or its call goes on.
//!
//! Start at [`WaitingClient`] for the request's own call, and at [`use_stale`] for that of others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request};

use crate::backend::{Backend, StoredResponse};
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::reason::{FetchReason, Refresh, StaleUse};
use crate::semantics::reuse::may_use_stale;
use crate::service::bounds::{InnerBody, InnerService};
use crate::service::fill_data::{Fill, Hit, Miss};
use crate::service::lookup::due_refresh::DueRefresh;
use crate::service::origin::stale_on_failure::{
    fallback_while_failing, stale_hit, stale_hit_in_backoff,
};
use crate::service::refresh::{begin_refresh, patience};
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::request::preconditions::Preconditions;
use crate::service::respond::{Responder, serve_hit};
use crate::service::served::{Served, ServedResult};
use crate::state::LayerState;
use crate::state::noted_requests::NotedKey;
use crate::timeout::with_timeout;

use super::member::FlightMember;

/// The longest time for which a request with a stale response waits for a call. How long the last
/// one took does not count beyond it: its client may have chosen that.
const MAX_PATIENCE: Duration = Duration::from_secs(3);

/// The time for which a request still waits for a call; without limit where it has no stale
/// response to turn to.
pub(super) fn patience_left<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
) -> Duration {
    match fill.miss.fallback {
        Some(_) => {
            let patience = patience(&fill.miss).min(MAX_PATIENCE);
            patience.saturating_sub(state.now().since(outgoing.at))
        }
        None => Duration::MAX,
    }
}

/// Whether a request turns to its stale response once a call has failed that it waited for, or the
/// calls of the key are paced for such failures.
pub(crate) fn makes_no_other_call<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
) -> bool {
    fill.miss.awaits_refresh() || patience_left(state, fill, outgoing).is_zero()
}

/// The stale response of a request that makes no call, because others have failed. If it does,
/// notes whether it waits for that for a limited time.
pub(crate) fn stale_hit_without_call<B: Backend>(
    state: &LayerState<B>,
    member: &FlightMember<B::Fence>,
    fill: &mut Fill<B::Fence>,
    outgoing: &OutgoingRequest,
) -> Option<Hit> {
    // A call for HEAD is for its client alone, and brings no response to those after it.
    if fill.miss.awaits_refresh() && outgoing.method == Method::HEAD {
        return give_up_waiting(state, fill);
    }
    let has_seen_failures = member.has_seen_failures();
    if let Some(hit) = stale_hit_in_backoff(state, fill, outgoing, has_seen_failures) {
        return Some(hit);
    }
    if fill.miss.fallback.is_none() {
        fill.miss.fallback = fallback_while_failing(state, fill);
    }
    let makes_none = member.has_failed() && makes_no_other_call(state, fill, outgoing);
    makes_none.then(|| give_up_waiting(state, fill)).flatten()
}

/// The stale response of a request that has waited enough. Once that may not be used any more, the
/// request is one like any other.
pub(crate) fn give_up_waiting<B: Backend>(
    state: &LayerState<B>,
    fill: &mut Fill<B::Fence>,
) -> Option<Hit> {
    let hit = stale_hit(fill, fill.miss.fallback?, state.now());
    if hit.is_none() {
        fill.miss.fallback = None;
    }
    hit
}

/// Answers with a stale response, and refreshes it in the background, unless a refresh is under way
/// or failed a moment ago.
pub(super) fn use_stale<S, B, Req, Res>(
    state: &LayerState<B>,
    inner: S,
    request: Box<Request<Req>>,
    fill: Fill<B::Fence>,
    outgoing: &OutgoingRequest,
    hit: Hit,
) -> Served<Res>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Req: Send + 'static,
    Res: InnerBody,
{
    let served = serve_hit(state, &fill.key, &hit, outgoing.preconditions());
    let Fill { miss, key, .. } = fill;
    let due = refresh_of(state, miss, outgoing, hit.response);
    if let Some(refresh) = begin_refresh(state, due) {
        refresh.spawn(inner, request, key);
    }
    served
}

/// The refresh that a stale response is due for, if it answers a request without a call.
pub(crate) fn refresh_of<B: Backend>(
    state: &LayerState<B>,
    mut miss: Miss<B::Fence>,
    outgoing: &OutgoingRequest,
    stored: Arc<StoredResponse>,
) -> DueRefresh<B::Fence> {
    let noted = NotedKey::new(&miss.lookup_key, outgoing.kind);
    let digest = outgoing.digest(state);
    let (origin, now) = (&state.shared.origin, state.now());
    let backoff = origin.failures.backoff(noted, now, || digest);
    miss.note_answered_with(stored);
    DueRefresh {
        reason: Refresh::Stale,
        kind: outgoing.kind,
        request: digest,
        backoff,
        is_working: origin.is_working((noted, digest), backoff, now),
        miss,
    }
}

/// The client of a call that waits for a limited time.
pub(super) struct WaitingClient<B: Backend> {
    state: LayerState<B>,
    use_: StaleUse,
    stored: Arc<StoredResponse>,
    directives: RequestDirectives,
    method: Method,
    conditions: Option<HeaderMap>,
    reason: FetchReason,
    patience: Duration,
}

impl<B: Backend> WaitingClient<B> {
    /// The client of a fill, if it waits for a limited time.
    pub(super) fn new(
        state: &LayerState<B>,
        fill: &Fill<B::Fence>,
        outgoing: &OutgoingRequest,
    ) -> Option<Self> {
        let use_ = fill.miss.fallback?;
        let Preconditions { method, fields } = outgoing.preconditions();
        Some(Self {
            state: state.clone(),
            use_,
            stored: fill.miss.stored_response()?.clone(),
            directives: fill.key.directives,
            method: method.clone(),
            conditions: fields.cloned(),
            reason: fill.miss.reason,
            patience: patience_left(state, fill, outgoing),
        })
    }

    /// The response to the call; the stale one if that takes too long. The call `goes_on` then for
    /// `fill_timeout` at most, or ends if it is for this client alone.
    pub(super) async fn wait<Res, E>(
        self,
        mut call: Pin<Box<impl Future<Output = ServedResult<Res, E>> + Send + 'static>>,
        goes_on: bool,
    ) -> ServedResult<Res, E>
    where
        Res: InnerBody,
        E: Send + 'static,
    {
        if let Some(called) = with_timeout(self.patience, call.as_mut()).await {
            return called;
        }
        let background = &self.state.shared.background;
        let (Some(stale), Some(runtime)) = (self.stale_response(), background.runtime()) else {
            return call.await;
        };
        let timeout = self.state.config.coalesce.fill_timeout;
        if goes_on {
            background.spawn(&runtime, async move {
                drop(with_timeout(timeout, call).await);
            });
        }
        Ok(stale)
    }

    /// The stale response, if it may still be used.
    fn stale_response<Res>(&self) -> Option<Served<Res>> {
        let (now, use_) = (self.state.now(), self.use_);
        if !may_use_stale(&self.directives, &self.stored.freshness(), now, use_) {
            return None;
        }
        let hit = Hit::stale(self.stored.clone(), now, use_);
        let preconditions = Preconditions {
            method: &self.method,
            fields: self.conditions.as_ref(),
        };
        let responder = Responder::new(&self.state);
        Some(responder.stale_response(&hit, preconditions, self.reason, None))
    }
}
