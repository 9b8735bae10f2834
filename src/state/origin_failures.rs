//! Requests whose fetches failed a moment ago: the inner service is not asked again by requests
//! with the same fields while a stored response may be used instead.
//!
//! Only fetches that a refresh would have made alike count, each for its kind of request: what one
//! client forces, or gets for its cookies, says nothing of the refreshes for others. Nor does one
//! that fails for other fields, see [`noted_requests`](super::noted_requests).

use std::time::Duration;

use crate::semantics::moment::Moment;
use crate::semantics::reason::StaleUse;

use super::noted_requests::{NotedKey, NotedRequests, RequestDigest};

/// The inner service answered 500, 502, 503 or 504.
const ERROR: u8 = 1;
/// The inner service gave no answer.
const UNREACHABLE: u8 = 2;
/// A refresh was started, and has stored nothing yet.
const REFRESH: u8 = 4;

/// What recent failures mean for a refresh by a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backoff {
    /// There are none.
    None,
    /// They are those of a few other requests, and say nothing of this one.
    OfOthers,
    /// It would only repeat a refresh that failed, or that is under way.
    Holds,
}

/// Requests in backoff.
#[derive(Debug, Default)]
pub(crate) struct OriginFailures(NotedRequests);

impl OriginFailures {
    /// Ends the backoff of a key: a new response is stored.
    pub(crate) fn forget(&self, key: NotedKey) {
        self.0.forget(key);
    }

    /// Notes a failure, by the stale use that it allows.
    pub(crate) fn note(
        &self,
        (key, request): (NotedKey, RequestDigest),
        use_: StaleUse,
        now: Moment,
        backoff: Duration,
    ) {
        let value = match use_ {
            StaleUse::IfUnreachable => UNREACHABLE,
            StaleUse::IfError | StaleUse::WhileRevalidate | StaleUse::MaxStale => ERROR,
        };
        self.0.note(key, request, value, now, backoff);
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
        self.0.note(key, request, REFRESH, now, ttl);
    }

    /// Notes that a refresh has ended. If it is not forgotten by now, or later because it stores
    /// something, it has failed.
    pub(crate) fn end_refresh(
        &self,
        (key, request): (NotedKey, RequestDigest),
        now: Moment,
        backoff: Duration,
    ) {
        self.0.shorten(key, request, REFRESH, now, backoff);
    }

    /// What the failures of a key mean for a refresh by a request.
    pub(crate) fn backoff(
        &self,
        key: NotedKey,
        now: Moment,
        request: impl FnOnce() -> RequestDigest,
    ) -> Backoff {
        let noted = self.0.find(key, now, request);
        if noted.holding() != 0 {
            Backoff::Holds
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
        let noted = self.0.find(key, now, request);
        let noted = if of_any { noted.any } else { noted.holding() };
        [
            (ERROR, StaleUse::IfError),
            (UNREACHABLE, StaleUse::IfUnreachable),
        ]
        .into_iter()
        .filter(move |(value, _)| noted & value != 0)
        .map(|(_, use_)| use_)
    }
}
