//! Validation: asking whether what is stored is still right, and what becomes of it then (RFC 9111 §4.3).
//!
//! A 304 is a fill like any other: what is stored is never changed, but stored anew with its fields updated, under the fence
//! of the lookup that found it.

use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode, response};

use crate::backend::{Backend, CacheKey, StoredResponse, Target};
use crate::flight::Audience;
use crate::semantics::conditional::{Described, Validated, described, validated};
use crate::semantics::freshening::freshened;
use crate::semantics::reason::StaleUse;
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::{Asked, StoringRules};
use crate::stats::Event;

use crate::body::origin::Content;
use crate::body::response::ResponseBody;
use crate::service::lookup::Fill;
use crate::service::request::outgoing::{Forward, Sent};
use crate::state::Shared;

impl<B: Backend> Shared<B> {
    /// Puts the validators of what is stored on a request that has no conditions of its own (§4.3.1).
    pub(crate) fn validate<Req>(
        &self,
        request: &mut Request<Req>,
        fill: &Fill<B::Fence>,
        sent: &mut Sent,
    ) {
        let Some(held) = fill.miss.held() else {
            return;
        };
        if !self.is_contradicted(&fill.miss.place) {
            sent.validate(request, held);
        }
    }

    /// Whether what is stored under a key is not to be asked for in part, or by its validators, for now.
    pub(crate) fn is_contradicted(&self, place: &CacheKey) -> bool {
        let memory = &self.core.contradicted;
        memory.is_remembered(place, Audience::Everyone, self.now())
    }

    pub(crate) fn remember_contradicted(&self, place: &CacheKey) {
        let (memory, time) = (
            &self.core.contradicted,
            self.config.coalesce.uncacheable_ttl,
        );
        memory.remember(place, Audience::Everyone, self.now(), time);
    }

    /// An answer, with what is stored in the place of a 304 to its validators (§4.3.4). `None` for a 304 that is about
    /// something else.
    pub(crate) fn validated<Res>(
        &self,
        answer: Response<Content<Res>>,
        sent: &mut Sent,
    ) -> Option<Response<Content<Res>>> {
        let held = match sent.validates.take() {
            Some(held) if answer.status() == StatusCode::NOT_MODIFIED => held,
            _ => return Some(answer),
        };
        let (mut head, _) = answer.into_parts();
        match validated(held.headers(), &head.headers) {
            Validated::This => {}
            Validated::Another => return None,
        }
        self.count(Event::Validation);
        tracing::debug!("validated");
        head.status = held.status();
        head.headers = freshened(&held, &head.headers);
        let content = Content::stored(held.body().clone(), held.trailers().cloned());
        sent.validates = Some(held);
        Some(Response::from_parts(head, content))
    }

    /// The answer to a request of which the inner service said that something had not changed which is not stored: what is
    /// stored, if it may stand in, or 502. The next request is not validated but fetched whole.
    pub(crate) fn contradicted<Res>(
        &self,
        fill: &Fill<B::Fence>,
        sent: &Sent,
    ) -> Response<ResponseBody<Res>> {
        tracing::warn!("a 304 to validators that are not its own");
        let now = self.now();
        self.remember_contradicted(&fill.miss.place);
        let (reason, status) = (fill.miss.reason, StatusCode::NOT_MODIFIED);
        match self.stand_in(fill, StaleUse::IfError, now) {
            Some(hit) => self.stood_in(&hit, sent, reason, Some(status)),
            None => self.bad_gateway(Forward { reason, status }, "not-modified-is-another"),
        }
    }

    /// What a 200 to HEAD says of the response that is stored for GET (§4.3.5): it is updated if it is described, and gone
    /// if not.
    pub(crate) async fn told_by_head(
        &self,
        fill: &Fill<B::Fence>,
        sent: &Sent,
        head: &response::Parts,
    ) {
        if sent.method != Method::HEAD || head.status != StatusCode::OK || sent.is_partial() {
            return;
        }
        let Some(held) = fill.miss.held() else {
            return self.told_of_parts(fill, sent, head).await;
        };
        let described = match held.status() {
            StatusCode::OK => described(&head.headers, held.headers()),
            _ => Described::Another,
        };
        match described {
            Described::Same => self.update(fill, sent, head, held).await,
            Described::Another => self.is_gone(fill).await,
            Described::Nothing => {}
        }
    }

    /// The same where parts are all that is stored.
    async fn told_of_parts(&self, fill: &Fill<B::Fence>, sent: &Sent, head: &response::Parts) {
        if !self.is_partly_held(&fill.key.key) {
            return;
        }
        let Some(parts) = self.look_for_parts(fill, &sent.headers).await else {
            return;
        };
        let mut fields = parts.response.headers().clone();
        // What is there is of another length than the whole.
        fields.remove(CONTENT_LENGTH);
        if let Described::Another = described(&head.headers, &fields) {
            self.is_gone(fill).await;
        }
    }

    /// What is stored is not what there is. What failed is counted and logged.
    async fn is_gone(&self, fill: &Fill<B::Fence>) {
        let target = Target::Resource(*fill.key.key.resource());
        let _ = self.invalidate(target).await;
    }

    /// Stores what is held anew, with its fields updated.
    async fn update(
        &self,
        fill: &Fill<B::Fence>,
        sent: &Sent,
        head: &response::Parts,
        held: &StoredResponse,
    ) {
        let Ok(fence) = self.may_store(fill, sent.at) else {
            return;
        };
        let (mut updated, ()) = Response::new(()).into_parts();
        updated.headers = freshened(held, &head.headers);
        let asked = Asked {
            method: &Method::GET,
            ..sent.asked()
        };
        let rules = StoringRules {
            existing: Some(held.status()),
            ..self.rules(&updated)
        };
        let body = http_body_util::Full::new(held.body().clone());
        let Ok(grant) = self.grant(asked, &fill.key.identity, &updated, &body, rules) else {
            return;
        };
        if self.spares(&grant.groups, sent.at).is_err() {
            return;
        }
        let key = self.key_of(fill.key.key, &grant, &sent.headers);
        let identity = fill.key.identity.clone();
        let response = StoredHead::owning(identity, held.status(), updated.headers, grant)
            .with_body(held.body().clone(), held.trailers().cloned(), held.cost());
        let backend = &self.core.backend;
        let put = backend
            .put(&key, fence, Arc::new(response), self.now())
            .await;
        self.put(&put);
    }
}
