//! Responses of the cache, and the fields it adds to those of the inner service.

use bytes::Bytes;
use http::header::{AGE, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode, response};

use crate::backend::Backend;
use crate::body::response::ResponseBody;
use crate::config::StatusName;
use crate::semantics::cache_status::{CACHE_STATUS, Forwarded};
use crate::semantics::fields::slot::slot_mut;
use crate::semantics::fields::small_number::small_number;
use crate::semantics::marks::UnsentRequest;
use crate::semantics::reason::{
    Bypass, FetchReason, Reason, Refusal, RequestResult, StaleUse, WriteOutcome,
};
use crate::semantics::stored::{AnswerKey, AnswerValues};
use crate::service::cached_values::{cached_member, cached_value};
use crate::service::fill_data::{FetchInfo, Hit, Reuse};
use crate::service::request::preconditions::Preconditions;
use crate::service::request::route::RequestKey;
use crate::service::select::stored::selected;
use crate::service::served::Served;
use crate::state::LayerState;
use crate::stats::{Counters, Event};

/// A hit for a request with this key, with the stored response that it was made of.
#[inline]
pub(crate) fn serve_hit<B: Backend, Res>(
    state: &LayerState<B>,
    key: &RequestKey,
    hit: &Hit,
    preconditions: Preconditions<'_>,
) -> Served<Res> {
    let served = Responder::new(state).hit(hit, preconditions);
    served.made_of(state, key.public_key(), &hit.response)
}

/// Builds responses of the cache, and says on each where it came from (`Cache-Status`, RFC 9211).
#[derive(Clone, Copy)]
pub(crate) struct Responder<'s> {
    status: Option<&'s StatusName>,
    counters: &'s Counters,
}

impl<'s> Responder<'s> {
    /// A responder with the cache name and the counters of a layer.
    pub(crate) fn new<B: Backend>(state: &'s LayerState<B>) -> Self {
        Self {
            status: state.config.status_name(),
            counters: &state.shared.counters,
        }
    }

    /// The stored response (RFC 9111 §4), or what the preconditions select of it. It is not
    /// recorded as a hit.
    #[inline]
    pub(crate) fn stored<Res>(
        self,
        hit: &Hit,
        preconditions: Preconditions<'_>,
    ) -> Response<ResponseBody<Res>> {
        selected(&hit.response, preconditions, &self.values(hit))
    }

    /// A hit, with the result that its request has.
    pub(crate) fn hit<Res>(self, hit: &Hit, preconditions: Preconditions<'_>) -> Served<Res> {
        let result = self.record_hit(hit.reuse);
        Served::new(self.stored(hit, preconditions), result)
    }

    /// Logs a hit, and returns the result that its request has.
    #[inline]
    pub(crate) fn record_hit(self, Reuse { age, stale, .. }: Reuse) -> RequestResult {
        tracing::debug!(age, "hit");
        match stale {
            None => RequestResult::Hit,
            Some(use_) => self.record_stale_hit(use_, age),
        }
    }

    #[cold]
    fn record_stale_hit(self, use_: StaleUse, age: u64) -> RequestResult {
        self.counters.count(Event::StaleHit);
        self.record_stale(use_, age);
        RequestResult::Stale
    }

