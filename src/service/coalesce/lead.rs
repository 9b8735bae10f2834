//! Leads a flight: calls the inner service, tells the followers, and sees to it that they get the whole body.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, response};
use http_body::Body;
use tokio::runtime::Handle;
use tower_service::Service;

use crate::backend::Backend;
use crate::flight::{BodyStream, DropNotice, FlightOutcome, Leader};
use crate::semantics::reason::Refusal;

use crate::body::origin::Content;
use crate::body::pump::Pump;
use crate::body::response::ResponseBody;
use crate::error::BoxError;
use crate::service::coalesce::follow::SharedHead;
use crate::service::coalesce::shared_call::Driven;
use crate::service::fill::decision::{Held, Storable};
use crate::service::lookup::Fill;
use crate::service::origin::fetch::{Came, ask};
use crate::service::request::outgoing::{Forward, Sent};
use crate::state::Shared;

type Answer<Res, E> = Result<Response<ResponseBody<Res>>, E>;

pub(crate) async fn lead<S, B, Req, Res>(
    shared: Shared<B>,
    inner: S,
    request: Request<Req>,
    fill: Fill<B::Fence>,
    sent: Sent,
    lead: Leader<B::Fence, SharedHead>,
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
pub(crate) async fn drive<S, B, Req, Res>(
    shared: Shared<B>,
    inner: S,
    request: Request<Req>,
    fill: Fill<B::Fence>,
    mut sent: Sent,
    lead: Arc<Leader<B::Fence, SharedHead>>,
) -> Answer<Res, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>>,
    B: Backend,
    Res: Body<Data = Bytes> + Send + 'static,
    Res::Error: Into<BoxError>,
{
    let fence = shared.may_store(&fill, sent.at);
    shared.takes_turn(&lead).await;
    let begins = |now| lead.begin_call(now);
    let (response, forward) = match ask(&shared, inner, request, &fill, &mut sent, begins).await {
        Came::Answer(response, forward) => (response, forward),
        // Both are the leader's alone: they leave the flight vacant.
        Came::Instead(response) => return Ok(response),
        Came::Error(error) => return Err(error),
    };
    let (mut head, body) = response.into_parts();
    let storable = shared.storable(fill, fence, &sent, &mut head, &body);
    Ok(match (storable, shared.core.background.runtime()) {
        (Ok(storable), _) if !storable.grant.freshness.is_reusable() => {
            // Nobody may have it without asking (RFC 9111 §4, §5.2.2.4): the others ask at once, each for itself.
            shared.release(&lead, Refusal::NoCache, head.status);
            shared.answer_alone(head, body, storable, forward, &sent)
        }
        (Ok(storable), Some(runtime)) => {
            let open = (lead, runtime);
            shared.answer_all(head, body, storable, forward, &sent, open)
        }
        (Ok(storable), None) => {
            lead.close_with(FlightOutcome::Vacant);
            shared.answer_alone(head, body, storable, forward, &sent)
        }
        (Err(refusal), _) => {
            shared.release(&lead, refusal, head.status);
            shared.answer_unstored(head, body, refusal, forward)
        }
    })
}

impl<B: Backend> Shared<B> {
    /// Waits until the call before has come to something, if there is one that must be waited for.
    async fn takes_turn(&self, lead: &Leader<B::Fence, SharedHead>) {
        if let Some(FlightOutcome::Refused(refusal)) = lead.wait_for_predecessor().await
            && refusal.concerns_every_request()
        {
            // Nor will this call's answer be for all who wait for it.
            lead.close_with(FlightOutcome::Refused(refusal));
        }
    }

    /// Shares an answer that may be stored, or might be if there were a fence: leader and followers read the same bytes, each
    /// at its own pace.
    fn answer_all<Res>(
        &self,
        mut head: response::Parts,
        body: Content<Res>,
        storable: Storable<B::Fence>,
        forward: Forward,
        sent: &Sent,
        (lead, runtime): (Arc<Leader<B::Fence, SharedHead>>, Handle),
    ) -> Response<ResponseBody<Res>>
    where
        Res: Body<Data = Bytes> + Send + 'static,
        Res::Error: Into<BoxError>,
    {
        lead.add_variant_key(storable.key);
        let stream = lead.stream().clone();
        let own = stream.reader();
        let length = storable.length;
        let shared_head = SharedHead {
            status: head.status,
            headers: SharedHead::headers_of(&head, &storable.grant),
            identity: storable.identity.clone(),
            grant: storable.grant.clone(),
            rules: storable.rules.clone(),
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
            Ok(_) if !share.try_reserve(reserved) => Some(Refusal::Budget),
            Ok(_) => None,
        };
        let passed = self.now().since(storable.began);
        let mut capture = self.capture(storable, share, true, open);
        if let Some(refusal) = refusal {
            capture.give_up(refusal);
        }
        // Made before anybody is told: whatever happens to it, it ends what they read.
        let pump = Pump::new(body, stream, capture, self.config.coalesce, passed);
        lead.publish(FlightOutcome::Shared(Arc::new(shared_head)));
        self.core.background.run_on(Some(&runtime), pump.run());
        let cut = self.cut(&mut head, sent);
        self.forwarded(&mut head, forward, refusal);
        let body = match (cut, own) {
            (Some(cut), _) => cut,
            (None, Some(reader)) => ResponseBody::shared(reader, length),
            (None, None) => unreachable!("nothing of a new stream is gone"),
        };
        Response::from_parts(head, body)
    }
}

/// A flight that others can join until its body is stored, or is known not to be.
struct Open<F, H> {
    lead: Arc<Leader<F, H>>,
    stream: BodyStream,
}

impl<F, H> Held for Open<F, H>
where
    F: Send + Sync + 'static,
    H: Send + Sync + 'static,
{
    fn companion(&self) -> Option<Arc<DropNotice>> {
        Some(self.stream.drop_notice())
    }

    fn is_stored(&self) {
        self.stream.mark_stored();
    }
}

impl<F, H> Drop for Open<F, H> {
    fn drop(&mut self) {
        self.lead.close();
        self.stream.share().release_reserved();
        self.stream.stop_retaining();
    }
}
