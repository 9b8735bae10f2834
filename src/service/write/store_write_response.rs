//! Write-through: the response to a write is stored, where it is the new representation.
//!
//! That is a whole 200 or 201 to PUT, POST or PATCH that names itself by `Content-Location`
//! (RFC 9110 §6.4.2). It is judged as the response that a GET with the write's header fields would
//! have had.
//!
//! Without the option only a 200 to POST with explicit freshness is stored, whose
//! `Content-Location` is the POST's own target (RFC 9110 §9.3.3).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LOCATION, LOCATION};
use http::{Method, Response, StatusCode, request, response};
use http_body::Body;

use crate::backend::{Backend, PutOutcome};
use crate::flight::BudgetShare;
use crate::key::{CacheKey, Resource};
use crate::policy::CachePolicy;
use crate::semantics::invalidation::{encode, resolve};
use crate::semantics::moment::Moment;
use crate::semantics::reason::{InvalidatedTarget, InvalidationMode, Refusal, StoredBy};
use crate::semantics::request_kind::RequestKind;
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::{RequestHead, StoringRules};

use crate::body::response::ResponseBody;
use crate::body::watched::WatchedBody;
use crate::service::bounds::InnerBody;
use crate::service::request::route::{RequestKey, Route, classify};
use crate::service::storing_permission::{
    Asked, add_tag, announced_length, check_group_grace, storage_decision, storing_rules,
    variant_key,
};
use crate::state::throttled_log::Operation;
use crate::timeout::with_timeout;

use super::collecting::CollectingBody;
use super::late_work::WriteBody;
use super::targets::PendingInvalidation;
use super::write_guard::CommittedWrite;

/// Captures the fence for a store before the inner service is called; `None` where this write
/// stores nothing.
pub(crate) async fn capture_fence<B: Backend>(
    pending: &PendingInvalidation<B>,
) -> Option<B::Fence> {
    let state = &pending.state;
    let own = Some(&pending.resource);
    let resource = match (&pending.request.method, state.config.write_through) {
        // Its response names the resource.
        (&Method::POST, true) => None,
        (&Method::POST, false) if state.config.store_posts => own,
        (&Method::PUT | &Method::PATCH, true) => own,
        _ => return None,
    };
    match state.shared.store.backend.fence(resource).await {
        Ok(fence) => fence,
        Err(error) => {
            state.backend_failed(Operation::Fence, &error);
            None
        }
    }
}

/// A representation that is stored once its body is here.
pub(crate) struct Representation<F> {
    key: CacheKey,
    fence: F,
    head: StoredHead,
    length: u64,
    share: BudgetShare,
    began: Moment,
}

/// What storing a representation did.
#[derive(Default)]
pub(crate) struct Replaced {
    /// The resource that was invalidated with the store.
    pub(crate) invalidated: Option<Resource>,
    pub(crate) stored: bool,
}

/// The response to a write, if it is a representation that may be stored.
pub(crate) fn representation<B: Backend, Res: Body>(
    pending: &PendingInvalidation<B>,
    fence: Option<B::Fence>,
    head: &response::Parts,
    body: &Res,
) -> Option<Representation<B::Fence>> {
    let fence = fence.filter(|_| head.status.is_success())?;
    match judge(pending, fence, head, body) {
        Ok(representation) => Some(representation),
        // Most responses to POST are none, which is not worth counting.
        Err(Refusal::NotRepresentation) if !pending.state.config.write_through => None,
        Err(refusal) => {
            pending.state.record_refusal(refusal);
            None
        }
    }
}

/// Decides whether the response to a write may be stored, as the response to the GET that it also
/// answers.
///
/// A refusal is counted, except that most responses to POST are no representation.
fn judge<B: Backend, Res: Body>(
    pending: &PendingInvalidation<B>,
    fence: B::Fence,
    head: &response::Parts,
    body: &Res,
) -> Result<Representation<B::Fence>, Refusal> {
    let state = &pending.state;
    let (get, RequestKey { key, identity, .. }, kind) = represented_get(pending, head)?;
    if pending.is_exempt(&get) {
        return Err(Refusal::Exempt);
    }
    let get = pending.for_hooks(get);
    // The grace period at its beginning counts: another write may commit late, between this one's
    // commit and its response.
    let now = pending.at;
    if state
        .shared
        .write_grace
        .covers_resource(key.resource(), now)
    {
        return Err(Refusal::WriteGrace);
    }
    let answer = as_answer_to_get(head);
    let asked = Asked {
        head: RequestHead {
            method: &get.method,
            headers: &get.headers,
            kind,
            at: now,
        },
        for_hooks: Some(&get),
        received: state.now(),
        continued: None,
        is_assembled: false,
    };
    let rules = StoringRules {
        explicit_only: !state.config.write_through,
        ..storing_rules(&state.config, asked, &answer)?
    };
    let grant = storage_decision(state, asked, &identity, (&answer, body), &rules)?;
    check_group_grace(state, &grant.groups, now)?;
    // It would be invalidated as soon as it was stored.
    if pending.groups(&head.headers).contain_any(&grant.groups) {
        return Err(Refusal::Superseded);
    }
    let key = variant_key(state, key, &grant, &get.headers);
    let length = announced_length(head, body).ok_or(Refusal::NotRepresentation)?;
    let share = state.buffer_share();
    if !share.may_store(length) || !share.try_take(length) {
        return Err(Refusal::Budget);
    }
    Ok(Representation {
        key,
        fence,
        head: StoredHead::new(identity, answer.status, &answer.headers, grant),
        length,
        share,
        began: now,
    })
}

