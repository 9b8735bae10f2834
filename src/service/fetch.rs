//! Calls the inner service for one request alone, judges storing, hangs the capture.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{DATE, TRAILER};
use http::{Request, Response, response};
use http_body::Body;
use tower_service::Service;

use crate::backend::{Backend, CacheKey, Put};
use crate::flight::{Readers, Share};
use crate::semantics::date;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{Bypass, Reason, Refusal};
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::{Grant, StoringRules};
use crate::stats::Event;

use super::ask::{Came, ask};
use super::body::{BoxError, ResponseBody};
use super::capture::{Capture, Captured, Terms, Whole};
use super::content::Content;
use super::inner;
use super::judge::announced_length;
use super::lookup::Fill;
use super::sent::{Forward, Sent};
use super::shared::Shared;

/// Past the cache.
pub(super) async fn pass<S, B, Req, Res>(
    shared: Shared<B>,
    inner: S,
    request: Request<Req>,
    reason: Bypass,
) -> Result<Response<ResponseBody<Res>>, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>>,
    B: Backend,
{
    shared.count(Event::Bypass(reason));
    tracing::debug!(reason = reason.as_str(), "bypass");
    let mut response = inner::call(inner, request)
        .await?
        .map(ResponseBody::streaming);
    shared.bypassed(response.headers_mut(), reason);
    Ok(response)
}

/// A fill that nobody shares: the answer goes to the client at once, and into the store when it has ended and the fence
/// still holds.
pub(super) async fn alone<S, B, Req, Res>(
    shared: Shared<B>,
    inner: S,
    request: Request<Req>,
    fill: Fill<B::Fence>,
    mut sent: Sent,
) -> Result<Response<ResponseBody<Res>>, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>>,
    B: Backend,
    Res: Body<Data = Bytes> + Send + 'static,
    Res::Error: Into<BoxError>,
{
    let may_store = shared.may_store(&fill, sent.at);
    let (response, forward) = match ask(&shared, inner, request, &fill, &mut sent, |_| ()).await {
        Came::Answer(response, forward) => (response, forward),
        Came::Instead(response) => return Ok(response),
        Came::Error(error) => return Err(error),
    };
    let (mut head, body) = response.into_parts();
    shared.told_by_head(&fill, &sent, &head).await;
    let storable =
        may_store.and_then(|fence| shared.storable(fill, Ok(fence), &sent, &mut head, &body));
    Ok(match storable {
        Ok(storable) => shared.answer_alone(head, body, storable, forward, &sent),
        Err(refusal) => shared.answer_unstored(head, body, refusal, forward),
    })
}

/// An answer that may be stored, once its body is here.
pub(super) struct Storable<F> {
    pub(super) key: CacheKey,
    /// The key that it was looked for under, and the whole of it.
    pub(super) place: CacheKey,
    pub(super) identity: Arc<[u8]>,
    /// What must hold when it is stored, or why it is shared only.
    pub(super) fence: Result<F, Refusal>,
    pub(super) stored: StoredHead,
    pub(super) grant: Grant,
    /// The body's length, where it is announced.
    pub(super) length: Option<u64>,
    has_trailers: bool,
    /// When the inner service was called.
    pub(super) began: Moment,
    /// What it was judged by, whatever was stored before.
    pub(super) rules: StoringRules,
}

/// What is held until a body is stored, or is known not to be.
pub(super) trait Held: Send + 'static {
    /// Who is to be told when the stored response is gone.
    fn companion(&self) -> Option<Arc<Readers>> {
        None
    }

    /// It is stored.
    fn is_stored(&self) {}
}

impl Held for () {}

impl<B: Backend> Shared<B> {
    /// Under which fence an answer to a fill that begins now may be stored, if it may at all. Asked before the inner service
    /// is called.
    pub(super) fn may_store(
        &self,
        fill: &Fill<B::Fence>,
        now: Moment,
    ) -> Result<B::Fence, Refusal> {
        if let Some(refusal) = fill.miss.barred {
            return Err(refusal);
        }
        let fence = fill.miss.fence.clone().ok_or(Refusal::BackendFailed)?;
        if self.core.grace.is_active(fill.key.key.resource(), now) {
            return Err(Refusal::WriteGrace);
        }
        Ok(fence)
    }