    /// The values that a hit has.
    fn values<'h>(self, hit: &'h Hit) -> HitValues<'h>
    where
        's: 'h,
    {
        let status = self.status;
        HitValues { hit, status }
    }

    /// A stale response in place of the inner service's failure.
    pub(crate) fn stale_response<Res>(
        self,
        hit: &Hit,
        preconditions: Preconditions<'_>,
        reason: FetchReason,
        status: Option<StatusCode>,
    ) -> Served<Res> {
        let mut response = selected(&hit.response, preconditions, &HitValues::age_of(hit));
        let Reuse { ttl, stale, age } = hit.reuse;
        if let Some(use_) = stale {
            self.record_stale(use_, age);
            if let Some(name) = self.status.map(|status| &status.name) {
                let member = name.served_stale(reason.fwd(), status, ttl, use_.as_str());
                append_member(response.headers_mut(), member);
            }
        }
        Served::new(response, RequestResult::Stale)
    }

    /// Counts and logs the use of a stale response.
    fn record_stale(self, use_: StaleUse, age: u64) {
        self.counters.count(Event::Stale(use_));
        tracing::debug!(reason = use_.as_str(), age, "stale");
    }

    /// A 400 to a request whose host is invalid, given twice or contradictory (RFC 9112 §3.2), or
    /// whose target has the form of CONNECT (§3.2.3). The inner service is not called.
    pub(crate) fn bad_request<Res>(self) -> Served<Res> {
        self.counters.count(Event::BadRequest);
        tracing::debug!(reason = Bypass::Authority.as_str(), "bad request");
        let text =
            "Bad request: the host is invalid, given more than once, or contradicts the target.\n";
        self.not_forwarded(StatusCode::BAD_REQUEST, Bypass::Authority, text)
    }

    /// A 500 to a write whose key hook has panicked, because its resource is unknown. The
    /// inner service is not called.
    pub(crate) fn failed_write<Res>(self) -> Served<Res> {
        self.counters.count(Event::Bypass(Bypass::HookPanicked));
        let text =
            "Internal error: the key of the request could not be made. Nothing was written.\n";
        self.not_forwarded(
            StatusCode::INTERNAL_SERVER_ERROR,
            Bypass::HookPanicked,
            text,
        )
    }

    fn not_forwarded<Res>(
        self,
        code: StatusCode,
        reason: Bypass,
        text: &'static str,
    ) -> Served<Res> {
        let text = Bytes::from_static(text.as_bytes());
        let mut response = Response::new(ResponseBody::whole(text, None));
        *response.status_mut() = code;
        let headers = response.headers_mut();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(CONTENT_TYPE, plain);
        if let Some(status) = self.status {
            headers.insert(CACHE_STATUS, status.name.generated(reason.as_str()));
        }
        Served::new(response, RequestResult::Rejected)
    }

    /// A 503, because the queue for the inner service is full (RFC 9110 §15.6.4).
    pub(crate) fn too_many_waiting<Res>(self) -> Served<Res> {
        let mut response = Response::new(ResponseBody::default());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        if let Some(status) = self.status {
            headers.insert(CACHE_STATUS, status.name.generated("too-many-waiting"));
        }
        Served::new(response, RequestResult::Overload)
    }

    /// The stored response after a 304 that does not fit it.
    pub(crate) fn unconfirmed<Res>(
        self,
        hit: &Hit,
        preconditions: Preconditions<'_>,
        info: FetchInfo,
    ) -> Served<Res> {
        let mut response = selected(&hit.response, preconditions, &HitValues::age_of(hit));
        self.append_contradiction(response.headers_mut(), info);
        Served::new(response, RequestResult::Stale)
    }

    /// A 502, because the inner service contradicts itself (RFC 9110 §15.6.3).
    pub(crate) fn bad_gateway<Res>(self, info: FetchInfo) -> Served<Res> {
        let mut response = Response::new(ResponseBody::default());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        self.append_contradiction(response.headers_mut(), info);
        Served::new(response, RequestResult::Miss)
    }

    /// Says on a response of the cache that the inner service's was of no use.
    fn append_contradiction(self, headers: &mut HeaderMap, info: FetchInfo) {
        if let Some(status) = self.status {
            let report = Forwarded {
                fwd: info.reason.fwd(),
                status: Some(info.status),
                stored: false,
                detail: info.contradiction.map(Reason::as_str),
            };
            append_member(headers, status.name.forwarded(report));
        }
    }

    /// A 504 to `only-if-cached` (RFC 9111 §5.2.1.7).
    pub(crate) fn gateway_timeout<Res>(self) -> Served<Res> {
        tracing::debug!(reason = "only-if-cached", "gateway timeout");
        let mut response = Response::new(ResponseBody::default());
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        if let Some(status) = self.status {
            let value = status.name.generated("only-if-cached");
            response.headers_mut().insert(CACHE_STATUS, value);
        }
        Served::new(response, RequestResult::GatewayTimeout)
    }

    /// Says on a fetched response whether it is being stored, or why not.
    pub(crate) fn mark_fetched(
        self,
        head: &mut response::Parts,
        info: FetchInfo,
        refusal: Option<Refusal>,
    ) {
        let Some(status) = self.status else {
            return;
        };
        let reason = info.reason;
        let report = Forwarded {
            fwd: reason.fwd(),
            status: Some(info.status).filter(|status| *status != head.status),
            stored: refusal.is_none(),
            detail: match refusal {
                Some(refusal) => Some(refusal.as_str()),
                None => info
                    .contradiction
                    .map_or(reason.detail(), |it| Some(it.as_str())),
            },
        };
        append_member(&mut head.headers, cached_member(status, report));
    }

    /// Says on a response that it is shared with the request that fetched it (RFC 9211 §2.6).
    pub(crate) fn mark_collapsed(self, headers: &mut HeaderMap, reason: FetchReason) {
        tracing::debug!(reason = reason.as_str(), "collapsed");
        if let Some(status) = self.status {
            append_member(headers, status.name.collapsed(reason.fwd()));
        }
    }

    /// Says on a response that all of it was here when the request joined its fill: it is a hit
    /// (RFC 9211 §2.1), with the age and the lifetime of a stored one. Returns what its request
    /// counts as.
    pub(crate) fn mark_joined_whole(self, headers: &mut HeaderMap, reuse: Reuse) -> RequestResult {
        if let Some(status) = self.status {
            let detail = reuse.stale.map(Reason::as_str);
            append_member(headers, status.name.hit(reuse.ttl, detail));
        }
        self.record_hit(reuse)
    }

    /// Says on a response that it bypassed the cache.
    pub(crate) fn mark_bypassed(self, headers: &mut HeaderMap, reason: Bypass) {
        self.append_status(headers, reason.fwd(), false, reason.detail());
    }

    /// Says on the response to a write whether stored responses were invalidated, or that there was
    /// no place for it.
    pub(crate) fn mark_written(
        self,
        head: &mut response::Parts,
        outcome: WriteOutcome,
        acknowledged: bool,
        stored: bool,
    ) {
        let overload = UnsentRequest::overload(&head.extensions);
        let detail = match acknowledged {
            true => overload.unwrap_or(outcome.as_str()),
            false => "invalidation-failed",
        };
        self.append_status(&mut head.headers, "method", stored, Some(detail));
    }

    /// Appends the `Cache-Status` of a forwarded request.
    fn append_status(
        self,
        headers: &mut HeaderMap,
        fwd: &'static str,
        stored: bool,
        detail: Option<&'static str>,
    ) {
        if let Some(status) = self.status {
            let report = Forwarded {
                fwd,
                status: None,
                stored,
                detail,
            };
            append_member(headers, cached_member(status, report));
        }
    }
}