/// The GET that the response to a write also answers, its key, and the kind of the write.
fn represented_get<B: Backend>(
    pending: &PendingInvalidation<B>,
    head: &response::Parts,
) -> Result<(request::Parts, RequestKey, RequestKind), Refusal> {
    let state = &pending.state;
    let is_any = state.config.write_through;
    if head.status != StatusCode::OK && !(is_any && head.status == StatusCode::CREATED) {
        return Err(Refusal::NotRepresentation);
    }
    // The fence was captured by the options of this layer; an inner one may allow less.
    let is_allowed = is_any || (state.config.store_posts && pending.request.method == Method::POST);
    let named = get_for(pending, head).filter(|_| is_allowed);
    let (get, path) = named.ok_or(Refusal::NotRepresentation)?;
    let target = &pending.request.uri;
    if state.config.has_others_for(&get.uri, target.path()) {
        return Err(Refusal::NotRepresentation);
    }
    if !is_any && (get.uri.path(), get.uri.query()) != (target.path(), target.query()) {
        return Err(Refusal::NotRepresentation);
    }
    let own = match classify(&state.config, &state.shared.store.seed, &get) {
        Route::Read(read) => {
            read.into_key(&state.config, &state.shared.store.seed, &get)
                .0
        }
        Route::Content(_)
        | Route::Write(_)
        | Route::Bypass(_)
        | Route::Refuse
        | Route::FailWrite => {
            return Err(Refusal::NotRepresentation);
        }
    };
    // The fence of a write with a known target was captured for that target alone.
    let has_any_fence = is_any && pending.request.method == Method::POST;
    let is_own = *own.key.resource() == pending.resource;
    if !has_any_fence && !is_own {
        return Err(Refusal::NotRepresentation);
    }
    // A key hook that looks at an extension about the write's target does not see another one.
    if is_own && ![target.path(), &*pending.path].contains(&&*path) {
        return Err(Refusal::NotRepresentation);
    }
    // The write had cookies, too, that a GET loses on its way.
    let fields = &state.config.credential_fields;
    let kind = own.kind(fields, &pending.request.headers);
    Ok((get, own, kind))
}

impl<F> Representation<F> {
    /// Collects the body, then invalidates and stores in one step. A body that has not ended within
    /// `fill_timeout` is delivered as it arrives, and not stored.
    pub(super) async fn store<B, Res>(
        self,
        write: CommittedWrite<'_, B>,
        body: WatchedBody<Res>,
    ) -> (WriteBody<Res>, Replaced)
    where
        B: Backend<Fence = F>,
        Res: InnerBody,
    {
        let state = &write.pending.state;
        let mut collecting = CollectingBody::new(write, body, self.length);
        let passed = state.now().since(self.began);
        let time_left = state.config.coalesce.fill_timeout.saturating_sub(passed);
        let collected = match with_timeout(time_left, collecting.collect()).await {
            Some(Ok(collected)) => collected,
            Some(Err(error)) => {
                state.record_refusal(Refusal::BodyFailed);
                return (WriteBody::failed(error), Replaced::default());
            }
            None => {
                state.record_refusal(Refusal::TooSlow);
                let rest = collecting.into_rest(self.share);
                return (WriteBody::Streaming(rest), Replaced::default());
            }
        };
        let (data, trailers) = (collected.to_bytes(), collected.trailers);
        let answer = WriteBody::Whole(ResponseBody::whole(data.clone(), trailers.as_ref()));
        if data.len() as u64 != self.length {
            state.record_refusal(Refusal::Truncated);
            return (answer, Replaced::default());
        }
        let content = self.share.count_stored(Bytes::copy_from_slice(&data));
        let cost = state.now().monotonic_since(self.began);
        let mut head = self.head;
        add_tag(&state.config, &mut head, &data);
        let stored = head.with_content(&content, trailers, cost);
        let backend = &state.shared.store.backend;
        let put = backend
            .replace(&self.key, self.fence, Arc::new(stored), state.now())
            .await;
        drop(self.share);
        state.record_put(&put, StoredBy::WriteThrough);
        if put.is_ok() {
            let invalidated = (InvalidatedTarget::Resource, InvalidationMode::Remove);
            state.count_invalidation(invalidated, &put);
        }
        let replaced = Replaced {
            invalidated: put.is_ok().then_some(*self.key.resource()),
            stored: matches!(put, Ok(PutOutcome::Stored)),
        };
        (answer, replaced)
    }
}

/// The GET whose target the `Content-Location` of the response names, on the write's own site, and
/// the path of that target.
fn get_for<B: Backend>(
    pending: &PendingInvalidation<B>,
    head: &response::Parts,
) -> Option<(request::Parts, Box<str>)> {
    let mut names = head.headers.get_all(CONTENT_LOCATION).iter();
    let (name, None) = (names.next()?, names.next()) else {
        return None;
    };
    let reference = encode(name.as_bytes());
    let named = resolve(pending.request.uri.path(), &reference)?;
    if !pending.is_on_own_site(&named) {
        return None;
    }
    let mut get = pending.get_for(&named, pending.request.extensions.clone())?;
    let config = &pending.state.config;
    config.take_ignored_cookies(&mut get.headers);
    Some((get, named.path.into()))
}

/// The head of a write response as that of a 200 to GET, without `Location`.
fn as_answer_to_get(head: &response::Parts) -> response::Parts {
    let (mut answer, ()) = Response::new(()).into_parts();
    answer.status = StatusCode::OK;
    answer.headers = head.headers.clone();
    answer
        .extensions
        .extend(CachePolicy::kept(&head.extensions));
    answer.headers.remove(LOCATION);
    answer
}
