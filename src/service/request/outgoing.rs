//! A request that goes to the inner service, and what its client wants of the answer.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{EXPECT, IF_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, request, response};

use crate::backend::{Backend, StoredResponse};
use crate::semantics::conditional;
use crate::semantics::moment::Moment;
use crate::semantics::reason::FetchReason;
use crate::semantics::selection::is_condition_or_range;
use crate::semantics::storing::Asked;

use crate::service::lookup::Fill;
use crate::state::Shared;

/// What a client wants of a response.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'r> {
    pub(crate) method: &'r Method,
    /// Its header fields, where something in them may ask for less than the whole.
    pub(crate) fields: Option<&'r HeaderMap>,
}

impl<'r> Wanted<'r> {
    /// What a request wants that `selects`, or takes all.
    pub(crate) fn of(request: &'r request::Parts, selects: bool) -> Self {
        Self {
            method: &request.method,
            fields: selects.then_some(&request.headers),
        }
    }
}

/// What of a request is still needed when its answer comes.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) method: Method,
    /// Without what was taken off.
    pub(crate) headers: HeaderMap,
    /// The client's conditions and ranges that were taken off: its answer is cut to them, and everybody else gets all.
    taken: Option<HeaderMap>,
    /// What is stored, whose validators were put on.
    pub(crate) validates: Option<Arc<StoredResponse>>,
    /// What an answer said itself that was put together with what is stored.
    pub(crate) own: Option<Box<response::Parts>>,
    /// When it began, then when the inner service was called: waiting for readiness ages no response.
    pub(crate) at: Moment,
}

/// Why and how a request was forwarded.
#[derive(Clone, Copy)]
pub(crate) struct Forward {
    pub(crate) reason: FetchReason,
    /// The inner service's status, whatever the client is told.
    pub(crate) status: StatusCode,
}

impl Sent {
    pub(crate) fn of<Req>(request: &Request<Req>, at: Moment) -> Self {
        Self {
            method: request.method().clone(),
            headers: request.headers().clone(),
            taken: None,
            validates: None,
            own: None,
            at,
        }
    }

    /// The same without conditions and ranges, which are kept apart; the request loses them, too.
    pub(crate) fn whole_of<Req>(request: &mut Request<Req>, at: Moment) -> Self {
        let headers = request.headers_mut();
        let mut taken = HeaderMap::new();
        let names: Vec<HeaderName> = headers.keys().cloned().collect();
        for name in names.into_iter().filter(is_condition_or_range) {
            for value in headers.get_all(&name) {
                taken.append(&name, value.clone());
            }
            headers.remove(name);
        }
        Self {
            taken: Some(taken).filter(|taken| !taken.is_empty()),
            ..Self::of(request, at)
        }
    }

    pub(crate) fn wanted(&self) -> Wanted<'_> {
        Wanted {
            method: &self.method,
            fields: self.taken.as_ref(),
        }
    }

    /// The content of what was stored, and has been confirmed by the answer.
    pub(crate) fn confirmed(&self) -> Option<&Bytes> {
        let held = self.validates.as_ref()?;
        held.trailers().is_none().then(|| held.body())
    }

    /// Whether its answer may be to something else than its key.
    pub(crate) fn is_partial(&self) -> bool {
        let partial = |name: &HeaderName| *name == EXPECT || is_condition_or_range(name);
        self.headers.keys().any(partial)
    }

    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked {
            method: &self.method,
            headers: &self.headers,
            at: self.at,
        }
    }

    /// Puts the validators of what is stored on a request that has no conditions of its own (RFC 9111 §4.3.1).
    pub(crate) fn validate<Req>(&mut self, request: &mut Request<Req>, held: &Arc<StoredResponse>) {
        if self.method != Method::GET || self.is_partial() || held.parts().is_some() {
            return;
        }
        let mut has_any = false;
        for (name, value) in conditional::validating(held.headers()) {
            request.headers_mut().insert(name, value.clone());
            has_any = true;
        }
        if has_any {
            self.validates = Some(held.clone());
        }
    }
}

impl<B: Backend> Shared<B> {
    /// What is kept of a fill's request. Its conditions are taken off where the answer may be everybody's: they are
    /// answered from it, and what comes of them is never stored.
    ///
    /// They stay where nobody else is to have the answer, where they are an origin's business (`If-Match`,
    /// `If-Unmodified-Since`), and beside a range of something of which nothing is stored.
    pub(crate) fn sent<Req>(&self, request: &mut Request<Req>, fill: &Fill<B::Fence>) -> Sent {
        let now = self.now();
        let headers = request.headers();
        let has = |name: HeaderName| headers.contains_key(name);
        let is_held = fill.miss.held().is_some();
        let stay = request.method() != Method::GET
            || fill.key.directives.no_store
            || has(IF_MATCH)
            || has(IF_UNMODIFIED_SINCE)
            || (!is_held && (has(RANGE) || has(IF_RANGE)))
            || (!is_held && self.is_refused(&fill.miss.place, headers, now));
        if stay {
            Sent::of(request, now)
        } else {
            Sent::whole_of(request, now)
        }
    }
}
