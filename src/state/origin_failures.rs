//! Requests whose fetches failed a moment ago: the inner service is not asked again by requests
//! with the same fields while a stored response may be used instead.
//!
//! Only fetches that a refresh would have made alike count, each for its kind of request: what one
//! client forces, or gets for its cookies, says nothing of the refreshes for others. Nor does one
//! that fails for other fields, see [`noted_requests`](super::noted_requests). While calls fail,
//! the others are not waited for beyond the usual time, that is all.

use std::time::Duration;

use crate::flight::ExpiringSet;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::reason::StaleUse;

use super::noted_requests::{NotedKey, NotedRequests, RequestDigest};

/// The inner service answered 500, 502, 503 or 504.
const ERROR: u8 = 1;
/// The inner service gave no answer.
const UNREACHABLE: u8 = 2;
/// A refresh was started, and has stored nothing yet.
const REFRESH: u8 = 4;
/// A refresh has ended, and has stored nothing yet.
const USELESS: u8 = 8;

/// The time for which a refresh that has hung is noted.
const HUNG_TTL: Duration = Duration::from_secs(60);
/// The time after which a failure shows that calls of its key take long.
const SLOW_FAILURE: Duration = Duration::from_secs(1);

/// What recent failures mean for a refresh by a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Backoff {
    /// There are none.
    None,
    /// They are those of a few other requests, and say nothing of this one.
    OfOthers,
    /// They are those of so many other requests that this one would fail, too.
    OfMany,
    /// It would only repeat a refresh that failed, or that is under way.
    Holds,
}

/// Requests in backoff.
#[derive(Debug, Default)]
pub(crate) struct OriginFailures {
    requests: NotedRequests,
    /// Those whose refreshes have hung.
    hung: NotedRequests,
    /// The keys of which a call has failed, for either stale use, as [`USES`] has them.
    failing: [ExpiringSet; 2],
    /// Those of which one has failed that took long.
    failing_slowly: ExpiringSet,
}

/// The notes on failures, and the stale uses that they allow.
const USES: [(u8, StaleUse); 2] = [
    (ERROR, StaleUse::IfError),
    (UNREACHABLE, StaleUse::IfUnreachable),
];

/// The note on a failure that allows a stale use.
fn note_of(use_: StaleUse) -> u8 {
    match use_ {
        StaleUse::IfUnreachable => UNREACHABLE,
        StaleUse::IfError | StaleUse::WhileRevalidate | StaleUse::MaxStale => ERROR,
    }
}

impl OriginFailures {
    /// Ends the backoff of a key: a new response is stored.
    pub(crate) fn forget(&self, key: NotedKey) {
        self.requests.forget(key);
    }

    /// Notes a failure, by the stale use that it allows.
    pub(crate) fn note(
        &self,
        (key, request): (NotedKey, RequestDigest),
        use_: StaleUse,
        now: Moment,
        backoff: Duration,
    ) {
        self.requests
            .note(key, request, note_of(use_), now, backoff);
    }

    /// Notes that a call for a key has failed after the time `took`. The next one may take as long,
    /// so that this holds longer than the backoff of its request.
    pub(crate) fn note_failing(
        &self,
        key: &CacheKey,
        use_: StaleUse,
        now: Moment,
        (backoff, took): (Duration, Duration),
    ) {
        if backoff.is_zero() {
            return;
        }
        let ttl = backoff.saturating_add(took);
        let failing = USES.iter().zip(&self.failing);
        for (_, keys) in failing.filter(|((value, _), _)| *value == note_of(use_)) {
            keys.remember(key, now, ttl);
        }
        if took >= SLOW_FAILURE {
            self.failing_slowly.remember(key, now, ttl);
        }
    }

    /// Whether a call for a key has failed lately that took long, of whatever request: others that
    /// take long may be about to fail, too.
    pub(crate) fn is_failing_slowly(&self, key: &CacheKey, now: Moment) -> bool {
        self.failing_slowly.is_remembered(key, || now)
    }

