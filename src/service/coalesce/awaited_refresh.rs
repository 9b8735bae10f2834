//! A request that may use a stale response, but waits for a call first, because refreshes of others
//! were refused.
//!
//! Those may all have come from one client. So the call may neither fail nor hang at the cost of
//! the request: where it brings nothing, the request uses the stale response as it would have
//! without the others, and a refresh of its own runs in the background. Its call goes on when the request
//! has waited long enough, if it is for others, too.
//!
//! Start at [`AwaitingClient`] for the request's own call, and at [`use_stale`] for that of others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response};

use crate::backend::{Backend, StoredResponse};
use crate::body::response::ResponseBody;
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::reason::{FetchReason, Refresh, StaleUse};
use crate::semantics::reuse::may_use_stale;
use crate::service::bounds::{InnerBody, InnerService};
use crate::service::fill_data::{Fill, Hit};
use crate::service::lookup::due_refresh::DueRefresh;
use crate::service::origin::stale_on_failure::stale_hit;
use crate::service::refresh::{begin_refresh, patience};
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::request::preconditions::Preconditions;
use crate::service::respond::Responder;
use crate::state::LayerState;
use crate::state::noted_requests::NotedKey;
use crate::timeout::with_timeout;

type Answer<Res, E> = Result<Response<ResponseBody<Res>>, E>;

/// The time for which a request still waits for a call; without limit where it may not use a stale
/// response.
pub(super) fn patience_left<B: Backend>(
    state: &LayerState<B>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
) -> Duration {
    match fill.miss.awaits_refresh {
        true => patience(&fill.miss).saturating_sub(state.now().since(outgoing.at)),
        false => Duration::MAX,
    }
}

/// The stale response of a request that awaits a refresh, which it gives up. Once that may not be
/// used any more, the request is one like any other.
pub(super) fn give_up_waiting<B: Backend>(
    state: &LayerState<B>,
    fill: &mut Fill<B::Fence>,
) -> Option<Hit> {
    if !fill.miss.awaits_refresh {
        return None;
    }
    let hit = stale_hit(fill, StaleUse::WhileRevalidate, state.now());
    fill.miss.awaits_refresh = hit.is_some();
    hit
}

/// Answers with a stale response, and refreshes it in the background, unless a refresh is under way
/// or failed a moment ago.
pub(super) fn use_stale<S, B, Req, Res>(
    state: &LayerState<B>,
    inner: S,
    request: Request<Req>,
    fill: Fill<B::Fence>,
    outgoing: &OutgoingRequest,
    hit: Hit,
) -> Response<ResponseBody<Res>>
where
    S: InnerService<Req, Res>,
    B: Backend,
    Req: Send + 'static,
    Res: InnerBody,
{
    let response = Responder::new(state).hit(&hit, outgoing.preconditions());
    let Fill { mut miss, key, .. } = fill;
    let noted = NotedKey::new(&miss.lookup_key, outgoing.kind);
    let digest = state.digest_of(&outgoing.headers);
    let failures = &state.shared.origin.failures;
    miss.note_answered_with(hit.response);
    let due = DueRefresh {
        reason: Refresh::Stale,
        kind: outgoing.kind,
        request: digest,
        backoff: failures.backoff(noted, state.now(), || digest),
        miss,
    };
    if let Some(refresh) = begin_refresh(state, due) {
        refresh.spawn(inner, request, key);
    }
    response
}

/// The client of a call that awaits a refresh.
pub(super) struct AwaitingClient<B: Backend> {
    state: LayerState<B>,
    stored: Arc<StoredResponse>,
    directives: RequestDirectives,
    method: Method,
    conditions: Option<HeaderMap>,
    reason: FetchReason,
    patience: Duration,
}

impl<B: Backend> AwaitingClient<B> {
    /// The client of a fill, if it awaits a refresh.
    pub(super) fn new(
        state: &LayerState<B>,
        fill: &Fill<B::Fence>,
        outgoing: &OutgoingRequest,
    ) -> Option<Self> {
        if !fill.miss.awaits_refresh {
            return None;
        }
        let Preconditions { method, fields } = outgoing.preconditions();
        Some(Self {
            state: state.clone(),
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
        mut call: Pin<Box<impl Future<Output = Answer<Res, E>> + Send + 'static>>,
        goes_on: bool,
    ) -> Answer<Res, E>
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
    fn stale_response<Res>(&self) -> Option<Response<ResponseBody<Res>>> {
        let (now, use_) = (self.state.now(), StaleUse::WhileRevalidate);
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
