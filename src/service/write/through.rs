//! Write-through: a write's answer that is the new representation is stored as such.
//!
//! It is when a 200 or 201 to PUT, POST or PATCH names itself by `Content-Location` (RFC 9110 §6.4.2) and all of it is
//! there. It is then judged as the answer that a GET for it, with the write's header fields, would have had.
//!
//! Without the option only what RFC 9110 §9.3.3 lets a cache store: a 200 to POST with explicit freshness whose
//! `Content-Location` is the POST's own target.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, LOCATION, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode, Uri, request, response, uri};
use http_body::Body;
use http_body_util::{BodyExt, Limited};

use crate::backend::{Backend, CacheKey, Put};
use crate::flight::BudgetShare;
use crate::key::Resource;
use crate::semantics::invalidation::{Reference, resolve};
use crate::semantics::moment::Moment;
use crate::semantics::reason::Refusal;
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::{Asked, StoringRules};
use crate::stats::Event;

use crate::body::response::ResponseBody;
use crate::error::BoxError;
use crate::service::fill::policy::announced_length;
use crate::service::request::route::{OwnKey, Way};
use crate::service::write::pending::Settlement;
use crate::state::Shared;
use crate::state::failure_log::Failed;

/// Captured before the inner service is called; `None` where this write stores nothing.
pub(crate) async fn fence<B: Backend>(settlement: &Settlement<B>) -> Option<B::Fence> {
    let shared = &settlement.shared;
    let own = Some(&settlement.resource);
    let resource = match (&settlement.request.method, shared.config.write_through) {
        // What it makes is named by its answer only.
        (&Method::POST, true) => None,
        (&Method::POST, false) if shared.config.store_posts => own,
        (&Method::PUT | &Method::PATCH, true) => own,
        _ => return None,
    };
    match shared.core.backend.fence(resource).await {
        Ok(fence) => fence,
        Err(error) => {
            shared.backend_failed(Failed::Fence, &error);
            None
        }
    }
}

/// A representation that is to be stored once its body is here.
pub(crate) struct Wanted<F> {
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
    /// The resource that needs no further invalidation.
    pub(crate) settled: Option<Resource>,
    pub(crate) stored: bool,
}

/// Whether a write's answer is a representation to be stored.
pub(crate) fn wanted<B: Backend, Res: Body>(
    settlement: &Settlement<B>,
    fence: Option<B::Fence>,
    head: &response::Parts,
    body: &Res,
) -> Option<Wanted<B::Fence>> {
    let fence = fence.filter(|_| head.status.is_success())?;
    match judge(settlement, fence, head, body) {
        Ok(wanted) => Some(wanted),
        // That is what a POST is without the option.
        Err(Refusal::NotRepresentation) if !settlement.shared.config.write_through => None,
        Err(refusal) => {
            settlement.shared.refused(refusal);
            None
        }
    }
}

fn judge<B: Backend, Res: Body>(
    settlement: &Settlement<B>,
    fence: B::Fence,
    head: &response::Parts,
    body: &Res,
) -> Result<Wanted<B::Fence>, Refusal> {
    let shared = &settlement.shared;
    let (get, OwnKey { key, identity, .. }) = represented(settlement, head)?;
    // The grace that held when it began: a late commit may lie between its own and its answer.
    let now = settlement.at;
    if shared.core.grace.is_active(key.resource(), now) {
        return Err(Refusal::WriteGrace);
    }
    let answer = as_answer_to_get(head);
    let asked = Asked {
        method: &get.method,
        headers: &get.headers,
        at: now,
    };
    let rules = StoringRules {
        explicit_only: !shared.config.write_through,
        ..shared.rules(&answer)
    };
    let grant = shared.grant(asked, &identity, &answer, body, rules)?;
    shared.spares(&grant.groups, now)?;
    // It would be invalidated as soon as it was stored.
    if settlement.groups(&head.headers).concern(&grant.groups) {
        return Err(Refusal::Superseded);
    }
    let key = shared.key_of(key, &grant, &get.headers);
    let length = announced_length(head, body).ok_or(Refusal::NotRepresentation)?;
    let share = shared.share();
    if !share.try_take(length) {
        return Err(Refusal::Budget);
    }
    Ok(Wanted {
        key,
        fence,
        head: StoredHead::new(identity, answer.status, &answer.headers, grant),
        length,
        share,
        began: now,
    })
}

