//! Responses whose bodies are there at once, such as those of a service that answers from memory.
//!
//! They are stored before the client has their heads. If that is done by then, and no request has
//! joined the flight, the client gets the stored bytes, and nothing streams. The others are
//! delivered as those whose bodies take time.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, response};

use crate::backend::{Backend, Lookup};
use crate::body::kept_chunks::own;
use crate::body::response::ResponseBody;
use crate::error::panics::{Panicked, catch};
use crate::flight::{BodyEnd, BodyStream, BudgetShare};
use crate::key::CacheKey;
use crate::semantics::reason::Refusal;
use crate::service::bounds::InnerBody;
use crate::service::fill_data::{NewEntry, Storable};
use crate::service::served::Served;
use crate::service::store_fill::{CaptureGuard, end_fill};
use crate::state::LayerState;

use super::delivery::{Delivery, OpenStream, Publication, SharedLeader};

/// The least number of bytes that a chunk takes in the budget beside its own.
const MIN_BOOKKEEPING: u64 = 96;

/// A response that is stored with a body that is there at once.
pub(super) struct Admitted<F> {
    storable: Box<Storable<F>>,
    fence: F,
    share: BudgetShare,
}

impl<F: Clone> Admitted<F> {
    /// Admits a response with a body of this length. An error returns it: the usual way of a body
    /// refuses it.
    pub(super) fn new<B: Backend<Fence = F>>(
        state: &LayerState<B>,
        length: u64,
        storable: Box<Storable<F>>,
        leader: Option<&SharedLeader<F>>,
    ) -> Result<Self, Box<Storable<F>>> {
        let is_announced = storable
            .sharing
            .length
            .is_none_or(|announced| announced == length);
        let is_whole = storable.merge.is_none() && is_announced;
        let key = storable.draft.source.key;
        let may_replace = || leader.is_none_or(|leader| leader.claim_store(key));
        match storable.fence.clone() {
            Ok(fence) if is_whole && length <= state.max_stored_body() => {
                let share = state.buffer_share();
                let taken = length.saturating_add(MIN_BOOKKEEPING.max(length / 16));
                match share.may_store(length) && share.try_reserve(taken) && may_replace() {
                    true => Ok(Self {
                        storable,
                        fence,
                        share,
                    }),
                    false => Err(storable),
                }
            }
            _ => Err(storable),
        }
    }
}

/// Polls a store once. A panic is a refusal.
fn poll_once<B: Backend>(
    state: &LayerState<B>,
    storing: Pin<&mut impl Future<Output = Option<Refusal>>>,
) -> Poll<Option<Refusal>> {
    let mut cx = Context::from_waker(Waker::noop());
    catch(|| storing.poll(&mut cx)).unwrap_or_else(|Panicked| {
        state.shared.background.report_panic();
        Poll::Ready(Some(Refusal::BackendFailed))
    })
}

/// The answer, with the response that has been stored under this key, if it may be coded.
fn made_of_stored<B: Backend, Res>(
    state: &LayerState<B>,
    served: Served<Res>,
    key: Option<CacheKey>,
) -> Served<Res> {
    let Some(key) = key else {
        return served;
    };
    match state.shared.store.backend.get_now(&key) {
        Some(Lookup::Found(stored, _)) => served.made_of(state, Some(&key), &stored),
        _ => served,
    }
}

/// Stores a response with its whole body, and delivers it.
pub(super) fn deliver_at_once<B: Backend, Res: InnerBody>(
    delivery: Delivery<'_, B>,
    mut head: response::Parts,
    (data, trailers): (Bytes, Option<HeaderMap>),
    admitted: Admitted<B::Fence>,
    leader: Option<SharedLeader<B::Fence>>,
) -> Served<Res> {
    let state = delivery.state;
    let Admitted {
        storable,
        fence,
        share,
    } = admitted;
    let content = share.count_stored(own(data));
    let Storable { draft, sharing, .. } = *storable;
    let (key, whole) = (draft.source.shared_key, (&content, trailers.clone()));
    // The body has come with the head.
    let time = (sharing.called, sharing.grant.freshness.received);
    let coded_under = match state.config.compress.is_on() {
        true => draft.source.public_key(),
        false => None,
    };
    let entry = NewEntry::new(state, draft, fence, whole, time);
    let mut storing = Box::pin(entry.store(state.clone()));
    let stored = poll_once(state, storing.as_mut());
    let data = content.into_bytes();
    let took = time.1.monotonic_since(time.0);
    let is_alone = |leader: &SharedLeader<_>| leader.close_unfollowed(&key, took);
    if stored == Poll::Ready(None) && leader.as_ref().is_none_or(is_alone) {
        let cut = delivery.finish_head(&mut head, None);
        let body = cut.unwrap_or_else(|| ResponseBody::whole(data, trailers.as_ref()));
        return made_of_stored(state, delivery.served(head, body), coded_under);
    }
    let kind = delivery.outgoing.kind;
    let opened = OpenStream::new(leader.clone(), kind, || BodyStream::new(share));
    let (own, late, length) = (opened.reader(), opened.late.clone(), sharing.length);
    let publication = leader.map(|leader| Publication::new(state, leader, (key, sharing), &head));
    opened.note_time(took);
    opened.stream.announce_length(length);
    if !data.is_empty() {
        opened.stream.push(data);
    }
    opened.stream.end(BodyEnd::Complete(trailers));
    if let Some(publication) = publication {
        publication.publish();
    }
    let task = state.clone();
    state.shared.background.run(async move {
        let refusal = match stored {
            Poll::Ready(refusal) => refusal,
            Poll::Pending => storing.await,
        };
        end_fill(&task, refusal, opened).await;
    });
    let cut = delivery.finish_head(&mut head, late.get());
    let body = cut.unwrap_or_else(|| ResponseBody::shared(own, length));
    delivery.served(head, body)
}
