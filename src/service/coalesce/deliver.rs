//! Hands a fetched response to its client, and to the store and the followers as it streams.

use std::sync::Arc;

use http::{Response, response};
use tokio::runtime::Handle;

use crate::backend::Backend;
use crate::body::capture::Whole;
use crate::body::origin::OriginBody;
use crate::body::pump::Pump;
use crate::body::response::ResponseBody;
use crate::flight::{BodyReader, BodyStream, FlightOutcome, Leader};
use crate::semantics::reason::Refusal;
use crate::service::bounds::InnerBody;
use crate::service::fill_data::{FetchInfo, Storable};
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::respond::Responder;
use crate::service::select::stored::cut_response;
use crate::service::store_fill::{CaptureGuard, LateRefusal, capture, commit};
use crate::state::LayerState;
use crate::state::shared_head::SharedHead;

/// The circumstances of a delivery.
#[derive(Clone, Copy)]
pub(crate) struct Delivery<'d, B: Backend> {
    pub(crate) state: &'d LayerState<B>,
    pub(crate) outgoing: &'d OutgoingRequest,
    pub(crate) info: FetchInfo,
}

impl<B: Backend> Delivery<'_, B> {
    /// Cuts the head to the client's preconditions, and marks it; the body to send instead, if
    /// that is another.
    fn finish_head<Res>(
        self,
        head: &mut response::Parts,
        refusal: Option<Refusal>,
    ) -> Option<ResponseBody<Res>> {
        let cut = self.outgoing.has_client_conditions().then(|| {
            let preconditions = self.outgoing.preconditions();
            let confirmed = self.outgoing.confirmed_content();
            cut_response(head, preconditions, confirmed, self.state.now())
        });
        Responder::new(self.state).mark_fetched(head, self.info, refusal);
        cut.flatten()
    }
}

/// Delivers a response to its client alone, captured for the store as it arrives.
///
/// Where there is a runtime, the capture does not depend on the client: one that stops reading
/// would keep its bytes in the budget.
pub(crate) fn deliver_alone<B: Backend, Res: InnerBody>(
    delivery: Delivery<'_, B>,
    mut head: response::Parts,
    body: OriginBody<Res>,
    storable: Box<Storable<B::Fence>>,
) -> Response<ResponseBody<Res>> {
    let state = delivery.state;
    let late = LateRefusal::default();
    let body = match (body.as_stored(), state.shared.background.runtime()) {
        (Some((content, trailers)), _) => {
            let body = ResponseBody::whole(content.bytes().clone(), trailers.clone());
            let whole = Whole {
                content,
                trailers,
                share: Arc::new(state.buffer_share()),
            };
            commit(state, *storable, Ok(whole), late.clone());
            body
        }
        (None, Some(runtime)) => {
            let stream = BodyStream::new(state.buffer_share());
            let (own, length) = (reader_from_start(&stream), storable.length);
            let guard = OpenStream {
                stream: stream.clone(),
                late: late.clone(),
            };
            let pump = pump(state, storable, stream, guard);
            state
                .shared
                .background
                .run_on(Some(&runtime), pump.run(body));
            ResponseBody::shared(own, length)
        }
        (None, None) => {
            let share = Arc::new(state.buffer_share());
            let capture = capture(state, storable, share, false, late.clone());
            ResponseBody::captured(body, capture)
        }
    };
    let cut = delivery.finish_head(&mut head, late.get());
    Response::from_parts(head, cut.unwrap_or(body))
}

/// Delivers a response that is not stored, untouched apart from `Cache-Status`.
pub(crate) fn deliver_unstored<B: Backend, Res>(
    delivery: Delivery<'_, B>,
    mut head: response::Parts,
    body: OriginBody<Res>,
    refusal: Refusal,
) -> Response<ResponseBody<Res>> {
    let state = delivery.state;
    state.record_refusal(refusal);
    Responder::new(state).mark_fetched(&mut head, delivery.info, Some(refusal));
    Response::from_parts(head, ResponseBody::from_origin(body))
}