/// The GET that a write's answer is the answer to, and its key.
fn represented<B: Backend>(
    settlement: &Settlement<B>,
    head: &response::Parts,
) -> Result<(request::Parts, OwnKey), Refusal> {
    let shared = &settlement.shared;
    let is_any = shared.config.write_through;
    if head.status != StatusCode::OK && !(is_any && head.status == StatusCode::CREATED) {
        return Err(Refusal::NotRepresentation);
    }
    let get = get_for(settlement, head).ok_or(Refusal::NotRepresentation)?;
    let target = &settlement.request.uri;
    if !is_any && (get.uri.path(), get.uri.query()) != (target.path(), target.query()) {
        return Err(Refusal::NotRepresentation);
    }
    let own = match shared.way(&get) {
        Way::Read(read) => shared.own(&read),
        Way::Write(_) | Way::Pass(_) => return Err(Refusal::NotRepresentation),
    };
    // The fence of a write with a known target was captured for that target alone.
    let has_any_fence = is_any && settlement.request.method == Method::POST;
    if !has_any_fence && *own.key.resource() != settlement.resource {
        return Err(Refusal::NotRepresentation);
    }
    Ok((get, own))
}

impl<F> Wanted<F> {
    /// Collects the body, then invalidates and stores in one step.
    pub(crate) async fn store<B, Res>(
        self,
        shared: &Shared<B>,
        body: Res,
    ) -> (ResponseBody<Res>, Replaced)
    where
        B: Backend<Fence = F>,
        Res: Body<Data = Bytes>,
        Res::Error: Into<BoxError>,
    {
        let limit = usize::try_from(self.length).unwrap_or(usize::MAX);
        let collected = match Limited::new(body, limit).collect().await {
            Ok(collected) => collected,
            Err(error) => {
                shared.refused(Refusal::BodyFailed);
                return (ResponseBody::failed(error), Replaced::default());
            }
        };
        let trailers = collected.trailers().cloned();
        let data = collected.to_bytes();
        let answer = ResponseBody::whole(data.clone(), trailers.clone());
        if data.len() != limit {
            shared.refused(Refusal::Truncated);
            return (answer, Replaced::default());
        }
        let stored = shared.tagged(self.head, &data).with_body(
            Bytes::copy_from_slice(&data),
            trailers,
            shared.cost_since(self.began),
        );
        let put = shared
            .core
            .backend
            .replace(&self.key, self.fence, Arc::new(stored), shared.now())
            .await;
        drop(self.share);
        shared.put(&put);
        if put.is_ok() {
            shared.count(Event::Invalidation);
        }
        let replaced = Replaced {
            settled: put.is_ok().then_some(*self.key.resource()),
            stored: matches!(put, Ok(Put::Stored)),
        };
        (answer, replaced)
    }
}

/// The GET that the write's answer would also be the answer to.
fn get_for<B: Backend>(
    settlement: &Settlement<B>,
    head: &response::Parts,
) -> Option<request::Parts> {
    let mut names = head.headers.get_all(CONTENT_LOCATION).iter();
    let (name, None) = (names.next()?, names.next()) else {
        return None;
    };
    let write = &settlement.request;
    let reference = resolve(write.uri.path(), name.to_str().ok()?)?;
    if let Some(named) = reference.authority {
        let scheme = reference.scheme.or(write.uri.scheme_str());
        let rule = &settlement.shared.config.authority;
        if !rule.is_own(write, scheme, named) {
            return None;
        }
    }
    let (mut get, ()) = Request::new(()).into_parts();
    get.uri = on_same_authority(&write.uri, &reference)?;
    get.headers = write.headers.clone();
    get.extensions = write.extensions.clone();
    for content in [CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING] {
        get.headers.remove(content);
    }
    Some(get)
}

fn on_same_authority(target: &Uri, reference: &Reference<'_>) -> Option<Uri> {
    let path_and_query = match reference.query {
        Some(query) => format!("{}?{query}", reference.path),
        None => reference.path.clone().into_owned(),
    };
    let mut parts = uri::Parts::default();
    parts.scheme = target.scheme().cloned();
    parts.authority = target.authority().cloned();
    parts.path_and_query = Some(path_and_query.parse().ok()?);
    Uri::from_parts(parts).ok()
}

fn as_answer_to_get(head: &response::Parts) -> response::Parts {
    let (mut answer, ()) = Response::new(()).into_parts();
    answer.status = StatusCode::OK;
    answer.headers = head.headers.clone();
    answer.headers.remove(LOCATION);
    answer
}
