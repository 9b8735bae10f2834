//! Requests whose responses may not be shared ("hit-for-miss"): they do not wait for each other.
//!
//! A refusal is held against requests of the same kind with the same fields, because any field may
//! be the reason; against all of the kind once many different ones were refused in a row, see
//! [`noted_requests`](super::noted_requests). A request that is rejected for its own fault says
//! little of others.
//!
//! Refused refreshes are noted apart, for longer: where the refreshes of a stale response are
//! refused to many, the others wait for a call first, however rarely they come.

use std::time::Duration;

use crate::flight::ExpiringSet;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::RequestKind;

use super::noted_requests::{MAX_NOTED, NotedKey, NotedRequests, RequestDigest};

/// The note that a response was refused.
const REFUSED: u8 = 1;
/// The note that a request was rejected.
const REJECTED: u8 = 2;

/// What a refusal is due to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalCause {
    /// The response: it may not be stored, or denies access. Other requests may well get the same.
    Response,
    /// The request, which is at fault. Others are not.
    Request,
}

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

/// The time after which fewer refused refreshes speak for others: clients whose refreshes are not
/// refused would have brought another response by then.
const LONG_STALE: Duration = Duration::from_secs(60);
/// The number of different requests whose refreshes were refused that speak for others then.
const ENOUGH_REFUSED: usize = 3;
/// The longest time for which a refused refresh is noted.
const MAX_REFRESH_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Requests remembered as uncacheable.
#[derive(Debug, Default)]
pub(crate) struct UncacheableRequests {
    all: NotedRequests,
    /// Those whose refreshes were refused.
    refreshes: NotedRequests,
    /// The keys of responses that could be stored, for each kind of request but plain ones.
    storable: [ExpiringSet; 4],
}

impl UncacheableRequests {
    /// Remembers for the time `ttl` that the response to a request is refused.
    pub(crate) fn note(
        &self,
        (key, request): (NotedKey, RequestDigest),
        cause: RefusalCause,
        now: Moment,
        ttl: Duration,
    ) {
        let value = match cause {
            RefusalCause::Response => REFUSED,
            RefusalCause::Request => REJECTED,
        };
        self.all.note(key, request, value, now, ttl);
    }

    /// Remembers that a refresh which has ended was refused, if it was: its request is noted. For
    /// the time `stale_use` in which the response that it was to replace could still be used
    /// without validation.
    ///
    /// A rejected one says nothing of the stored response.
    pub(crate) fn note_refresh(
        &self,
        (key, request): (NotedKey, RequestDigest),
        now: Moment,
        stale_use: Duration,
    ) {
        if self.all.find(key, now, || request).alike == REFUSED {
            let ttl = stale_use.min(MAX_REFRESH_TTL);
            self.refreshes.note(key, request, REFUSED, now, ttl);
        }
    }

    /// Whether the refresh of a response that has been stale for the time `stale_for` will be
    /// refused, as far as is known: one of a request with these fields was, or those of many
    /// different ones, or of a few for a long time.
    pub(crate) fn expected_of_refresh(
        &self,
        (key, request): (NotedKey, RequestDigest),
        now: Moment,
        stale_for: Duration,
    ) -> ExpectedRefusal {
        let noted = self.refreshes.find(key, now, || request);
        let enough = match stale_for >= LONG_STALE {
            true => ENOUGH_REFUSED,
            false => MAX_NOTED,
        };
        if noted.alike != 0 {
            ExpectedRefusal::Alike
        } else if noted.count >= enough {
            ExpectedRefusal::OfMany
        } else {
            ExpectedRefusal::No
        }
    }

    /// Whether the response to a request with these fields was refused.
    pub(crate) fn was_refused(
        &self,
        (key, request): (NotedKey, RequestDigest),
        now: Moment,
    ) -> bool {
        self.all.find(key, now, || request).alike != 0
    }

    /// Whether a request gains nothing from waiting for others.
    ///
    /// `request` is called only if something is remembered for the key.
    pub(crate) fn contains(
        &self,
        key: NotedKey,
        now: Moment,
        request: impl FnOnce() -> RequestDigest,
    ) -> bool {
        self.all.find(key, now, request).holding() != 0
    }

    /// Whether the response to a request will be refused, as far as is known. `is_known`: a response
    /// is stored for the key that others may use.
    ///
    /// With cookies or credentials most clients differ in their fields, and most responses are for
    /// their own client: there, many refused responses are as good as one to the same request. Not
    /// so many rejected requests, nor where a response that is stored, or could be a moment ago,
    /// shows that others are not refused.
    pub(crate) fn expected(
        &self,
        (key, kind): (&CacheKey, RequestKind),
        now: Moment,
        request: impl FnOnce() -> RequestDigest,
        is_known: bool,
    ) -> ExpectedRefusal {
        let noted = self.all.find(NotedKey::new(key, kind), now, request);
        if noted.alike != 0 {
            return ExpectedRefusal::Alike;
        }
        if noted.count < MAX_NOTED {
            return ExpectedRefusal::No;
        }
        let is_personal = kind != RequestKind::Plain
            && noted.common & REFUSED != 0
            && !is_known
            && !self.storable[kind as usize].is_remembered(key, || now);
        match is_personal {
            true => ExpectedRefusal::Alike,
            false => ExpectedRefusal::OfMany,
        }
    }

    /// Notes that a response to a request of this kind can be stored, and forgets all others. For
    /// the time `ttl` it shows that not all are refused.
    pub(crate) fn note_storable(
        &self,
        (key, kind): (&CacheKey, RequestKind),
        now: Moment,
        ttl: Duration,
    ) {
        let noted = NotedKey::new(key, kind);
        self.all.forget(noted);
        self.refreshes.forget(noted);
        if kind != RequestKind::Plain {
            self.storable[kind as usize].remember(key, now, ttl);
        }
    }
}
