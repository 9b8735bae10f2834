//! Backend operations whose results are counted and logged.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use crate::backend::{Backend, BackendError, GraceScope, InvalidationTarget, PutOutcome};
use crate::config::work_span::{Work, in_span, note_end};
use crate::key::CacheKey;
use crate::semantics::reason::{
    InvalidatedTarget, InvalidationMode, InvalidationResult, Reason, Refusal, StoredBy,
};
use crate::stats::Event;
use crate::timeout::with_timeout;

use super::background::{CANCELLED_TASKS_TIMEOUT, ShutdownReport};
use super::layer_state::LayerState;
use super::throttled_log::Operation;

/// What counts as the target of an invalidation.
fn target_of(target: &InvalidationTarget) -> InvalidatedTarget {
    match target {
        InvalidationTarget::Resource(_) => InvalidatedTarget::Resource,
        InvalidationTarget::Group(_) => InvalidatedTarget::Group,
    }
}

impl<B: Backend> LayerState<B> {
    /// Logs that a backend operation failed, at most once a second for each operation.
    pub(crate) fn backend_failed(&self, operation: Operation, error: &BackendError) {
        let now = self.now();
        self.shared.log.report(operation, error, now);
    }

    /// Counts and logs why a response is not stored. Responses to HEAD are never stored; that is
    /// not counted.
    pub(crate) fn record_refusal(&self, refusal: Refusal) {
        if refusal == Refusal::Method {
            return;
        }
        self.count(Event::Refusal(refusal));
        tracing::debug!(reason = refusal.as_str(), "not stored");
    }

    /// Counts and logs the result of a store. Returns why nothing is stored, if so.
    pub(crate) fn record_put(
        &self,
        put: &Result<PutOutcome, BackendError>,
        by: StoredBy,
    ) -> Option<Refusal> {
        let refusal = match put {
            Ok(PutOutcome::Stored) => {
                self.count(Event::Store(by));
                tracing::debug!("stored");
                return None;
            }
            Ok(PutOutcome::Superseded) => Refusal::Superseded,
            Ok(PutOutcome::TooLarge) => Refusal::TooLarge,
            Err(error) => {
                self.backend_failed(Operation::Store, error);
                Refusal::BackendFailed
            }
        };
        self.record_refusal(refusal);
        Some(refusal)
    }

    /// Runs an invalidation in its span.
    async fn run_in_span<T>(
        &self,
        target: InvalidatedTarget,
        invalidation: Pin<&mut impl Future<Output = Result<T, BackendError>>>,
    ) -> Result<T, BackendError> {
        let span = self.config.span_of(Work::Invalidate);
        let result = in_span(&span, invalidation).await;
        let status = result.as_ref().map_or("failed", |_| "ok");
        note_end(&span, status, Some(target.as_str()));
        result
    }

    /// Counts an invalidation by its result.
    pub(crate) fn count_invalidation<T>(
        &self,
        (target, mode): (InvalidatedTarget, InvalidationMode),
        result: &Result<T, BackendError>,
    ) {
        let result = match result {
            Ok(_) => InvalidationResult::Ok,
            Err(_) => InvalidationResult::Failed,
        };
        self.count(Event::Invalidation(target, mode, result));
    }

    /// Invalidates one target. An error means that the backend did not acknowledge it; it is
    /// counted and logged here.
    pub(crate) async fn invalidate(&self, target: InvalidationTarget) -> Result<(), BackendError> {
        self.invalidate_with_grace(target, None).await
    }

    /// Like [`invalidate`](Self::invalidate). With `grace`, after a write that may still be
    /// committed, the backend refuses stores of the target for that long, if instances share it.
    pub(crate) async fn invalidate_with_grace(
        &self,
        target: InvalidationTarget,
        grace: Option<Duration>,
    ) -> Result<(), BackendError> {
        let backend = &self.shared.store.backend;
        let kind = target_of(&target);
        let result = match grace.filter(|grace| !grace.is_zero()) {
            None => {
                let invalidated = backend.invalidate(&target);
                self.run_in_span(kind, pin!(invalidated))
                    .await
                    .map(|()| None)
            }
            Some(grace) => {
                let invalidated = backend.invalidate_unknown(&target, grace);
                self.run_in_span(kind, pin!(invalidated)).await.map(Some)
            }
        };
        self.count_invalidation((kind, InvalidationMode::Remove), &result);
        match result {
            Ok(scope) => {
                if scope == Some(GraceScope::Refused) {
                    self.count(Event::WriteGraceRefused);
                }
                tracing::debug!(?target, "invalidated");
                Ok(())
            }
            Err(error) => {
                self.backend_failed(Operation::Invalidation, &error);
                tracing::debug!(?target, "not invalidated");
                Err(error)
            }
        }
    }

    /// Makes what is stored of a target stale. An error means that the backend did not acknowledge
    /// it; it is counted and logged here.
    pub(crate) async fn expire(&self, target: InvalidationTarget) -> Result<(), BackendError> {
        let backend = &self.shared.store.backend;
        let (kind, targets) = (target_of(&target), [target]);
        let expired = backend.expire(&targets, self.now(), Duration::ZERO);
        let expired = self.run_in_span(kind, pin!(expired)).await;
        self.record_expiration(kind, &expired);
        tracing::debug!(?target, is_acknowledged = expired.is_ok(), "expired");
        expired
    }

    /// Makes everything stale. An error means that the backend did not acknowledge it.
    pub(crate) async fn expire_all(&self) -> Result<(), BackendError> {
        let expired = self.shared.store.backend.expire_all(self.now());
        let expired = self
            .run_in_span(InvalidatedTarget::All, pin!(expired))
            .await;
        self.record_expiration(InvalidatedTarget::All, &expired);
        tracing::info!(is_acknowledged = expired.is_ok(), "expired everything");
        expired
    }

    fn record_expiration(&self, target: InvalidatedTarget, expired: &Result<(), BackendError>) {
        self.count_invalidation((target, InvalidationMode::Expire), expired);
        let operation = match target {
            InvalidatedTarget::All => Operation::Clear,
            _ => Operation::Invalidation,
        };
        if let Err(error) = expired {
            self.backend_failed(operation, error);
        }
    }

    /// Invalidates everything. An error means that the backend did not acknowledge it.
    pub(crate) async fn clear(&self) -> Result<(), BackendError> {
        let result = self.shared.store.backend.clear();
        let result = self.run_in_span(InvalidatedTarget::All, pin!(result)).await;
        let cleared = (InvalidatedTarget::All, InvalidationMode::Remove);
        self.count_invalidation(cleared, &result);
        match &result {
            Ok(()) => tracing::info!("cleared"),
            Err(error) => self.backend_failed(Operation::Clear, error),
        }
        result
    }

    /// Whether parts of the response at this key are stored, as far as this process remembers.
    pub(crate) fn is_partly_stored(&self, key: &CacheKey) -> bool {
        let keys = &self.shared.partial_keys;
        keys.is_remembered(key, || self.now())
    }

    /// Ends all background tasks by the deadline, then lets the backend deliver its pending
    /// invalidations in the time that is left, or in one second.
    pub(crate) async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let began = self.now();
        let report = self.shared.background.shutdown(deadline).await;
        let left = deadline.saturating_sub(self.now().since(began));
        let left = left.max(CANCELLED_TASKS_TIMEOUT);
        let drained = with_timeout(left, self.shared.store.backend.drain()).await;
        if drained.is_none() {
            tracing::error!("stopped before the backend has delivered its pending invalidations");
        }
        report
    }
}
