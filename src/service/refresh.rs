//! Fetching anew in the background what may be used meanwhile (RFC 5861 §3), or is about to expire.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body::Body;
use tokio::runtime::Handle;
use tower_service::Service;

use crate::backend::{Backend, StoredResponse};
use crate::flight::{BodyStream, Leader};
use crate::random::uniform;
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::early;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{Reason, Refresh};
use crate::semantics::selection::is_condition_or_range;
use crate::stats::Event;

use crate::error::BoxError;
use crate::service::coalesce::follow::SharedHead;
use crate::service::coalesce::lead;
use crate::service::lookup::{Hit, Miss, Seen, Stored};
use crate::service::request::outgoing::Sent;
use crate::service::request::route::OwnKey;
use crate::state::Shared;
use crate::timeout::with_timeout;

/// A refresh that nobody else is on.
pub(crate) struct Renewal<B: Backend> {
    shared: Shared<B>,
    miss: Miss<B::Fence>,
    lead: Leader<B::Fence, SharedHead>,
    runtime: Handle,
}

impl<B: Backend> Renewal<B> {
    /// Goes on in the background. The request that was answered moves into it.
    pub(crate) fn begin<S, Req, Res>(self, inner: S, mut request: Request<Req>, key: OwnKey)
    where
        S: Service<Request<Req>, Response = http::Response<Res>> + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        Req: Send + 'static,
        Res: Body<Data = Bytes> + Send + 'static,
        Res::Error: Into<BoxError>,
    {
        make_whole(&mut request);
        let Self {
            shared,
            miss,
            lead,
            runtime,
        } = self;
        let sent = Sent::of(&request, shared.now());
        let background = shared.clone();
        background.core.background.spawn(&runtime, async move {
            let limit = shared.config.coalesce.fill_timeout;
            let fill = miss.of(key);
            let filled = lead::drive(shared, inner, request, fill, sent, Arc::new(lead));
            // Whom it was for has been answered: an error is noted where it arises.
            drop(with_timeout(limit, filled).await);
        });
    }
}

/// What is wanted is the whole response, whatever its trigger was content with.
fn make_whole<Req>(request: &mut Request<Req>) {
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    let conditions = headers.keys().filter(|name| is_condition_or_range(name));
    for name in conditions.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

impl<B: Backend> Shared<B> {
    /// Takes on the refresh of what a request was answered with, unless a fill of that key is under way.
    #[inline(never)]
    pub(crate) fn renewal(&self, why: Refresh, miss: Miss<B::Fence>) -> Option<Renewal<B>> {
        let runtime = self.core.background.open()?;
        let fence = miss.fence.clone()?;
        let (core, now) = (&self.core, self.now());
        let (terms, stream) = (self.join_rules(now), || BodyStream::new(self.share()));
        let lead = core
            .flights
            .lead_if_vacant(miss.place, fence, terms, stream)?;
        // Unless it brings something, whatever becomes of it, the next one is not tried at once.
        core.failing
            .refreshes(&miss.place, now, self.config.failure_backoff);
        self.count(Event::Refresh(why));
        tracing::debug!(reason = why.as_str(), "refresh");
        Some(Renewal {
            shared: self.clone(),
            miss,
            lead,
            runtime,
        })
    }

    /// Whether a response that is still fresh is to be fetched anew.
    pub(crate) fn is_early(&self, response: &StoredResponse, left: Option<Duration>) -> bool {
        let (Some(beta), Some(left)) = (self.config.early_refresh, left) else {
            return false;
        };
        // RFC 8246 §2: there is nothing to ask for while it is fresh.
        if response.freshness().immutable {
            return false;
        }
        let cost = response.cost();
        early::is_near(left, cost, beta)
            && early::is_due(left, cost, beta, uniform(&*self.config.random))
    }

    /// What becomes of a request whose answer will do, but is to be fetched anew.
    #[inline(never)]
    pub(crate) fn seen_due(
        &self,
        hit: Hit,
        why: Refresh,
        mut miss: Miss<B::Fence>,
        asked: &RequestDirectives,
        headers: &HeaderMap,
        now: Moment,
    ) -> Seen<B::Fence> {
        let core = &self.core;
        if asked.only_if_cached {
            return Seen::Usable(hit);
        }
        // Nobody would fetch it anew, or nothing that came of it could be stored.
        let is_in_vain = asked.no_store
            || self.is_refused(&miss.place, headers, now)
            || core.background.open().is_none();
        match why {
            Refresh::Stale if is_in_vain => return Seen::Fetch(miss),
            Refresh::Early if is_in_vain => return Seen::Usable(hit),
            _ if core.failing.is_refreshed_in_vain(&miss.place, now) => return Seen::Usable(hit),
            _ => {}
        }
        miss.is_answered_with(hit.response.clone());
        Seen::Renewable(hit, why, miss)
    }
}

impl<F> Miss<F> {
    /// The request has its answer: nothing needs to stand in, and nothing worse may take its place.
    pub(crate) fn is_answered_with(&mut self, response: Arc<StoredResponse>) {
        self.existing = Some(response.status());
        self.stored = Stored::InUse(response);
    }
}
