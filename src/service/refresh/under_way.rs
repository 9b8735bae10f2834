//! What the end of a refresh is noted for.
//!
//! Knows the tables of failures, refusals and proven requests. Start at [`RefreshUnderWay`].

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::backend::{Backend, StoredResponse};
use crate::flight::patience_for;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::RequestKind;
use crate::service::coalesce::release_followers::is_transient;
use crate::state::LayerState;
use crate::state::noted_requests::{NotedKey, RequestDigest};

/// A refresh under way with the fields of its request. Unless it stores something, requests with
/// these begin no other one before it counts as dead, or has ended, and `failure_backoff` has
/// passed.
pub(super) struct RefreshUnderWay<B: Backend> {
    state: LayerState<B>,
    noted: (NotedKey, RequestDigest),
    began: Moment,
    /// The time for which the stored response may be used without validation from then on.
    stale_use: Duration,
    /// The time after which it counts as dead. The note may be that of another one then.
    timeout: Duration,
}

impl<B: Backend> RefreshUnderWay<B> {
    pub(super) fn new(
        state: &LayerState<B>,
        noted: (NotedKey, RequestDigest),
        stored: Option<&Arc<StoredResponse>>,
        timeout: Duration,
    ) -> Self {
        let (began, backoff) = (state.now(), state.config.failure_backoff);
        let failures = &state.shared.origin.failures;
        failures.note_refresh(noted, began, timeout, backoff);
        Self {
            state: state.clone(),
            noted,
            began,
            stale_use: stored.map_or(Duration::ZERO, |stored| stale_use_left(stored, began)),
            timeout,
        }
    }

    /// Notes that it was refused, and returns whether it was: unless its request is remembered as
    /// one that is, it would not have begun.
    fn note_refusal(&self) -> bool {
        let uncacheable = &self.state.shared.coalescing.uncacheable;
        let now = self.state.now();
        let left = self.stale_use.saturating_sub(now.since(self.began));
        uncacheable.note_refresh(self.noted, now, left)
    }
}

/// The time for which a response may still be used without validation.
fn stale_use_left(stored: &StoredResponse, now: Moment) -> Duration {
    let freshness = stored.freshness();
    let window = freshness.stale.while_revalidate;
    freshness.lifetime.map_or(Duration::MAX, |lifetime| {
        lifetime
            .saturating_add(window)
            .saturating_sub(freshness.age(now))
    })
}

impl<B: Backend> Drop for RefreshUnderWay<B> {
    fn drop(&mut self) {
        let now = self.state.now();
        // A page that is refused to all is no failure: the next request finds that out, too.
        let backoff = match self.note_refusal() {
            true => Duration::ZERO,
            false => self.state.config.failure_backoff,
        };
        if now.since(self.began) < self.timeout {
            let failures = &self.state.shared.origin.failures;
            failures.end_refresh(self.noted, now, backoff);
        }
    }
}

/// A refresh under way with the fields of the proven request. What becomes of it says nothing of
/// other requests, but an answer in the usual time shows that the inner service is well.
pub(super) struct ReplayUnderWay<B: Backend> {
    state: LayerState<B>,
    key: (CacheKey, RequestKind),
    began: Moment,
    /// The time that its response usually takes.
    cost: Duration,
}

impl<B: Backend> ReplayUnderWay<B> {
    pub(super) fn new(state: &LayerState<B>, key: (CacheKey, RequestKind), cost: Duration) -> Self {
        Self {
            state: state.clone(),
            key,
            began: state.now(),
            cost,
        }
    }

    /// Notes the status of the response, which has brought nothing unless it is stored by now, or
    /// soon.
    pub(super) fn note_answer(&self, status: StatusCode) {
        let now = self.state.now();
        let is_usual = now.since(self.began) < patience_for(self.cost);
        if is_usual {
            let (key, kind) = &self.key;
            let proven = &self.state.shared.origin.proven;
            proven.note_answered((key, *kind), now, is_transient(status));
        }
    }
}
