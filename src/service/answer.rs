//! Answers the cache gives, and what it adds to those of the inner service.

use std::cell::RefCell;

use http::header::AGE;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, request};

use crate::backend::Backend;
use crate::semantics::reason::{Bypass, FetchReason, Reason, Refusal, WriteOutcome};
use crate::semantics::stored::CACHE_STATUS;
use crate::stats::Event;

use super::body::ResponseBody;
use super::lookup::Hit;
use super::shared::Shared;

impl<B: Backend> Shared<B> {
    /// The stored response (RFC 9111 §4), without its body for HEAD.
    pub(super) fn hit<Res>(
        &self,
        hit: &Hit,
        request: &request::Parts,
    ) -> Response<ResponseBody<Res>> {
        self.count(Event::Hit);
        tracing::debug!(age = hit.age, "hit");
        let stored = &hit.response;
        let mut headers = stored.headers().clone();
        if let Some(age) = headers.get_mut(AGE) {
            *age = remembered(0, hit.age, || HeaderValue::from(hit.age));
        }
        match &self.config.status {
            None if stored.has_upstream_status() => {}
            None => {
                headers.remove(CACHE_STATUS);
            }
            Some(status) => {
                let value = match hit.left {
                    Some(left) => remembered(status.number, left, || status.name.hit(Some(left))),
                    None => status.name.hit(None),
                };
                match headers.get_mut(CACHE_STATUS) {
                    Some(slot) if !stored.has_upstream_status() => *slot = value,
                    _ => {
                        headers.append(CACHE_STATUS, value);
                    }
                }
            }
        }
        let body = match (request.method == Method::HEAD, stored.trailers()) {
            (true, None) => ResponseBody::default(),
            (true, Some(_)) => ResponseBody::none_of_unknown_size(),
            (false, trailers) => ResponseBody::whole(stored.body().clone(), trailers.cloned()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = stored.status();
        *response.headers_mut() = headers;
        response
    }

    /// 504 to `only-if-cached` (RFC 9111 §5.2.1.7).
    pub(super) fn gateway_timeout<Res>(&self) -> Response<ResponseBody<Res>> {
        self.count(Event::GatewayTimeout);
        tracing::debug!(reason = "only-if-cached", "gateway timeout");
        let mut response = Response::new(ResponseBody::default());
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        if let Some(status) = &self.config.status {
            let value = status.name.own_answer("only-if-cached");
            response.headers_mut().insert(CACHE_STATUS, value);
        }
        response
    }

    /// Says that a fill's answer comes from the inner service, and whether or why not it is being stored.
    pub(super) fn forwarded(
        &self,
        headers: &mut HeaderMap,
        reason: FetchReason,
        refusal: Option<Refusal>,
    ) {
        let detail = match refusal {
            Some(refusal) => Some(refusal.as_str()),
            None => reason.detail(),
        };
        self.append_status(headers, reason.fwd(), refusal.is_none(), detail);
    }

    /// Says that an answer is shared with the request that fetched it (RFC 9211 §2.6).
    pub(super) fn collapsed(&self, headers: &mut HeaderMap, reason: FetchReason) {
        self.count(Event::Collapsed);
        tracing::debug!(reason = reason.as_str(), "collapsed");
        if let Some(status) = &self.config.status {
            headers.append(CACHE_STATUS, status.name.collapsed(reason.fwd()));
        }
    }

    /// Says that an answer went past the cache.
    pub(super) fn bypassed(&self, headers: &mut HeaderMap, reason: Bypass) {
        self.append_status(headers, reason.fwd(), false, reason.detail());
    }

    /// Says what a write did to the store.
    pub(super) fn written(
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
        if let Some(status) = &self.config.status {
            headers.append(CACHE_STATUS, status.name.forwarded(fwd, stored, detail));
        }
    }
}

const REMEMBERED: usize = 64;

/// A header value made from a number, remembered by this thread.
///
/// Ages and lifetimes change once a second: formatting them on every hit would cost more than the lookup. `kind` tells
/// values of different making apart.
fn remembered(kind: u64, number: u64, make: impl FnOnce() -> HeaderValue) -> HeaderValue {
    type Entry = Option<(u64, u64, HeaderValue)>;
    thread_local! {
        static VALUES: RefCell<[Entry; REMEMBERED]> = const { RefCell::new([const { None }; REMEMBERED]) };
    }
    let place = (number.wrapping_add(kind.wrapping_mul(31)) % REMEMBERED as u64) as usize;
    let mut make = Some(make);
    let found = VALUES.try_with(|values| {
        let mut values = values.borrow_mut();
        match &values[place] {
            Some((of, n, value)) if (*of, *n) == (kind, number) => Some(value.clone()),
            _ => {
                let value = make.take()?();
                values[place] = Some((kind, number, value.clone()));
                Some(value)
            }
        }
    });
    match (found, make) {
        (Ok(Some(value)), _) => value,
        // The thread is being torn down: its memory is gone, the value is not.
        (_, Some(make)) => make(),
        (_, None) => unreachable!("the value was made and kept"),
    }
}
