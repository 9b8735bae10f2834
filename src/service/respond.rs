//! Answers the cache gives, and what it adds to those of the inner service.

use std::cell::RefCell;

use http::header::{AGE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode, response};

use crate::backend::Backend;
use crate::semantics::reason::{Bypass, FetchReason, Reason, Refusal, StaleUse, WriteOutcome};
use crate::semantics::status::{CacheName, Forwarded};
use crate::semantics::stored::CACHE_STATUS;
use crate::stats::Event;

use crate::body::response::ResponseBody;
use crate::service::lookup::Hit;
use crate::service::request::outgoing::{Forward, Sent, Wanted};
use crate::service::select::stored::selected;
use crate::state::Shared;

impl<B: Backend> Shared<B> {
    /// The stored response (RFC 9111 §4), without its body for HEAD.
    pub(crate) fn hit<Res>(&self, hit: &Hit, wanted: Wanted<'_>) -> Response<ResponseBody<Res>> {
        self.answer(hit, selected(&hit.response, wanted))
    }

    /// What was selected of a stored response, as a hit.
    pub(crate) fn answer<Res>(
        &self,
        hit: &Hit,
        selected: Response<ResponseBody<Res>>,
    ) -> Response<ResponseBody<Res>> {
        self.count(Event::Hit);
        tracing::debug!(age = hit.age, "hit");
        let mut response = aged(selected, hit);
        match hit.stale {
            None => self.stamp_status(response.headers_mut(), hit),
            Some(of) => {
                let value = |name: &CacheName| name.hit(hit.ttl, Some(of.as_str()));
                self.stamp_stale(response.headers_mut(), hit, of, value);
            }
        }
        response
    }

    /// What is stored, in the place of the inner service's failure.
    pub(crate) fn stood_in<Res>(
        &self,
        hit: &Hit,
        sent: &Sent,
        reason: FetchReason,
        status: Option<StatusCode>,
    ) -> Response<ResponseBody<Res>> {
        let mut response = aged(selected(&hit.response, sent.wanted()), hit);
        if let Some(of) = hit.stale {
            let value =
                |name: &CacheName| name.stood_in(reason.fwd(), status, hit.ttl, of.as_str());
            self.stamp_stale(response.headers_mut(), hit, of, value);
        }
        response
    }

    fn stamp_status(&self, headers: &mut HeaderMap, hit: &Hit) {
        let has_upstream = hit.response.has_upstream_status();
        let Some(status) = self.config.status_name() else {
            if !has_upstream {
                headers.remove(CACHE_STATUS);
            }
            return;
        };
        let make = || status.name.hit(hit.ttl, None);
        let stamp = |slot: &mut HeaderValue| match hit.ttl {
            Some(ttl) => fill(slot, status.number, ttl as u64, make),
            None => *slot = make(),
        };
        match headers.get_mut(CACHE_STATUS) {
            Some(slot) if !has_upstream => stamp(slot),
            _ => {
                let mut value = HeaderValue::from_static("");
                stamp(&mut value);
                headers.append(CACHE_STATUS, value);
            }
        }
    }

    /// Says that what is stale was used, and why: too rare to be remembered by this thread.
    #[inline(never)]
    fn stamp_stale(
        &self,
        headers: &mut HeaderMap,
        hit: &Hit,
        of: StaleUse,
        value: impl Fn(&CacheName) -> HeaderValue,
    ) {
        self.count(Event::Stale(of));
        tracing::debug!(reason = of.as_str(), age = hit.age, "stale");
        if !hit.response.has_upstream_status() {
            headers.remove(CACHE_STATUS);
        }
        if let Some(status) = self.config.status_name() {
            headers.append(CACHE_STATUS, value(&status.name));
        }
    }

    /// 503, because as many as may already wait for the inner service (RFC 9110 §15.6.4).
    pub(crate) fn too_many_waiting<Res>(&self) -> Response<ResponseBody<Res>> {
        self.count(Event::Overload);
        tracing::warn!("too many fills wait for the inner service");
        let mut response = Response::new(ResponseBody::default());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        if let Some(status) = self.config.status_name() {
            headers.insert(CACHE_STATUS, status.name.own_answer("too-many-waiting"));
        }
        response
    }

