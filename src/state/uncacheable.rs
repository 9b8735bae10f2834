//! Requests whose responses may not be shared ("hit-for-miss"): they do not wait for each other.
//!
//! A refusal is held against requests of the same kind with the same fields, because any field may
//! be the reason; against all of the kind once many different ones were refused in a row, see
//! [`noted_requests`](super::noted_requests).

use std::time::Duration;

use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::RequestKind;

use super::noted_requests::{NotedKey, NotedRequests, RequestDigest};

/// The note that a response was refused.
const REFUSED: u8 = 1;

/// What is expected of the response to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpectedRefusal {
    /// Nothing speaks against sharing it.
    No,
    /// It will be refused: a request like this one was.
    Alike,
    /// It may well be refused: many different requests were. A single client may have sent them.
    OfMany,
}

/// Requests remembered as uncacheable.
#[derive(Debug, Default)]
pub(crate) struct UncacheableRequests(NotedRequests);

impl UncacheableRequests {
    /// Remembers for the time `ttl` that the response to a request is refused.
    pub(crate) fn note(
        &self,
        (key, kind): (&CacheKey, RequestKind),
        request: RequestDigest,
        now: Moment,
        ttl: Duration,
    ) {
        let key = NotedKey::new(key, kind);
        self.0.note(key, request, REFUSED, now, ttl);
    }

    /// Whether a request gains nothing from waiting for others, and brings nothing by a refresh.
    ///
    /// `request` is called only if something is remembered for the key.
    pub(crate) fn contains(
        &self,
        (key, kind): (&CacheKey, RequestKind),
        now: Moment,
        request: impl FnOnce() -> RequestDigest,
    ) -> bool {
        self.0.find(NotedKey::new(key, kind), now, request) == REFUSED
    }

    /// Whether the response to a request will be refused, as far as is known.
    ///
    /// With cookies or credentials most clients differ in their fields, and most responses are for
    /// their own client: there, many refusals are as good as one of the same request.
    pub(crate) fn expected(
        &self,
        (key, kind): (&CacheKey, RequestKind),
        now: Moment,
        request: impl Fn() -> RequestDigest,
    ) -> ExpectedRefusal {
        let noted = NotedKey::new(key, kind);
        if self.0.find(noted, now, &request) != REFUSED {
            ExpectedRefusal::No
        } else if kind != RequestKind::Plain || self.0.find_alike(noted, now, request) == REFUSED {
            ExpectedRefusal::Alike
        } else {
            ExpectedRefusal::OfMany
        }
    }

    /// Forgets a key: a response to a request of this kind can be stored.
    pub(crate) fn forget(&self, key: &CacheKey, kind: RequestKind) {
        self.0.forget(NotedKey::new(key, kind));
    }
}
