//! Requests whose responses may not be shared ("hit-for-miss"): they do not wait for each other.
//!
//! A refusal is held against requests of the same kind with the same fields, because any field may
//! be the reason; against all of the kind once many different ones were refused in a row, see
//! [`noted_requests`](super::noted_requests).
//!
//! Refused refreshes are noted apart, for longer: a stale response whose refreshes are refused to
//! all is not used any more, however rarely requests come.

use std::time::Duration;

use crate::semantics::moment::Moment;
use crate::semantics::request_kind::RequestKind;

use super::noted_requests::{NotedKey, NotedRequests, RequestDigest};

/// The note that a response was refused.
const REFUSED: u8 = 1;

/// Whether the response to a request will be refused, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpectedRefusal {
    /// Nothing speaks against sharing it.
    No,
    /// It will be refused: a request like this one was.
    Alike,
    /// It may well be refused: many different requests were. A single client may have sent them.
    OfMany,
}

/// The time after which fewer refused refreshes end the use of a stale response: clients whose
/// refreshes are not refused would have brought another one by then.
const LONG_STALE: Duration = Duration::from_secs(60);
/// The number of different requests whose refreshes were refused that ends it then.
const ENOUGH_REFUSED: usize = 3;
/// The longest time for which a refused refresh is noted.
const MAX_REFRESH_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Requests remembered as uncacheable.
#[derive(Debug, Default)]
pub(crate) struct UncacheableRequests {
    all: NotedRequests,
    /// Those whose refreshes were refused.
    refreshes: NotedRequests,
}

impl UncacheableRequests {
    /// Remembers for the time `ttl` that the response to a request is refused.
    pub(crate) fn note(
        &self,
        (key, request): (NotedKey, RequestDigest),
        now: Moment,
        ttl: Duration,
    ) {
        self.all.note(key, request, REFUSED, now, ttl);
    }

    /// Remembers that a refresh was refused, for the time `stale_use` in which the response that it
    /// was to replace could still be used without validation.
    pub(crate) fn note_refresh(
        &self,
        (key, request): (NotedKey, RequestDigest),
        now: Moment,
        stale_use: Duration,
    ) {
        let ttl = stale_use.min(MAX_REFRESH_TTL);
        self.refreshes.note(key, request, REFUSED, now, ttl);
    }

    /// Whether a response that has been stale for the time `stale_for` is not used without
    /// validation any more, because refreshes of it were refused: to a request with these fields,
    /// or to many different ones, or to a few for a long time.
    pub(crate) fn ends_stale_use(
        &self,
        (key, request): (NotedKey, RequestDigest),
        now: Moment,
        stale_for: Duration,
    ) -> bool {
        let noted = self.refreshes.find(key, now, || request);
        noted.holding() != 0 || stale_for >= LONG_STALE && noted.count >= ENOUGH_REFUSED
    }

    /// Whether a request gains nothing from waiting for others, and brings nothing by a refresh.
    ///
    /// `request` is called only if something is remembered for the key.
    pub(crate) fn contains(
        &self,
        key: NotedKey,
        now: Moment,
        request: impl FnOnce() -> RequestDigest,
    ) -> bool {
        self.all.find(key, now, request).holding() == REFUSED
    }

    /// Whether the response to a request will be refused, as far as is known.
    ///
    /// With cookies or credentials most clients differ in their fields, and most responses are for
    /// their own client: there, many refusals are as good as one of the same request.
    pub(crate) fn expected(
        &self,
        key: NotedKey,
        now: Moment,
        request: impl FnOnce() -> RequestDigest,
    ) -> ExpectedRefusal {
        let noted = self.all.find(key, now, request);
        if noted.holding() != REFUSED {
            ExpectedRefusal::No
        } else if key.kind != RequestKind::Plain || noted.alike == REFUSED {
            ExpectedRefusal::Alike
        } else {
            ExpectedRefusal::OfMany
        }
    }

    /// Forgets a key: a response to a request of its kind can be stored.
    pub(crate) fn forget(&self, key: NotedKey) {
        self.all.forget(key);
        self.refreshes.forget(key);
    }
}