    /// 502: what the inner service says contradicts itself (RFC 9110 §15.6.3).
    pub(crate) fn bad_gateway<Res>(
        &self,
        forward: Forward,
        detail: &'static str,
    ) -> Response<ResponseBody<Res>> {
        self.count(Event::Contradiction);
        let mut response = Response::new(ResponseBody::default());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        if let Some(status) = self.config.status_name() {
            let told = Forwarded {
                fwd: forward.reason.fwd(),
                status: Some(forward.status),
                stored: false,
                detail: Some(detail),
            };
            let value = status.name.forwarded(told);
            response.headers_mut().insert(CACHE_STATUS, value);
        }
        response
    }

    /// 504 to `only-if-cached` (RFC 9111 §5.2.1.7).
    pub(crate) fn gateway_timeout<Res>(&self) -> Response<ResponseBody<Res>> {
        self.count(Event::GatewayTimeout);
        tracing::debug!(reason = "only-if-cached", "gateway timeout");
        let mut response = Response::new(ResponseBody::default());
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        if let Some(status) = self.config.status_name() {
            let value = status.name.own_answer("only-if-cached");
            response.headers_mut().insert(CACHE_STATUS, value);
        }
        response
    }

    /// Says that a fill's answer comes from the inner service, and whether or why not it is being stored.
    pub(crate) fn forwarded(
        &self,
        head: &mut response::Parts,
        forward: Forward,
        refusal: Option<Refusal>,
    ) {
        let Some(status) = self.config.status_name() else {
            return;
        };
        let reason = forward.reason;
        let told = Forwarded {
            fwd: reason.fwd(),
            status: Some(forward.status).filter(|status| *status != head.status),
            stored: refusal.is_none(),
            detail: match refusal {
                Some(refusal) => Some(refusal.as_str()),
                None => reason.detail(),
            },
        };
        let value = status.name.forwarded(told);
        head.headers.append(CACHE_STATUS, value);
    }

    /// Says that an answer is shared with the request that fetched it (RFC 9211 §2.6).
    pub(crate) fn collapsed(&self, headers: &mut HeaderMap, reason: FetchReason) {
        self.count(Event::Collapsed);
        tracing::debug!(reason = reason.as_str(), "collapsed");
        if let Some(status) = self.config.status_name() {
            headers.append(CACHE_STATUS, status.name.collapsed(reason.fwd()));
        }
    }

    /// Says that an answer went past the cache.
    pub(crate) fn bypassed(&self, headers: &mut HeaderMap, reason: Bypass) {
        self.append_status(headers, reason.fwd(), false, reason.detail());
    }

    /// Says what a write did to the store.
    pub(crate) fn written(
        &self,
        headers: &mut HeaderMap,
        outcome: WriteOutcome,
        acknowledged: bool,
        stored: bool,
    ) {
        let detail = if acknowledged {
            outcome.as_str()
        } else {
            "invalidation-failed"
        };
        self.append_status(headers, "method", stored, Some(detail));
    }

    fn append_status(
        &self,
        headers: &mut HeaderMap,
        fwd: &str,
        stored: bool,
        detail: Option<&str>,
    ) {
        if let Some(status) = self.config.status_name() {
            let told = Forwarded {
                fwd,
                status: None,
                stored,
                detail,
            };
            headers.append(CACHE_STATUS, status.name.forwarded(told));
        }
    }
}

/// A stored response, whose `Cache-Status` is still to be set.
#[inline]
fn aged<Res>(mut response: Response<ResponseBody<Res>>, hit: &Hit) -> Response<ResponseBody<Res>> {
    if let Some(age) = response.headers_mut().get_mut(AGE) {
        fill(age, 0, hit.age, || HeaderValue::from(hit.age));
    }
    response
}

const REMEMBERED: usize = 64;

/// Fills a slot with a header value made from a number, as remembered by this thread.
///
/// Ages and lifetimes change once a second: formatting them on every hit would cost more than the lookup. `kind` tells
/// values of different making apart.
fn fill(slot: &mut HeaderValue, kind: u64, number: u64, make: impl Fn() -> HeaderValue) {
    type Entry = (u64, u64, HeaderValue);
    thread_local! {
        static VALUES: RefCell<[Option<Entry>; REMEMBERED]> =
            const { RefCell::new([const { None }; REMEMBERED]) };
    }
    let place = (number.wrapping_add(kind.wrapping_mul(31)) % REMEMBERED as u64) as usize;
    let filled = VALUES.try_with(|values| match &mut values.borrow_mut()[place] {
        Some((of, n, value)) if (*of, *n) == (kind, number) => *slot = value.clone(),
        other => {
            *slot = make();
            *other = Some((kind, number, slot.clone()));
        }
    });
    if filled.is_err() {
        // The thread is being torn down: its memory is gone, the value is not.
        *slot = make();
    }
}
