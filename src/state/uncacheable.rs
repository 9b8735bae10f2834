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
use crate::semantics::reason::{Reason, Refusal};
use crate::semantics::request_kind::RequestKind;

use super::noted_requests::{MAX_NOTED, NotedKey, NotedRequests, RequestDigest};

/// The note that a response was refused.
const REFUSED: u8 = 1;
/// The note that a request was rejected.
const REJECTED: u8 = 2;
/// The note that a body had no end.
const ENDLESS: u8 = 1;

/// What a refusal is due to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalCause {
    /// The response: it may not be stored, or denies access. Other requests may well get the same.
    Response,
    /// The request, which is at fault. Others are not.
    Request,
}

/// A refusal that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RememberedRefusal {
    pub(crate) refusal: Refusal,
    /// Whether it is held against the request, and not only against those with other fields.
    pub(crate) holds: bool,
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
/// The time for which a body without an end is noted, unless the response for its key is stored.
const ENDLESS_TTL: Duration = Duration::from_secs(10 * 60);
/// The longest time for which a refused refresh is noted.
const MAX_REFRESH_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Requests remembered as uncacheable.
#[derive(Debug, Default)]
pub(crate) struct UncacheableRequests {
    all: NotedRequests,
    /// Those whose refreshes were refused.
    refreshes: NotedRequests,
    /// Those whose bodies had no end. Noted apart: nothing speaks against storing such a response,
    /// nor against using a stale one in its place.
    endless: NotedRequests,
    /// The keys of responses that could be stored, for each kind of request but plain ones.
    storable: [ExpiringSet; 4],
}

impl UncacheableRequests {
    /// Remembers for the time `ttl` that the response to a request is refused.
    pub(crate) fn note(
        &self,
        (key, request): (NotedKey, RequestDigest),
        (cause, refusal): (RefusalCause, Refusal),
        now: Moment,
        ttl: Duration,
    ) {
        let value = match cause {
            RefusalCause::Response => REFUSED,
            RefusalCause::Request => REJECTED,
        };
        // 0 says nothing.
        let detail = u8::try_from(refusal.index() + 1).unwrap_or(0);
        let noted = (key, request);
        self.all.note_with_detail(noted, (value, detail), now, ttl);
    }

    /// Remembers that a refresh which has ended was refused, if it was: its request is noted. For
    /// the time `stale_use` in which the response that it was to replace could still be used
    /// without validation.
    ///
    /// A rejected one says nothing of the stored response. Returns whether it was refused.
    pub(crate) fn note_refresh(
        &self,
        (key, request): (NotedKey, RequestDigest),
        now: Moment,
        stale_use: Duration,
    ) -> bool {
        let is_refused = self.all.find(key, now, || request).alike == REFUSED;
        if is_refused {
            let ttl = stale_use.min(MAX_REFRESH_TTL);
            self.refreshes.note(key, request, REFUSED, now, ttl);
        }
        is_refused
    }

