//! Calls the inner service for one request alone, judges storing, hangs the capture.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, response};
use http_body::Body;
use tower_service::Service;

use crate::backend::Backend;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{Bypass, Reason, Refusal};
use crate::stats::Event;

use crate::body::capture::Whole;
use crate::body::origin::Content;
use crate::body::response::ResponseBody;
use crate::error::BoxError;
use crate::service::fill::decision::Storable;
use crate::service::lookup::Fill;
use crate::service::origin::fetch::{Came, ask};
use crate::service::origin::ready;
use crate::service::request::outgoing::{Forward, Sent};
use crate::state::Shared;

/// Past the cache.
pub(crate) async fn pass<S, B, Req, Res>(
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
    let mut response = ready::call(inner, request)
        .await?
        .map(ResponseBody::streaming);
    shared.bypassed(response.headers_mut(), reason);
    Ok(response)
}

/// A fill that nobody shares: the answer goes to the client at once, and into the store when it has ended and the fence
/// still holds.
pub(crate) async fn alone<S, B, Req, Res>(
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

impl<B: Backend> Shared<B> {
    /// Under which fence an answer to a fill that begins now may be stored, if it may at all. Asked before the inner service
    /// is called.
    pub(crate) fn may_store(
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

    /// The inner service's answer, captured as it passes.
    pub(crate) fn answer_alone<Res>(
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
    pub(crate) fn answer_unstored<Res>(
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
}