/// Delivers a response to its client and its followers, who read the same bytes, each at its own
/// pace.
///
/// It may be stored, or could be if there were a fence.
pub(crate) fn deliver_shared<B: Backend, Res: InnerBody>(
    delivery: Delivery<'_, B>,
    mut head: response::Parts,
    body: OriginBody<Res>,
    storable: Box<Storable<B::Fence>>,
    (leader, runtime): (Arc<Leader<B::Fence, SharedHead>>, Handle),
) -> Response<ResponseBody<Res>> {
    let state = delivery.state;
    leader.add_variant_key(storable.key);
    let stream = leader.stream().clone();
    let own = reader_from_start(&stream);
    let length = storable.length;
    let shared_head = SharedHead {
        status: head.status,
        headers: SharedHead::shareable_headers(&head, &storable.grant),
        identity: storable.identity.clone(),
        grant: storable.grant.clone(),
        rules: storable.rules.clone(),
        credential_fields: state.config.credential_fields.clone(),
        called: storable.called,
        length,
    };
    let late = LateRefusal::default();
    let guard = OpenFlight {
        leader: leader.clone(),
        stream: OpenStream {
            stream: stream.clone(),
            late: late.clone(),
        },
    };
    // Made before the head is published: if it is dropped, it ends the followers' bodies.
    let pump = pump(state, storable, stream, guard);
    leader.publish(FlightOutcome::Shared(Arc::new(shared_head)));
    state
        .shared
        .background
        .run_on(Some(&runtime), pump.run(body));
    // A body that is in memory already has been stored by now, or refused.
    let cut = delivery.finish_head(&mut head, late.get());
    let body = cut.unwrap_or_else(|| ResponseBody::shared(own, length));
    Response::from_parts(head, body)
}

/// A reader of a stream that nothing was pushed to yet.
fn reader_from_start(stream: &BodyStream) -> BodyReader {
    let reader = stream.reader();
    reader.expect("a new stream can be read from its beginning")
}

/// The pump from a body to the readers of a stream, which captures it for the store.
fn pump<B: Backend>(
    state: &LayerState<B>,
    storable: Box<Storable<B::Fence>>,
    stream: BodyStream,
    guard: impl CaptureGuard,
) -> Pump {
    let (share, length) = (stream.share(), storable.length);
    stream.announce_length(length);
    // A sixteenth more, for the bookkeeping of chunks.
    let reserved = length.map_or(0, |length| length.saturating_add(length / 16));
    let refusal = match &storable.fence {
        Err(refusal) => Some(*refusal),
        Ok(_) if !share.may_store(length.unwrap_or(0)) => Some(Refusal::Budget),
        Ok(_) if !share.try_reserve(reserved) => Some(Refusal::Budget),
        Ok(_) => None,
    };
    let limits = state.config.coalesce;
    let received = storable.grant.freshness.received;
    let time_left = limits
        .fill_timeout
        .saturating_sub(received.since(storable.called));
    let mut capture = capture(state, storable, share, true, guard);
    if let Some(refusal) = refusal {
        capture.give_up(refusal);
    }
    Pump::new(stream, capture, time_left, limits.slow_reader_timeout)
}

/// The stream of a body that is being captured. It keeps the body whole until that is stored, or
/// is known not to be.
struct OpenStream {
    stream: BodyStream,
    late: LateRefusal,
}

impl CaptureGuard for OpenStream {
    /// Lets new followers read from the stored bytes.
    fn mark_stored(&self) {
        self.stream.mark_stored();
    }

    fn mark_refused(&self, refusal: Refusal) {
        self.late.mark_refused(refusal);
    }

    fn stream(&self) -> Option<&BodyStream> {
        Some(&self.stream)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.stream.share().release_reserved();
        self.stream.stop_retaining();
    }
}

/// A flight that others can join until its body is stored, or is known not to be.
struct OpenFlight<F, H> {
    leader: Arc<Leader<F, H>>,
    stream: OpenStream,
}

impl<F, H> CaptureGuard for OpenFlight<F, H>
where
    F: Send + Sync + 'static,
    H: Send + Sync + 'static,
{
    fn mark_stored(&self) {
        self.stream.mark_stored();
    }

    fn mark_refused(&self, refusal: Refusal) {
        self.stream.mark_refused(refusal);
    }

    fn stream(&self) -> Option<&BodyStream> {
        self.stream.stream()
    }
}

impl<F, H> Drop for OpenFlight<F, H> {
    /// No request joins any more; only then the stream stops keeping the body whole.
    fn drop(&mut self) {
        match self.stream.late.get() {
            Some(Refusal::BodyFailed | Refusal::Abandoned) => self.leader.close(),
            _ => self.leader.close_whole(),
        }
    }
}