    /// Whether the refresh of a response that has been stale for the time `stale_for` will be
    /// refused, as far as is known: one of a request with these fields was, or those of many
    /// different ones, or of a few for a long time. Those of one client do not speak for others.
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
        } else if noted.count >= MAX_NOTED || noted.count >= enough && !noted.is_of_one_client {
            ExpectedRefusal::OfMany
        } else {
            ExpectedRefusal::No
        }
    }

    /// Remembers that the body of the response to a request was still coming when the time for
    /// collecting it was over.
    pub(crate) fn note_endless(&self, (key, request): (NotedKey, RequestDigest), now: Moment) {
        self.endless.note(key, request, ENDLESS, now, ENDLESS_TTL);
    }

    /// Forgets all bodies without an end: the response for this key is stored.
    pub(crate) fn forget_endless(&self, key: NotedKey) {
        self.endless.forget(key);
    }

    /// Whether the body of the response to a request will have no end, as far as is known.
    ///
    /// `request` is called only if something is remembered for the key.
    pub(crate) fn expected_endless(
        &self,
        key: NotedKey,
        now: Moment,
        request: impl FnOnce() -> RequestDigest,
    ) -> ExpectedRefusal {
        let noted = self.endless.find(key, now, request);
        match noted.alike {
            0 if noted.count < MAX_NOTED => ExpectedRefusal::No,
            0 => ExpectedRefusal::OfMany,
            _ => ExpectedRefusal::Alike,
        }
    }

    /// The refusal that is remembered for a request, for explanations: one that holds for it, or else
    /// one of a request with other fields.
    pub(crate) fn last_refusal(
        &self,
        key: NotedKey,
        now: Moment,
        request: impl FnOnce() -> RequestDigest,
    ) -> Option<RememberedRefusal> {
        let noted = self.all.find(key, now, request);
        let index = usize::from(noted.detail).checked_sub(1)?;
        Some(RememberedRefusal {
            refusal: *Refusal::ALL.get(index)?,
            holds: noted.holding() != 0,
        })
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

    /// Whether the response to a request will be refused, as far as is known. `is_known`: a
    /// response is stored for the key that others may use.
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::semantics::request_kind::RequestKind::{Plain, WithBoth, WithCookies};
    use crate::state::noted_requests::RequestDigester;

    const TTL: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH)
    }

    fn requests() -> Vec<RequestDigest> {
        let digester = RequestDigester::default();
        let name = HeaderName::from_static("x-number");
        let fields = |number| HeaderMap::from_iter([(name.clone(), HeaderValue::from(number))]);
        let digest = |number: u16| digester.digest(b"", &fields(number));
        (0..20).map(digest).collect()
    }

    #[test]
    fn many_refusals_are_believed_where_nothing_shows_that_others_are_not_refused() {
        use ExpectedRefusal::{Alike, No, OfMany};
        let (key, requests) = (CacheKey::for_path("/a"), requests());
        // The kind, the numbers of refused responses and rejected requests, whether a response is
        // known, when one could be stored, and what another request expects at second 50.
        #[rustfmt::skip]
        let rows = [
            (Plain, 7, 0, false, None, No),
            (Plain, 8, 0, false, None, OfMany),
            (Plain, 0, 8, false, None, OfMany),
            (Plain, 8, 0, true, None, OfMany),
            (WithCookies, 7, 0, false, None, No),
            (WithCookies, 8, 0, false, None, Alike),
            (WithCookies, 7, 1, false, None, OfMany),
            (WithCookies, 0, 8, false, None, OfMany),
            (WithCookies, 8, 0, true, None, OfMany),
            (WithCookies, 8, 0, false, Some((WithCookies, 0)), OfMany),
            (WithCookies, 8, 0, false, Some((WithBoth, 0)), Alike),
            (WithBoth, 8, 0, false, Some((WithBoth, 0)), OfMany),
            (WithBoth, 8, 0, false, None, Alike),
        ];
        for row in rows {
            let (kind, refused, rejected, is_known, storable, expected) = row;
            let uncacheable = UncacheableRequests::default();
            if let Some((kind, second)) = storable {
                uncacheable.note_storable((&key, kind), at(second), TTL);
            }
            for (number, request) in requests[..refused + rejected].iter().enumerate() {
                let cause = match number < refused {
                    true => RefusalCause::Response,
                    false => RefusalCause::Request,
                };
                let noted = (NotedKey::new(&key, kind), *request);
                uncacheable.note(noted, (cause, Refusal::NoStore), at(45), TTL);
            }
            let find = |second, request: usize| {
                let request = || requests[request];
                uncacheable.expected((&key, kind), at(second), request, is_known)
            };
            assert_eq!((find(50, 19), find(50, 0)), (expected, Alike), "{row:?}");
            if storable.is_some() {
                assert_eq!(find(61, 19), Alike, "{row:?}, a minute later");
            }
        }
    }

    #[test]
    fn refused_refreshes_are_believed_by_number_and_time() {
        use ExpectedRefusal::{Alike, No, OfMany};
        let (key, requests) = (CacheKey::for_path("/a"), requests());
        let noted = |request: usize| (NotedKey::new(&key, Plain), requests[request]);
        let day = Duration::from_secs(24 * 60 * 60);
        for (cause, counts) in [
            (RefusalCause::Response, true),
            (RefusalCause::Request, false),
        ] {
            let uncacheable = UncacheableRequests::default();
            for count in 1..=9 {
                uncacheable.note(noted(count), (cause, Refusal::NoStore), at(0), TTL);
                // Without a note on its request it was not refused.
                uncacheable.note_refresh(noted(19), at(0), day);
                uncacheable.note_refresh(noted(count), at(0), day * 2);
                let find = |request, second, stale_for| {
                    let stale_for = Duration::from_secs(stale_for);
                    uncacheable.expected_of_refresh(noted(request), at(second), stale_for)
                };
                let expected = |enough| {
                    if counts && count >= enough {
                        OfMany
                    } else {
                        No
                    }
                };
                assert_eq!(find(18, 10, 59), expected(8), "{cause:?} {count}");
                assert_eq!(find(18, 10, 60), expected(3), "{cause:?} {count}");
                let own = if counts { Alike } else { No };
                assert_eq!(find(count, 86_399, 0), own, "{cause:?} {count}");
            }
            let found = uncacheable.expected_of_refresh(noted(9), at(86_400), TTL);
            assert_eq!(found, No, "{cause:?}, a day later");
        }
    }
}
