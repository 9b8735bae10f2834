//! What the end of a refresh is noted for.
//!
//! Knows the tables of failures and refusals. Start at [`RefreshUnderWay`].

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, StoredResponse};
use crate::semantics::moment::Moment;
use crate::state::LayerState;
use crate::state::bounded_work::WorkPermit;
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

/// A short refresh under way.
pub(super) struct ShortRefreshUnderWay {
    /// Its place among those of all keys.
    pub(super) _permit: WorkPermit,
    /// The time after which it ends.
    pub(super) timeout: Duration,
}
