//! Keys whose fetches failed a moment ago: the inner service is not asked for them again while a
//! stored response may be used instead.
//!
//! Only fetches that a refresh would have made alike count, each for its kind of request: what one
//! client forces, or gets for its cookies, says nothing of the refreshes for others.

use std::time::Duration;

use crate::flight::{Audience, ExpiringSet};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::reason::StaleUse;
use crate::semantics::request_kind::RequestKind;

/// Keys in backoff, by the kind of failure.
#[derive(Debug, Default)]
pub(crate) struct OriginFailures {
    /// The inner service answered 500, 502, 503 or 504.
    errors: ExpiringSet,
    /// The inner service gave no answer.
    unreachable: ExpiringSet,
    /// A refresh was started, and has stored nothing yet.
    refreshes: ExpiringSet,
}

impl OriginFailures {
    /// Ends the backoff of a key: a new response is stored.
    pub(crate) fn forget(&self, key: &CacheKey, kind: RequestKind) {
        let audience = Audience::Kind(kind);
        self.errors.forget(key, audience);
        self.unreachable.forget(key, audience);
        self.refreshes.forget(key, audience);
    }

    /// Remembers a failure, by the stale use that it allows.
    pub(crate) fn remember(
        &self,
        (key, kind): (&CacheKey, RequestKind),
        use_: StaleUse,
        now: Moment,
        backoff: Duration,
    ) {
        self.failures(use_)
            .remember(key, Audience::Kind(kind), now, backoff);
    }

    /// Remembers that a refresh begins. Unless it stores something, the next one waits.
    pub(crate) fn remember_refresh(
        &self,
        key: &CacheKey,
        kind: RequestKind,
        now: Moment,
        backoff: Duration,
    ) {
        self.refreshes
            .remember(key, Audience::Kind(kind), now, backoff);
    }

    /// Whether a refresh now would only repeat one that failed, or that is under way.
    pub(crate) fn is_backing_off(&self, key: &CacheKey, kind: RequestKind, now: Moment) -> bool {
        self.refreshes.is_remembered(key, Audience::Kind(kind), now)
            || self.recent(key, kind, now).next().is_some()
    }

    /// The recent failures of a key, as the stale uses that they allow.
    pub(crate) fn recent(
        &self,
        key: &CacheKey,
        kind: RequestKind,
        now: Moment,
    ) -> impl Iterator<Item = StaleUse> {
        let is_recent = move |use_: &StaleUse| {
            let failures = self.failures(*use_);
            failures.is_remembered(key, Audience::Kind(kind), now)
        };
        [StaleUse::IfError, StaleUse::IfUnreachable]
            .into_iter()
            .filter(is_recent)
    }

    /// The failures that allow this stale use.
    fn failures(&self, use_: StaleUse) -> &ExpiringSet {
        match use_ {
            StaleUse::IfUnreachable => &self.unreachable,
            StaleUse::IfError | StaleUse::WhileRevalidate | StaleUse::MaxStale => &self.errors,
        }
    }
}
