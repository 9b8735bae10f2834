//! Hands a fetched response to its client and to the store as it streams, and to the followers once
//! it is whole.

use std::sync::Arc;

use http::{HeaderMap, response};
use tokio::runtime::Handle;

use crate::backend::Backend;
use crate::body::capture::Whole;
use crate::body::first_frames::FirstFrames;
use crate::body::origin::OriginBody;
use crate::body::pump::Pump;
use crate::body::response::ResponseBody;
use crate::flight::BodyStream;
use crate::semantics::reason::{FillOutcome, Refusal};
use crate::semantics::stored::StoredContent;
use crate::service::bounds::InnerBody;
use crate::service::fill_data::Storable;
use crate::service::respond::Responder;
use crate::service::served::Served;
use crate::service::store_fill::{CaptureGuard, LateRefusal, capture, commit};
use crate::state::LayerState;

use super::at_once::{Admitted, deliver_at_once};
use super::delivery::{Delivery, OpenStream, Publication, SharedLeader};

/// Delivers a response to its client alone, outside of a runtime: captured for the store as the
/// client reads it.
pub(crate) fn deliver_captured<B: Backend, Res: InnerBody>(
    delivery: Delivery<'_, B>,
    mut head: response::Parts,
    body: OriginBody<Res>,
    mut storable: Box<Storable<B::Fence>>,
) -> Served<Res> {
    let state = delivery.state;
    storable.request = delivery.noted_request(&storable);
    let late = LateRefusal::default();
    let share = Arc::new(state.buffer_share());
    let capture = capture(state, storable, share, false, late.clone());
    let body = ResponseBody::captured(body, capture);
    let cut = delivery.finish_head(&mut head, late.get());
    delivery.served(head, cut.unwrap_or(body))
}

/// Delivers a response with a stored body to its client alone.
pub(crate) fn deliver_confirmed<B: Backend, Res: InnerBody>(
    delivery: Delivery<'_, B>,
    mut head: response::Parts,
    (content, trailers): (StoredContent, Option<HeaderMap>),
    storable: Storable<B::Fence>,
) -> Served<Res> {
    let state = delivery.state;
    let late = LateRefusal::default();
    let body = ResponseBody::whole(content.bytes().clone(), trailers.as_ref());
    let public_key = storable.draft.source.public_key();
    let whole = Whole {
        content,
        trailers,
        share: Arc::new(state.buffer_share()),
    };
    commit(state, storable, Ok(whole), late.clone());
    let cut = delivery.finish_head(&mut head, late.get());
    let served = delivery.served(head, cut.unwrap_or(body));
    // A body that the backend keeps apart is another one for it now.
    let validated = delivery.outgoing.validated.as_ref();
    match validated.filter(|validated| !validated.is_detached()) {
        Some(validated) => served.made_of(state, public_key.as_ref(), validated),
        None => served,
    }
}

/// Delivers a response that is not stored, untouched apart from `Cache-Status`.
pub(crate) fn deliver_unstored<B: Backend, Res>(
    delivery: Delivery<'_, B>,
    mut head: response::Parts,
    body: OriginBody<Res>,
    refusal: Refusal,
) -> Served<Res> {
    let state = delivery.state;
    state.record_refusal(refusal);
    let (histograms, time) = (&state.shared.histograms, delivery.outgoing.time_to_head());
    histograms.observe_fill(FillOutcome::from_refusal(refusal), time);
    Responder::new(state).mark_fetched(&mut head, delivery.info, Some(refusal));
    delivery.served(head, ResponseBody::from_origin(body))
}

/// Delivers a response to its client, and to its followers if it has a leader. They read the same
/// bytes, each at its own pace. No reader slows down the store.
///
/// It may be stored, or could be if there were a fence.
pub(crate) fn deliver<B: Backend, Res: InnerBody>(
    delivery: Delivery<'_, B>,
    head: response::Parts,
    body: OriginBody<Res>,
    storable: Box<Storable<B::Fence>>,
    (leader, runtime): (Option<SharedLeader<B::Fence>>, Handle),
) -> Served<Res> {
    let state = delivery.state;
    let first = FirstFrames::poll(body);
    if first.has_panicked() {
        state.shared.background.report_panic();
    }
    let storable = match first.whole_length() {
        None => storable,
        Some(length) => match Admitted::new(state, length, storable, leader.as_ref()) {
            Err(storable) => storable,
            Ok(admitted) => {
                return deliver_at_once(delivery, head, first.into_whole(), admitted, leader);
            }
        },
    };
    deliver_streaming(delivery, head, first, storable, (leader, runtime))
}

/// Delivers a response whose body streams to its readers and into the store.
fn deliver_streaming<B: Backend, Res: InnerBody>(
    delivery: Delivery<'_, B>,
    mut head: response::Parts,
    first: FirstFrames<Res>,
    mut storable: Box<Storable<B::Fence>>,
    (leader, runtime): (Option<SharedLeader<B::Fence>>, Handle),
) -> Served<Res> {
    let state = delivery.state;
    storable.request = delivery.noted_request(&storable);
    let new_stream = || BodyStream::new(state.buffer_share());
    let opened = OpenStream::new(leader.clone(), delivery.outgoing.kind, new_stream);
    let (own, late, length) = (
        opened.reader(),
        opened.late.clone(),
        storable.sharing.length,
    );
    let publication = leader.map(|leader| {
        let (key, sharing) = (storable.draft.source.shared_key, storable.sharing.clone());
        Publication::new(state, leader, (key, sharing), &head)
    });
    // Made before the head is published: if it is dropped, it ends the followers' bodies.
    let pump = pump(state, storable, opened);
    let publish = || publication.into_iter().for_each(Publication::publish);
    state
        .shared
        .background
        .run_on(Some(&runtime), pump.run(first, publish));
    // A body that is in memory already has been stored by now, or refused.
    let cut = delivery.finish_head(&mut head, late.get());
    let body = cut.unwrap_or_else(|| ResponseBody::shared(own, length));
    delivery.served(head, body)
}

/// The pump from a body to the readers of a stream, which captures it for the store.
///
/// A body that is not to be stored, for lack of a fence, is collected all the same: those who wait
/// for the response share it once it is whole.
fn pump<B: Backend>(
    state: &LayerState<B>,
    storable: Box<Storable<B::Fence>>,
    opened: OpenStream<B::Fence>,
) -> Pump {
    let (stream, length) = (opened.stream.clone(), storable.sharing.length);
    let share = stream.share();
    stream.announce_length(length);
    if let Err(refusal) = &storable.fence {
        opened.late.mark_refused(*refusal);
    }
    // A sixteenth more, for the bookkeeping of chunks.
    let announced = length.map_or(0, |length| length.saturating_add(length / 16));
    let has_room = share.reserve_announced(announced) && share.may_store(length.unwrap_or(0));
    let limits = state.config.coalesce;
    let received = storable.sharing.grant.freshness.received;
    let time_left = limits
        .fill_timeout
        .saturating_sub(received.since(storable.sharing.called));
    let waits = (time_left, storable.has_trailers);
    let mut capture = capture(state, storable, share, true, opened);
    if !has_room {
        capture.give_up(Refusal::Budget);
    }
    Pump::new(stream, capture, waits, limits)
}