/// Adds a member to `Cache-Status`. A map that is full stays as it is.
fn append_member(headers: &mut HeaderMap, member: HeaderValue) {
    let _ = headers.try_append(CACHE_STATUS, member);
}

/// The values of a hit: its age, and where it came from, behind what caches nearer to the origin
/// say (RFC 9211 §2).
struct HitValues<'h> {
    hit: &'h Hit,
    status: Option<&'h StatusName>,
}

impl<'h> HitValues<'h> {
    /// The age alone, where something else is said of the response than that it is a hit.
    fn age_of(hit: &'h Hit) -> Self {
        Self { hit, status: None }
    }
}

impl AnswerValues for HitValues<'_> {
    #[inline]
    fn key(&self) -> Option<AnswerKey> {
        let Reuse { age, ttl, stale } = self.hit.reuse;
        let status = self.status?;
        let is_plain = stale.is_none() && !self.hit.response.has_upstream_status();
        let ttl = ttl.map_or(u64::MAX, |ttl| ttl as u64);
        is_plain.then_some([age, ttl, status.number])
    }

    fn write(&self, headers: &mut HeaderMap) {
        set_age(headers, self.hit.reuse.age);
        let has_upstream = self.hit.response.has_upstream_status();
        let Some(status) = self.status else {
            if !has_upstream {
                headers.remove(CACHE_STATUS);
            }
            return;
        };
        let Reuse { ttl, stale, .. } = self.hit.reuse;
        let make = || status.name.hit(ttl, stale.map(Reason::as_str));
        let member = match ttl {
            Some(ttl) if stale.is_none() => cached_value(status.number, ttl as u64, make),
            _ => make(),
        };
        match slot_mut(headers, 1, &CACHE_STATUS) {
            Some(slot) if !has_upstream => *slot = member,
            _ => append_member(headers, member),
        }
    }
}

/// Sets the age of a stored response.
fn set_age(headers: &mut HeaderMap, seconds: u64) {
    if let Some(age) = slot_mut(headers, 0, &AGE) {
        *age = small_number(seconds)
            .unwrap_or_else(|| cached_value(0, seconds, || HeaderValue::from(seconds)));
    }
}