    /// The stale uses that the recent failures of a key allow, of whatever request. It says little
    /// of other requests: they call all the same.
    pub(crate) fn failing(&self, key: &CacheKey, now: Moment) -> impl Iterator<Item = StaleUse> {
        let failing = USES.iter().zip(&self.failing);
        failing
            .filter(move |(_, keys)| keys.is_remembered(key, || now))
            .map(|((_, use_), _)| *use_)
    }

    /// Notes that a refresh begins. Unless it stores something, requests with these fields begin no
    /// other one within `timeout` and `backoff`: the time for which others leave it to that one,
    /// and that for which it has failed then.
    pub(crate) fn note_refresh(
        &self,
        (key, request): (NotedKey, RequestDigest),
        now: Moment,
        timeout: Duration,
        backoff: Duration,
    ) {
        let ttl = match backoff.is_zero() {
            true => Duration::ZERO,
            false => timeout.saturating_add(backoff),
        };
        self.requests.note(key, request, REFRESH, now, ttl);
    }

    /// Notes that a refresh has ended by itself. If it is not forgotten by now, or later because it
    /// stores something, it has failed.
    pub(crate) fn end_refresh(
        &self,
        (key, request): (NotedKey, RequestDigest),
        now: Moment,
        backoff: Duration,
    ) {
        let values = (REFRESH, USELESS);
        self.requests.shorten(key, request, values, now, backoff);
    }

    /// Notes that a refresh which was not noted as it began has ended by itself, and was of no use.
    pub(crate) fn note_useless(
        &self,
        (key, request): (NotedKey, RequestDigest),
        now: Moment,
        backoff: Duration,
    ) {
        self.requests.note(key, request, USELESS, now, backoff);
    }

    /// Whether a refresh by a request would get nothing for certain: one of its own has, or is under
    /// way, or so many calls for the key were answered with nothing of use. Those that hang do not
    /// count.
    pub(crate) fn is_useless(
        &self,
        key: NotedKey,
        now: Moment,
        request: impl FnOnce() -> RequestDigest,
    ) -> bool {
        let noted = self.requests.find(key, now, request);
        noted.alike != 0 || noted.holding() & (ERROR | UNREACHABLE | USELESS) != 0
    }

    /// Notes that a refresh with these fields was given up without a response.
    pub(crate) fn note_hung(&self, (key, request): (NotedKey, RequestDigest), now: Moment) {
        self.hung.note(key, request, REFRESH, now, HUNG_TTL);
    }

    /// Whether a refresh with these fields has hung lately.
    pub(crate) fn has_hung(&self, (key, request): (NotedKey, RequestDigest), now: Moment) -> bool {
        self.hung.find(key, now, || request).alike != 0
    }

    /// Whether a refresh of a key has hung lately, with whatever fields.
    pub(crate) fn has_any_hung(&self, key: NotedKey, now: Moment, request: RequestDigest) -> bool {
        self.hung.find(key, now, || request).any != 0
    }

    /// What the failures of a key mean for a refresh by a request.
    pub(crate) fn backoff(
        &self,
        key: NotedKey,
        now: Moment,
        request: impl FnOnce() -> RequestDigest,
    ) -> Backoff {
        let noted = self.requests.find(key, now, request);
        if noted.alike != 0 {
            Backoff::Holds
        } else if noted.holding() != 0 {
            Backoff::OfMany
        } else if noted.any != 0 {
            Backoff::OfOthers
        } else {
            Backoff::None
        }
    }

    /// The recent failures that hold for a request, as the stale uses that they allow; with
    /// `of_any` those of any request.
    pub(crate) fn recent(
        &self,
        key: NotedKey,
        now: Moment,
        request: impl FnOnce() -> RequestDigest,
        of_any: bool,
    ) -> impl Iterator<Item = StaleUse> {
        let noted = self.requests.find(key, now, request);
        let noted = if of_any { noted.any } else { noted.holding() };
        USES.into_iter()
            .filter(move |(value, _)| noted & value != 0)
            .map(|(_, use_)| use_)
    }
}
