//! Keys whose fetches failed a moment ago: the inner service is not asked for them again while a
//! stored response may be used instead.

use std::time::Duration;

use crate::flight::{Audience, ExpiringSet};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::reason::StaleUse;

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
    pub(crate) fn forget(&self, key: &CacheKey) {
        self.errors.forget(key, Audience::Everyone);
        self.unreachable.forget(key, Audience::Everyone);
        self.refreshes.forget(key, Audience::Everyone);
    }

    /// Remembers a failure, by the stale use that it allows.
    pub(crate) fn remember(&self, key: &CacheKey, use_: StaleUse, now: Moment, backoff: Duration) {
        self.failures(use_)
            .remember(key, Audience::Everyone, now, backoff);
    }

    /// Remembers that a refresh begins. Unless it stores something, the next one waits.
    pub(crate) fn remember_refresh(&self, key: &CacheKey, now: Moment, backoff: Duration) {
        self.refreshes
            .remember(key, Audience::Everyone, now, backoff);
    }

    /// Whether a refresh now would only repeat one that failed, or that is under way.
    pub(crate) fn is_backing_off(&self, key: &CacheKey, now: Moment) -> bool {
        self.refreshes.is_remembered(key, Audience::Everyone, now)
            || self.recent(key, now).next().is_some()
    }

    /// The recent failures of a key, as the stale uses that they allow.
    pub(crate) fn recent(&self, key: &CacheKey, now: Moment) -> impl Iterator<Item = StaleUse> {
        let is_recent = move |use_: &StaleUse| {
            let failures = self.failures(*use_);
            failures.is_remembered(key, Audience::Everyone, now)
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
