//! What a follower makes of its leader's response: it shares it, if the response could have been
//! stored for the follower's own request just as well.

use http::header::AGE;
use http::{HeaderValue, Response};

use crate::backend::Backend;
use crate::body::response::ResponseBody;
use crate::flight::BodyReader;
use crate::key::CacheKey;
use crate::semantics::reason::{RequestResult, StaleUse};
use crate::semantics::request_kind::RequestKind;
use crate::semantics::reuse::{Candidate, ReuseDecision, decide_reuse, refuses_other_credentials};
use crate::semantics::storing::{RequestHead, ResponseHead, StorageDecision, decide_storage};
use crate::service::fill_data::{Fill, Reuse};
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::respond::Responder;
use crate::service::select::stored::cut_response;
use crate::service::served::Served;
use crate::state::LayerState;
use crate::state::shared_head::SharedHead;

use super::followed_flights::GroupCheck;

/// The use of a shared response for one follower.
pub(crate) enum Followed<Res> {
    /// It is for this request, too, which waited for some of it.
    Collapsed(Served<Res>),
    /// It is for this request, too, and all of it was here before.
    Hit(Served<Res>),
    /// Other request fields selected it (RFC 9111 §4.1); this request's own variant has this key.
    OtherVariant(CacheKey),
    /// Its body failed, or can no longer be read from the beginning.
    Lost,
    /// It is too old for this request by now.
    TooOld,
    /// It may not be shared with this request.
    NotShareable,
}

/// Shares a response with a follower, where it may be.
pub(crate) fn follow<B: Backend, Res>(
    state: &LayerState<B>,
    (shared, reader): (&SharedHead, Option<BodyReader>),
    group_check: Option<GroupCheck<B::Fence>>,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
) -> Followed<Res> {
    if shared.identity != fill.key.identity {
        return Followed::NotShareable;
    }
    if let Some(selected) = &shared.grant.selected
        && !selected.matches(&outgoing.headers)
    {
        let (seed, rule) = (&state.shared.store.seed, selected.rule());
        let key = fill.key.key.variant_for(seed, rule, &outgoing.headers);
        return match key.is_unselected() {
            true => Followed::NotShareable,
            false => Followed::OtherVariant(key),
        };
    }
    let kind = kind_of(state, shared, fill, outgoing);
    if refuses_other_credentials(shared.status, || kind)
        || !could_be_stored_for(shared, outgoing, kind)
    {
        return Followed::NotShareable;
    }
    // A call that began after this request is as new as a call of its own.
    let is_called_since = shared.called.monotonic() > outgoing.at.monotonic();
    let reuse = reuse_of(state, shared, fill);
    let backend = &state.shared.store.backend;
    let has_current_groups =
        group_check.is_none_or(|check| check.holds(backend, &shared.grant.groups));
    if !has_current_groups || (!is_called_since && reuse.is_none()) {
        return Followed::TooOld;
    }
    let Some(reader) = reader.filter(|reader| !reader.is_broken()) else {
        return Followed::Lost;
    };
    let reuse = reuse.filter(|_| reader.has_joined_whole());
    let (mut head, mut body) = shared_response(shared, reader).into_parts();
    let freshness = &shared.grant.freshness;
    // A request that came after the head gets a stored response, if only for a moment
    // (RFC 9111 §4).
    if reuse.is_some() || outgoing.at.monotonic() > freshness.received.monotonic() {
        let age = freshness.age(state.now()).as_secs();
        head.headers.insert(AGE, HeaderValue::from(age));
    }
    if outgoing.has_client_conditions() {
        let (preconditions, confirmed) = (outgoing.preconditions(), outgoing.confirmed_content());
        let cut = cut_response(&mut head, preconditions, confirmed, state.now());
        body = cut.unwrap_or(body);
    }
    marked(state, Response::from_parts(head, body), reuse, fill)
}

/// A shared response with its `Cache-Status`: a hit, if it was stored for its reuse before.
fn marked<B: Backend, Res>(
    state: &LayerState<B>,
    mut response: Response<ResponseBody<Res>>,
    reuse: Option<Reuse>,
    fill: &Fill<B::Fence>,
) -> Followed<Res> {
    let responder = Responder::new(state);
    if let Some(reuse) = reuse {
        let result = responder.mark_joined_whole(response.headers_mut(), reuse);
        return Followed::Hit(Served::new(response, result));
    }
    responder.mark_collapsed(response.headers_mut(), fill.miss.reason);
    Followed::Collapsed(Served::new(response, RequestResult::Collapsed))
}

/// The shared response for one reader. The version and the extensions are the leader's alone.
fn shared_response<Res>(shared: &SharedHead, reader: BodyReader) -> Response<ResponseBody<Res>> {
    let mut response = Response::new(ResponseBody::shared(reader, shared.length));
    *response.status_mut() = shared.status;
    *response.headers_mut() = shared.headers.clone();
    response
}

/// How a shared response is reused, if it is fresh, or may be used while it is revalidated, by this
/// request's directives.
fn reuse_of<B: Backend>(
    state: &LayerState<B>,
    shared: &SharedHead,
    fill: &Fill<B::Fence>,
) -> Option<Reuse> {
    let (freshness, now) = (&shared.grant.freshness, state.now());
    match decide_reuse(&fill.key.directives, Candidate::Response(freshness), now) {
        ReuseDecision::Fresh { age, left } => Some(Reuse::fresh(age, left)),
        ReuseDecision::StaleWhileRevalidate => {
            Some(Reuse::stale(freshness, now, StaleUse::WhileRevalidate))
        }
        _ => None,
    }
}

/// The kind of a follower's request by the credential fields that the shared response was judged
/// by. They are this layer's own, unless a layer further inside has added some.
fn kind_of<B: Backend>(
    state: &LayerState<B>,
    shared: &SharedHead,
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
) -> RequestKind {
    let fields = &shared.credential_fields;
    match *fields == state.config.credential_fields {
        true => outgoing.kind,
        false => fill.key.kind(fields, &outgoing.headers),
    }
}

/// Whether the same response to this request's fields could have been stored. Time does not
/// count: a response that was judged once is not judged anew.
fn could_be_stored_for(shared: &SharedHead, outgoing: &OutgoingRequest, kind: RequestKind) -> bool {
    let asked = RequestHead {
        kind,
        at: shared.called,
        ..outgoing.asked().head
    };
    let answered = ResponseHead {
        status: shared.status,
        headers: &shared.headers,
        at: shared.grant.freshness.received,
    };
    matches!(
        decide_storage(asked, answered, &shared.rules),
        StorageDecision::Store(_)
    )
}