    /// Judges an answer. One that may be stored and has no `Date` gets the moment of its receipt, on its way to the client
    /// too (RFC 9110 §6.6.1).
    pub(super) fn storable<Res: Body>(
        &self,
        fill: Fill<B::Fence>,
        fence: Result<B::Fence, Refusal>,
        sent: &Sent,
        head: &mut response::Parts,
        body: &Res,
    ) -> Result<Storable<B::Fence>, Refusal> {
        let rules = self.rules(head);
        let existing = fill.miss.existing;
        let with_existing = StoringRules {
            existing,
            ..rules.clone()
        };
        let grant = self.grant(sent.asked(), &fill.key.identity, head, body, with_existing)?;
        let fence = fence.and_then(|fence| self.spares(&grant.groups, sent.at).map(|()| fence));
        head.headers
            .entry(DATE)
            .or_insert_with(|| date::format(grant.freshness.received.wall()));
        if grant.freshness.is_reusable() {
            self.no_longer_refused(&fill.miss.place, &sent.headers);
        }
        let identity = fill.key.identity;
        Ok(Storable {
            place: fill.miss.place,
            identity: identity.clone(),
            key: self.key_of(fill.key.key, &grant, &sent.headers),
            fence,
            stored: StoredHead::new(identity, head.status, &head.headers, grant.clone()),
            grant,
            length: announced_length(head, body),
            has_trailers: head.headers.contains_key(TRAILER),
            began: sent.at,
            rules,
        })
    }

    /// The inner service's answer, captured as it passes.
    pub(super) fn answer_alone<Res>(
        &self,
        mut head: response::Parts,
        body: Content<Res>,
        storable: Storable<B::Fence>,
        forward: Forward,
        sent: &Sent,
    ) -> Response<ResponseBody<Res>>
    where
        Res: Body<Data = Bytes>,
        Res::Error: Into<BoxError>,
    {
        let cut = self.cut(&mut head, sent);
        self.forwarded(&mut head, forward, None);
        let share = Arc::new(self.share());
        let body = match body.as_stored() {
            Some((data, trailers)) => {
                let body = ResponseBody::whole(data.clone(), trailers.clone());
                let whole = Whole {
                    data,
                    trailers,
                    share,
                };
                self.commit(storable, Ok(whole), ());
                body
            }
            None => {
                let capture = self.capture(storable, share, false, ());
                ResponseBody::captured(body, capture)
            }
        };
        Response::from_parts(head, cut.unwrap_or(body))
    }

    /// The inner service's answer, untouched but for what the cache says of it.
    pub(super) fn answer_unstored<Res>(
        &self,
        mut head: response::Parts,
        body: Content<Res>,
        refusal: Refusal,
        forward: Forward,
    ) -> Response<ResponseBody<Res>> {
        self.refused(refusal);
        self.forwarded(&mut head, forward, Some(refusal));
        Response::from_parts(head, ResponseBody::content(body))
    }

    /// Collects a body for the store, with a share of the budget that it takes from unless that is done for it; `held` is
    /// let go of when all is done.
    pub(super) fn capture(
        &self,
        storable: Storable<B::Fence>,
        share: Arc<Share>,
        is_counted: bool,
        held: impl Held,
    ) -> Capture {
        let shared = self.clone();
        let terms = Terms {
            limit: self.limit(),
            announced: storable.length,
            has_trailers: storable.has_trailers,
            is_counted,
        };
        Capture::new(terms, share, move |captured| {
            shared.commit(storable, captured, held);
        })
    }

    /// What a fill has cost by now. A wall clock that was set has no part in it.
    pub(super) fn cost_since(&self, began: Moment) -> Duration {
        let now = self.now().monotonic();
        now.saturating_sub(began.monotonic())
    }

    /// Stores at the body's clean end; where the backend needs waiting for, off the request's way.
    fn commit(&self, storable: Storable<B::Fence>, captured: Captured, held: impl Held) {
        let (whole, fence) = match captured.and_then(|whole| Ok((whole, storable.fence?))) {
            Ok(may_be_stored) => may_be_stored,
            Err(refusal) => {
                // So that the next ones do not wait for what is not kept either.
                if refusal == Refusal::TooLarge {
                    self.remember_refused(&storable.place, refusal);
                }
                return self.refused(refusal);
            }
        };
        let Whole {
            data,
            trailers,
            share,
        } = whole;
        let Storable {
            key,
            stored,
            began,
            place,
            ..
        } = storable;
        let cost = self.cost_since(began);
        let stored = self.tagged(stored, &data);
        let mut response = stored.with_body(data, trailers, cost);
        if let Some(companion) = held.companion() {
            response = response.with_companion(companion);
        }
        let response = Arc::new(response);
        let shared = self.clone();
        self.core.background.run(async move {
            let backend = &shared.core.backend;
            let put = backend.put(&key, fence, response, shared.now()).await;
            if matches!(put, Ok(Put::Stored)) {
                shared.core.failing.forget(&place);
                held.is_stored();
            }
            shared.put(&put);
            drop((share, held));
        });
    }
}
