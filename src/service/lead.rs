//! Leads a flight: calls the inner service, tells the followers, and sees to it that they get the whole body.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, response};
use http_body::Body;
use tokio::runtime::Handle;
use tower_service::Service;

use crate::backend::Backend;
use crate::flight::{Lead, Readers, Stage, Stream};
use crate::semantics::reason::{FetchReason, Refusal};
use crate::wait::within;

use super::ask::{Came, ask};
use super::body::{BoxError, ResponseBody};
use super::driven::Driven;
use super::fetch::{Held, Sent, Storable};
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
    let fill = drive(shared.clone(), inner, request, fill, sent, lead.clone());
    Driven::new(shared, lead, fill).answer().await
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
    let fence = shared.may_store(&fill, sent.at);
    shared.takes_turn(&lead).await;
    let begins = |now| lead.begins(now);
    let response = match ask(&shared, inner, request, &fill, &mut sent, begins).await {
        Came::Answer(response) => response,
        // Both are the leader's alone: they leave the flight vacant.
        Came::Instead(response) => return Ok(response),
        Came::Error(error) => return Err(error),
    };
    let (mut head, body) = response.into_parts();
    let storable = shared.storable(fill, fence, &sent, &mut head, &body);
    Ok(match (storable, shared.core.background.runtime()) {
        (Ok(storable), Some(runtime)) => {
            shared.answer_all(head, body, storable, reason, lead, &runtime)
        }
        (Ok(storable), None) => {
            lead.ends_with(Stage::Vacant);
            shared.answer_alone(head, body, storable, reason)
        }
        (Err(refusal), _) => {
            shared.release(&lead, refusal, head.status);
            shared.answer_unstored(head, body, refusal, reason)
        }
    })
}

impl<B: Backend> Shared<B> {
    /// Waits until the call before has come to something, if there is one that must be waited for.
    async fn takes_turn(&self, lead: &Lead<B::Fence, SharedHead>) {
        let Some((patience, comes)) = lead.turn() else {
            return;
        };
        if let Some(Stage::Refused(refusal)) = within(patience, comes).await
            && refusal.concerns_every_request()
        {
            // Nor will this call's answer be for all who wait for it.
            lead.ends_with(Stage::Refused(refusal));
        }
    }

    /// Shares an answer that may be stored, or might be if there were a fence: leader and followers read the same bytes, each
    /// at its own pace.
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
        lead.is_also(storable.key);
        let stream = lead.stream().clone();
        let own = stream.reader();
        let length = storable.length;
        let shared_head = SharedHead {
            status: head.status,
            headers: SharedHead::headers_of(&head),
            identity: storable.identity.clone(),
            grant: storable.grant.clone(),
            rules: storable.rules,
            called: storable.began,
            length,
        };
        let open = Open {
            lead: lead.clone(),
            stream: stream.clone(),
        };
        let share = stream.share();
        // With some more for what it takes to keep it in pieces.
        let reserved = length.map_or(0, |length| length.saturating_add(length / 16));
        let refusal = match &storable.fence {
            Err(refusal) => Some(*refusal),
            Ok(_) if !share.reserve(reserved) => Some(Refusal::Budget),
            Ok(_) => None,
        };
        let passed = self.now().since(storable.began);
        let mut capture = self.capture(storable, share, true, open);
        if let Some(refusal) = refusal {
            capture.give_up(refusal);
        }
        // Made before anybody is told: whatever happens to it, it ends what they read.
        let pump = Pump::new(body, stream, capture, self.config.flight, passed);
        lead.tell(Stage::Shared(Arc::new(shared_head)));
        self.core.background.run_on(Some(runtime), pump.run());
        self.forwarded(&mut head.headers, reason, refusal);
        match own {
            Some(reader) => Response::from_parts(head, ResponseBody::shared(reader, length)),
            None => unreachable!("nothing of a new stream is gone"),
        }
    }
}

/// A flight that others can join until its body is stored, or is known not to be.
struct Open<F, H> {
    lead: Arc<Lead<F, H>>,
    stream: Stream,
}

impl<F, H> Held for Open<F, H>
where
    F: Send + Sync + 'static,
    H: Send + Sync + 'static,
{
    fn companion(&self) -> Option<Arc<Readers>> {
        Some(self.stream.companion())
    }

    fn is_stored(&self) {
        self.stream.is_stored();
    }
}

impl<F, H> Drop for Open<F, H> {
    fn drop(&mut self) {
        self.lead.close();
        self.stream.share().release_reserved();
        self.stream.drop_what_was_read();
    }
}
