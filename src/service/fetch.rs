//! Calls the inner service, judges storing, hangs the capture.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderMap, Method, Request, Response, response};
use http_body::Body;
use tower_service::Service;

use crate::backend::{Backend, CacheKey};
use crate::semantics::date;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{Bypass, Reason, Refusal};
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::{Answered, Asked, Grant, Storing, StoringRules, storing};
use crate::stats::Event;

use super::body::{BoxError, ResponseBody};
use super::budget::Share;
use super::capture::{Capture, Captured};
use super::inner;
use super::lookup::Fill;
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

/// A fill: the answer goes to the client at once, and into the store when it has ended and the fence still holds.
pub(super) async fn fetch<S, B, Req, Res>(
    shared: Shared<B>,
    inner: S,
    request: Request<Req>,
    fill: Fill<B::Fence>,
) -> Result<Response<ResponseBody<Res>>, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>>,
    B: Backend,
    Res: Body<Data = Bytes> + Send + 'static,
    Res::Error: Into<BoxError>,
{
    let reason = fill.miss.reason;
    shared.count(Event::Fetch(reason));
    tracing::debug!(reason = reason.as_str(), "fetch");
    let sent = Sent::of(&request, shared.now());
    let unstorable = shared.unstorable(&fill, &sent);
    let response = inner::call(inner, request).await?;
    let (mut head, body) = response.into_parts();
    let storing = match unstorable {
        Some(refusal) => Err(refusal),
        None => shared.grant(&fill, &sent, &head, &body),
    };
    let body = match storing {
        Ok(grant) => {
            stamp_date(&mut head, &grant);
            let capture = shared.capture(fill, &sent, &head, &body, grant);
            shared.forwarded(&mut head.headers, reason, None);
            ResponseBody::captured(body, capture)
        }
        Err(refusal) => {
            shared.refused(refusal);
            shared.forwarded(&mut head.headers, reason, Some(refusal));
            ResponseBody::streaming(body)
        }
    };
    Ok(Response::from_parts(head, body))
}

/// What of a request is still needed when its answer comes.
struct Sent {
    method: Method,
    headers: HeaderMap,
    at: Moment,
}

impl Sent {
    fn of<Req>(request: &Request<Req>, at: Moment) -> Self {
        Self {
            method: request.method().clone(),
            headers: request.headers().clone(),
            at,
        }
    }
}

impl<B: Backend> Shared<B> {
    /// Why nothing that answers this fill can be stored, known before the inner service is called.
    fn unstorable(&self, fill: &Fill<B::Fence>, sent: &Sent) -> Option<Refusal> {
        let resource = fill.key.key.resource();
        if fill.miss.fence.is_none() {
            Some(Refusal::BackendFailed)
        } else if self.core.grace.is_active(resource, sent.at) {
            Some(Refusal::WriteGrace)
        } else {
            None
        }
    }

    fn grant<Res: Body>(
        &self,
        fill: &Fill<B::Fence>,
        sent: &Sent,
        head: &response::Parts,
        body: &Res,
    ) -> Result<Grant, Refusal> {
        let asked = Asked {
            method: &sent.method,
            headers: &sent.headers,
            at: sent.at,
        };
        let answered = Answered {
            status: head.status,
            headers: &head.headers,
            at: self.now(),
        };
        let rules = StoringRules {
            assigned: self.config.assigned_ttl(head),
            store_set_cookie: self.config.store_set_cookie,
            existing: fill.miss.existing,
        };
        match storing(asked, answered, rules) {
            Storing::Refuse(refusal) => Err(refusal),
            Storing::Store(_) if self.is_too_large(head, body) => Err(Refusal::TooLarge),
            Storing::Store(grant) => Ok(grant),
        }
    }

    /// The largest body that is stored.
    pub(super) fn limit(&self) -> u64 {
        self.config.max_body.min(self.core.backend.largest())
    }

    fn is_too_large<Res: Body>(&self, head: &response::Parts, body: &Res) -> bool {
        let least = body.size_hint().lower();
        least.max(announced_length(head, body).unwrap_or(0)) > self.limit()
    }

    fn capture<Res: Body>(
        &self,
        fill: Fill<B::Fence>,
        sent: &Sent,
        head: &response::Parts,
        body: &Res,
        grant: Grant,
    ) -> Capture {
        let key = match &grant.selected {
            Some(selected) => {
                fill.key
                    .key
                    .variant_for(&self.core.seed, selected.rule(), &sent.headers)
            }
            None => fill.key.key,
        };
        let stored = StoredHead::new(fill.key.identity, head.status, &head.headers, grant);
        let share = Share::new(self.core.capturing.clone(), self.config.max_capturing);
        let announced = announced_length(head, body);
        let shared = self.clone();
        let fence = fill.miss.fence;
        Capture::new(
            self.limit(),
            announced,
            share,
            move |captured| match fence {
                Some(fence) => shared.commit(key, fence, stored, captured),
                None => shared.refused(Refusal::BackendFailed),
            },
        )
    }

    /// Stores at the body's clean end; where the backend needs waiting for, off the request's way.
    fn commit(&self, key: CacheKey, fence: B::Fence, head: StoredHead, captured: Captured) {
        let (body, trailers) = match captured {
            Ok(captured) => captured,
            Err(refusal) => return self.refused(refusal),
        };
        let response = Arc::new(head.with_body(body, trailers));
        let shared = self.clone();
        inner::run_aside(async move {
            let put = shared.core.backend.put(&key, fence, response).await;
            shared.put(&put);
        });
    }
}

/// The length the response has by its own account.
pub(super) fn announced_length<Res: Body>(head: &response::Parts, body: &Res) -> Option<u64> {
    head.headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .or_else(|| body.size_hint().exact())
}

/// A response without `Date` gets the moment of its receipt, on its way to the client too (RFC 9110 §6.6.1).
fn stamp_date(head: &mut response::Parts, grant: &Grant) {
    head.headers
        .entry(DATE)
        .or_insert_with(|| date::format(grant.freshness.received.wall()));
}
