//! Leads a flight: calls the inner service, tells the followers, and sees to it that they get the whole body.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, response};
use http_body::Body;
use tokio::runtime::Handle;
use tower_service::Service;

use crate::backend::Backend;
use crate::flight::{Lead, Stage, Stream};
use crate::semantics::reason::FetchReason;

use super::ask::{Came, ask};
use super::body::{BoxError, ResponseBody};
use super::fetch::{Sent, Storable};
use super::inner::within;
use super::lookup::Fill;
use super::pump::Pump;
use super::shared::Shared;
use super::sharing::SharedHead;

type Answer<Res, E> = Result<Response<ResponseBody<Res>>, E>;

pub(super) async fn lead<S, B, Req, Res>(
    shared: Shared<B>,
    inner: S,
    request: Request<Req>,
    fill: Fill<B::Fence>,
    sent: Sent,
    lead: Lead<B::Fence, SharedHead>,
) -> Answer<Res, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>> + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Backend,
    Req: Send + 'static,
    Res: Body<Data = Bytes> + Send + 'static,
    Res::Error: Into<BoxError>,
{
    let lead = Arc::new(lead);
    let limit = shared.config.flight.fill;
    let handed_over = HandedOver {
        runtime: Handle::try_current().ok(),
        background: shared.clone(),
        lead: lead.clone(),
        limit,
        fill: Some(Box::pin(drive(shared, inner, request, fill, sent, lead))),
    };
    handed_over.answer().await
}

/// A fill whose leader may leave: if somebody follows, it goes on in a task of its own, and is dropped with its leader
/// otherwise.
struct HandedOver<F, L, B>
where
    F: Future<Output: Send> + Send + 'static,
    L: Followed,
    B: Backend,
{
    runtime: Option<Handle>,
    background: Shared<B>,
    lead: Arc<L>,
    limit: Duration,
    fill: Option<Pin<Box<F>>>,
}

/// Whether somebody follows.
trait Followed {
    fn is_followed(&self) -> bool;
}

impl<F, H> Followed for Lead<F, H> {
    fn is_followed(&self) -> bool {
        Lead::is_followed(self)
    }
}

impl<F, L, B> HandedOver<F, L, B>
where
    F: Future<Output: Send> + Send + 'static,
    L: Followed,
    B: Backend,
{
    async fn answer(mut self) -> F::Output {
        poll_fn(|cx| {
            // Taken out while it is polled: after a panic there is nothing left to hand over.
            let mut fill = self.fill.take().expect("polled after completion");
            let polled = fill.as_mut().poll(cx);
            if polled.is_pending() {
                self.fill = Some(fill);
            }
            polled
        })
        .await
    }
}

impl<F, L, B> Drop for HandedOver<F, L, B>
where
    F: Future<Output: Send> + Send + 'static,
    L: Followed,
    B: Backend,
{
    fn drop(&mut self) {
        if let (Some(fill), Some(runtime)) = (self.fill.take(), &self.runtime)
            && self.lead.is_followed()
        {
            let limit = self.limit;
            self.background.core.background.spawn(runtime, async move {
                drop(within(limit, fill).await);
            });
        }
    }
}

/// The fill itself.
pub(super) async fn drive<S, B, Req, Res>(
    shared: Shared<B>,
    inner: S,
    request: Request<Req>,
    fill: Fill<B::Fence>,
    mut sent: Sent,
    lead: Arc<Lead<B::Fence, SharedHead>>,
) -> Answer<Res, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>>,
    B: Backend,
    Res: Body<Data = Bytes> + Send + 'static,
    Res::Error: Into<BoxError>,
{
    let reason = fill.miss.reason;
    let may_store = shared.may_store(&fill, sent.at);
    let response = match ask(&shared, inner, request, &fill, &mut sent).await {
        Came::Answer(response) => response,
        // Both are the leader's alone: they leave the flight vacant.
        Came::Instead(response) => return Ok(response),
        Came::Error(error) => return Err(error),
    };
    let (mut head, body) = response.into_parts();
    let storable = may_store.and_then(|()| shared.storable(fill, &sent, &mut head, &body));
    Ok(match (storable, shared.core.background.open()) {
        (Ok(storable), Some(runtime)) => {
            shared.answer_all(head, body, storable, reason, lead, &runtime)
        }
        (Ok(storable), None) => {
            lead.tell(Stage::Apart);
            shared.answer_alone(head, body, storable, reason)
        }
        (Err(refusal), _) => {
            if refusal.concerns_every_request() {
                shared.release(&lead);
            }
            shared.answer_unstored(head, body, refusal, reason)
        }
    })
}

impl<B: Backend> Shared<B> {
    /// Sends all followers on their own ways at once, and lets those who come soon not wait at all.
    fn release(&self, lead: &Lead<B::Fence, SharedHead>) {
        let time = self.config.flight.uncacheable;
        self.core
            .uncacheable
            .remember(&lead.key(), self.now(), time);
        lead.tell(Stage::Apart);
    }

    /// Shares an answer that may be stored: leader and followers read the same bytes, each at its own pace.
    fn answer_all<Res>(
        &self,
        mut head: response::Parts,
        body: Res,
        storable: Storable<B::Fence>,
        reason: FetchReason,
        lead: Arc<Lead<B::Fence, SharedHead>>,
        runtime: &Handle,
    ) -> Response<ResponseBody<Res>>
    where
        Res: Body<Data = Bytes> + Send + 'static,
        Res::Error: Into<BoxError>,
    {
        self.core.uncacheable.forget(&lead.key());
        let stream = Stream::default();
        let own = stream.reader();
        let length = storable.length;
        lead.tell(Stage::Shared(Arc::new(SharedHead {
            head: without_extensions(&head),
            grant: storable.grant.clone(),
            length,
            stream: stream.clone(),
        })));
        let capture = self.capture(storable, lead.clone());
        let pump = Pump::new(body, stream, capture, lead, self.config.flight);
        self.core.background.run_on(Some(runtime), pump.run());
        self.forwarded(&mut head.headers, reason, None);
        match own {
            Some(reader) => Response::from_parts(head, ResponseBody::shared(reader, length)),
            None => unreachable!("nothing of a new stream is gone"),
        }
    }
}

/// What one connection hung on a response is not for others.
fn without_extensions(head: &response::Parts) -> response::Parts {
    let (mut copy, ()) = Response::new(()).into_parts();
    copy.status = head.status;
    copy.version = head.version;
    copy.headers = head.headers.clone();
    copy
}
