//! Calls the inner service, judges storing, hangs the capture.

use std::sync::Arc;

use bytes::Bytes;
use http::header::DATE;
use http::{HeaderMap, Method, Request, Response, response};
use http_body::Body;
use tower_service::Service;

use crate::backend::{Backend, CacheKey, Resource};
use crate::semantics::date;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{Bypass, Reason, Refusal};
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::{Asked, Grant};
use crate::stats::Event;

use super::body::{BoxError, ResponseBody};
use super::capture::{Capture, Captured};
use super::inner;
use super::judge::announced_length;
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
    let Fill { miss, key } = fill;
    let reason = miss.reason;
    shared.count(Event::Fetch(reason));
    tracing::debug!(reason = reason.as_str(), "fetch");
    let sent = Sent::of(&request, shared.now());
    let fence = shared.usable(miss.fence, key.key.resource(), sent.at);
    let response = inner::call(inner, request).await?;
    let (mut head, body) = response.into_parts();
    let storing = fence.and_then(|fence| {
        let grant = shared.grant(sent.asked(), &head, &body, miss.existing)?;
        Ok((fence, grant))
    });
    let body = match storing {
        Ok((fence, grant)) => {
            stamp_date(&mut head, &grant);
            let key_of_variant = shared.key_of(key.key, &grant, &sent.headers);
            let stored = StoredHead::new(key.identity, head.status, &head.headers, grant);
            let announced = announced_length(&head, &body);
            shared.forwarded(&mut head.headers, reason, None);
            ResponseBody::captured(
                body,
                shared.capture(key_of_variant, fence, stored, announced),
            )
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

    fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            headers: &self.headers,
            at: self.at,
        }
    }
}

impl<B: Backend> Shared<B> {
    /// The fence, unless it is known before the inner service is called that its answer cannot be stored.
    fn usable(
        &self,
        fence: Option<B::Fence>,
        resource: &Resource,
        now: Moment,
    ) -> Result<B::Fence, Refusal> {
        let fence = fence.ok_or(Refusal::BackendFailed)?;
        if self.core.grace.is_active(resource, now) {
            return Err(Refusal::WriteGrace);
        }
        Ok(fence)
    }

    fn capture(
        &self,
        key: CacheKey,
        fence: B::Fence,
        head: StoredHead,
        announced: Option<u64>,
    ) -> Capture {
        let shared = self.clone();
        Capture::new(self.limit(), announced, self.share(), move |captured| {
            shared.commit(key, fence, head, captured);
        })
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

/// A response without `Date` gets the moment of its receipt, on its way to the client too (RFC 9110 §6.6.1).
fn stamp_date(head: &mut response::Parts, grant: &Grant) {
    head.headers
        .entry(DATE)
        .or_insert_with(|| date::format(grant.freshness.received.wall()));
}
