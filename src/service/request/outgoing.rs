//! The request that goes to the inner service, and the preconditions kept back for its response.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, request, response};

use crate::backend::{Backend, StoredResponse};
use crate::config::Config;
use crate::semantics::moment::Moment;
use crate::semantics::reason::Contradiction;
use crate::semantics::request_kind::RequestKind;
use crate::semantics::reuse::is_condition_or_range;
use crate::semantics::storing::RequestHead;
use crate::semantics::validation;
use crate::service::storing_permission::Asked;
use crate::shares::ClientId;
use crate::state::LayerState;
use crate::state::noted_requests::RequestDigest;

use super::content::HiddenContent;
use super::preconditions::{Preconditions, has_condition_for};

/// The parts of a request that are needed when its response comes.
#[derive(Debug)]
pub(crate) struct OutgoingRequest {
    pub(crate) method: Method,
    /// The header fields as sent, without the client's own conditions where these were taken off.
    pub(crate) headers: HeaderMap,
    /// Cookies and credentials that the request carries.
    pub(crate) kind: RequestKind,
    /// The client that it is from, if it is known.
    pub(crate) client: Option<ClientId>,
    /// The client's conditions and ranges that were taken off. They are answered from the whole
    /// response, which other clients get unconditionally.
    client_conditions: Option<HeaderMap>,
    /// The stored response whose validators were put on the request.
    pub(crate) validated: Option<Arc<StoredResponse>>,
    /// The head as the inner service sent it, where the response was put together with stored
    /// parts since.
    pub(crate) origin_head: Option<Box<response::Parts>>,
    /// The head of the request for the hooks that judge its response; `None` without such hooks.
    pub(crate) for_hooks: Option<Box<request::Parts>>,
    /// Why the first response was of no use, if the request was repeated.
    pub(crate) contradiction: Option<Contradiction>,
    /// When the request began; once the inner service is called, when that was. Waiting for
    /// readiness ages no response.
    pub(crate) at: Moment,
    /// When the head of its response was received; until then when the request began.
    pub(crate) received: Moment,
    /// The digest, once it was asked for.
    digest: OnceLock<RequestDigest>,
}

impl OutgoingRequest {
    /// A request of a client, if that is known, which is sent with the fields it has. The conditions
    /// that were `taken` off are none of them, see
    /// [`take_client_conditions`](super::preconditions::take_client_conditions). Boxed, because
    /// several futures pass it on.
    pub(crate) fn new<Req>(
        config: &Config,
        request: &Request<Req>,
        (kind, client): (RequestKind, Option<ClientId>),
        at: Moment,
        taken: Option<HeaderMap>,
    ) -> Box<Self> {
        Box::new(Self {
            method: request.method().clone(),
            headers: request.headers().clone(),
            kind,
            client,
            client_conditions: taken,
            validated: None,
            origin_head: None,
            for_hooks: config.has_storing_hooks().then(|| copy_of_head(request)),
            contradiction: None,
            at,
            received: at,
            digest: OnceLock::new(),
        })
    }

    /// The digest of the request, by which its outcome is noted.
    pub(crate) fn digest<B: Backend>(&self, state: &LayerState<B>) -> RequestDigest {
        let digest = || state.digest_of(&self.headers).with_client(self.client);
        *self.digest.get_or_init(digest)
    }

    /// The time from the call to the head of its response.
    pub(crate) fn time_to_head(&self) -> Duration {
        self.received.monotonic_since(self.at)
    }

    /// Whether conditions or ranges of the client's were taken off.
    pub(crate) fn has_client_conditions(&self) -> bool {
        self.client_conditions.is_some()
    }

    /// The client's preconditions, to be answered by the cache.
    pub(crate) fn preconditions(&self) -> Preconditions<'_> {
        Preconditions {
            method: &self.method,
            fields: self.client_conditions.as_ref(),
        }
    }

    /// Whether the response is a stored one that a 304 has confirmed.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.validated.is_some()
    }

    /// The stored content that the response has confirmed by a 304.
    pub(crate) fn confirmed_content(&self) -> Option<Bytes> {
        let stored = self.validated.as_ref()?;
        stored.trailers().is_none().then(|| stored.body())
    }

    /// Whether the response may be to something else than the cache key alone.
    pub(crate) fn is_partial(&self) -> bool {
        let is_partial = |name: &HeaderName| *name == EXPECT || is_condition_or_range(name);
        self.headers.keys().any(is_partial)
    }

    /// Whether its response is one that others with the same fields would get, unless the client
    /// has forced the call.
    pub(crate) fn is_for_whole(&self) -> bool {
        self.method == Method::GET && !self.is_partial()
    }

    /// Whether a condition that the client sent may be answered with this status. Those that were
    /// taken off count once the request was repeated without them, and got the same answer.
    pub(crate) fn may_be_answered(&self, status: StatusCode) -> bool {
        let taken = self.contradiction.and(self.client_conditions.as_ref());
        has_condition_for(status, &self.headers)
            || taken.is_some_and(|taken| has_condition_for(status, taken))
    }

    /// The request as the rules for storing and the hooks see it.
    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked {
            head: RequestHead {
                method: &self.method,
                headers: &self.headers,
                kind: self.kind,
                at: self.at,
            },
            for_hooks: self.for_hooks.as_deref(),
            received: self.received,
            continued: self.validated.as_deref(),
            is_assembled: self.origin_head.is_some(),
        }
    }

    /// Puts the validators of a stored response on a request that has no conditions of its own
    /// (RFC 9111 §4.3.1).
    pub(crate) fn add_validators<Req>(
        &mut self,
        request: &mut Request<Req>,
        stored: &Arc<StoredResponse>,
    ) {
        if self.method != Method::GET || self.is_partial() || stored.parts().is_some() {
            return;
        }
        if !HiddenContent::lets_add_conditions(request) {
            return;
        }
        let mut has_any = false;
        let stored_headers = stored.headers();
        for (name, value) in validation::origin_conditions(stored.status(), &stored_headers) {
            request.headers_mut().insert(name, value.clone());
            has_any = true;
        }
        if has_any {
            self.validated = Some(stored.clone());
        }
    }
}

/// A copy of the head of a request, its extensions included.
pub(crate) fn copy_of_head<Req>(request: &Request<Req>) -> Box<request::Parts> {
    let (mut copy, ()) = Request::new(()).into_parts();
    copy.method = HiddenContent::method_of(request).clone();
    copy.uri = request.uri().clone();
    copy.version = request.version();
    copy.headers = request.headers().clone();
    copy.extensions = request.extensions().clone();
    Box::new(copy)
}
