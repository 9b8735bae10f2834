//! What all ways of delivering a response have in common: its circumstances, the stream of its
//! body, and the head that followers share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Response, StatusCode, response};

use crate::backend::Backend;
use crate::body::response::ResponseBody;
use crate::flight::{BodyReader, BodyStream, FlightOutcome, Leader};
use crate::key::CacheKey;
use crate::semantics::reason::{FetchReason, Refusal, RequestResult};
use crate::semantics::request_kind::RequestKind;
use crate::service::fill_data::{FetchInfo, SharingRules, Storable};
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::respond::Responder;
use crate::service::select::stored::cut_response;
use crate::service::served::Served;
use crate::service::store_fill::{CaptureGuard, LateRefusal};
use crate::state::LayerState;
use crate::state::noted_requests::RequestDigest;
use crate::state::shared_head::SharedHead;

/// The leader of a flight, as the fill and its guard share it.
pub(crate) type SharedLeader<F> = Arc<Leader<F, SharedHead>>;

/// The circumstances of a delivery.
#[derive(Clone, Copy)]
pub(crate) struct Delivery<'d, B: Backend> {
    pub(crate) state: &'d LayerState<B>,
    pub(crate) outgoing: &'d OutgoingRequest,
    pub(crate) info: FetchInfo,
}

impl<B: Backend> Delivery<'_, B> {
    /// The request, if others with its fields learn how its body ends.
    pub(super) fn noted_request(&self, storable: &Storable<B::Fence>) -> Option<RequestDigest> {
        let is_typical = storable.is_typical;
        is_typical.then(|| self.outgoing.digest(self.state))
    }

    /// Cuts the head to the client's preconditions, and marks it; the body to send instead, if
    /// that is another.
    pub(super) fn finish_head<Res>(
        &self,
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

    /// The response with this head and body, and the result that its request has.
    #[inline]
    pub(super) fn served<Res>(
        &self,
        head: response::Parts,
        body: ResponseBody<Res>,
    ) -> Served<Res> {
        let FetchInfo {
            reason,
            status,
            contradiction,
        } = self.info;
        let result = match reason {
            _ if contradiction.is_some() => RequestResult::Miss,
            _ if self.outgoing.is_confirmed() => RequestResult::Revalidated,
            FetchReason::Partial if status == StatusCode::PARTIAL_CONTENT => RequestResult::Partial,
            _ => RequestResult::Miss,
        };
        Served::new(Response::from_parts(head, body), result)
    }
}

/// A response that is for the followers of a flight, too, once its body has ended well. A follower
/// that has its head can turn to no other response, and the body may stall, trickle or fail for the
/// fields of its leader's request.
pub(super) struct Publication<F> {
    leader: SharedLeader<F>,
    /// Their key.
    key: CacheKey,
    shared: Arc<SharedHead>,
}

impl<F> Publication<F> {
    pub(super) fn new<B: Backend<Fence = F>>(
        state: &LayerState<B>,
        leader: SharedLeader<F>,
        (key, sharing): (CacheKey, SharingRules),
        head: &response::Parts,
    ) -> Self {
        let shared = SharedHead {
            status: head.status,
            headers: SharedHead::shareable_headers(head, &sharing.grant),
            identity: sharing.identity,
            grant: sharing.grant,
            rules: sharing.rules,
            credential_fields: state.config.credential_fields.clone(),
            called: sharing.called,
            length: sharing.length,
        };
        let shared = Arc::new(shared);
        Self {
            leader,
            key,
            shared,
        }
    }

    /// Publishes it to the followers. Dropped before, it leaves the flight to them.
    pub(super) fn publish(self) {
        self.leader.add_variant_key(self.key);
        self.leader.publish(FlightOutcome::Shared(self.shared));
    }
}

/// The stream of a body on its way into the store, and the flight whose followers read it, if there
/// is one. Others can join until the body is stored, or is known not to be.
pub(super) struct OpenStream<F> {
    leader: Option<SharedLeader<F>>,
    /// The kind of the leader's request.
    kind: RequestKind,
    pub(super) stream: BodyStream,
    /// Why the response is not stored, for its head.
    pub(super) late: LateRefusal,
    /// Why the body was not collected, or not stored.
    refusal: OnceLock<Refusal>,
    /// The time from the call until the body was whole.
    took: OnceLock<Duration>,
}

impl<F> OpenStream<F> {
    /// The stream of a flight, or a new one without followers.
    pub(super) fn new(
        leader: Option<SharedLeader<F>>,
        kind: RequestKind,
        new_stream: impl FnOnce() -> BodyStream,
    ) -> Self {
        let stream = match &leader {
            Some(leader) => leader.stream(new_stream).clone(),
            None => new_stream(),
        };
        Self {
            leader,
            kind,
            stream,
            late: LateRefusal::default(),
            refusal: OnceLock::new(),
            took: OnceLock::new(),
        }
    }

    /// A reader of the whole body.
    pub(super) fn reader(&self) -> BodyReader {
        let reader = self.stream.reader();
        reader.expect("a stream that is kept whole can be read from its beginning")
    }
}

impl<F: Send + Sync + 'static> CaptureGuard for OpenStream<F> {
    fn note_time(&self, took: Duration) {
        let _ = self.took.set(took);
    }

    fn claim_store(&self, key: CacheKey) -> bool {
        (self.leader.as_ref()).is_none_or(|leader| leader.claim_store(key))
    }

    /// Lets new followers read from the stored bytes.
    fn mark_stored(&self) {
        self.stream.mark_stored();
    }

    fn mark_refused(&self, refusal: Refusal) {
        self.late.mark_refused(refusal);
        let _ = self.refusal.set(refusal);
    }

    fn stream(&self) -> Option<&BodyStream> {
        Some(&self.stream)
    }
}

impl<F> Drop for OpenStream<F> {
    /// No request joins any more; only then the stream stops keeping the body whole.
    fn drop(&mut self) {
        match (&self.leader, self.refusal.get()) {
            (None, _) => {}
            (Some(leader), Some(Refusal::BodyFailed | Refusal::Abandoned)) => leader.close(),
            // Its body is whole, stored or not.
            (Some(leader), _) if leader.has_outcome() => {
                leader.close_whole(self.took.get().copied())
            }
            // As one whose head tells its length: each client has it for itself.
            (Some(leader), Some(Refusal::TooLarge)) => {
                let (kind, is_private) = (self.kind, false);
                leader.close_with(FlightOutcome::Refused { kind, is_private });
            }
            (Some(leader), _) => leader.close(),
        }
        self.stream.share().release_reserved();
        self.stream.stop_retaining();
    }
}
