//! What all clones of a cache share.

pub(crate) mod background;
pub(crate) mod failure_log;
pub(crate) mod write_grace;

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, BackendError, DigestSeed, Put, Target};
use crate::config::Config;
use crate::flight::{Budget, ExpiringSet, Flights};
use crate::semantics::moment::Moment;
use crate::semantics::reason::{Reason, Refusal};
use crate::stats::{Counters, Event};

use crate::service::coalesce::follow::SharedHead;
use crate::service::origin::fetch::Failing;
use crate::service::origin::ready::Queue;
use crate::state::background::{Background, LAST_MOMENT, ShutdownReport};
use crate::state::failure_log::{Complaints, Failed};
use crate::state::write_grace::Grace;
use crate::timeout::with_timeout;

/// One layer's options and everything that its services have in common.
pub(crate) struct Shared<B: Backend> {
    pub(crate) config: Arc<Config>,
    pub(crate) core: Arc<Core<B>>,
}

pub(crate) struct Core<B: Backend> {
    pub(crate) backend: B,
    pub(crate) seed: DigestSeed,
    pub(crate) counters: Counters,
    pub(crate) grace: Grace,
    pub(crate) capturing: Arc<Budget>,
    pub(crate) flights: Flights<B::Fence, SharedHead>,
    pub(crate) uncacheable: ExpiringSet,
    pub(crate) failing: Failing,
    /// Keys whose last validation, or completion, brought an answer about something else.
    pub(crate) contradicted: ExpiringSet,
    /// Keys of which parts are stored.
    pub(crate) partial: ExpiringSet,
    pub(crate) queue: Queue,
    pub(crate) background: Background,
    pub(crate) complaints: Complaints,
}

impl<B: Backend> Clone for Shared<B> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            core: self.core.clone(),
        }
    }
}

impl<B: Backend> Shared<B> {
    pub(crate) fn new(backend: B) -> Self {
        Self {
            config: Arc::default(),
            core: Arc::new(Core {
                seed: backend.seed(),
                backend,
                counters: Counters::default(),
                grace: Grace::default(),
                capturing: Arc::default(),
                flights: Flights::default(),
                uncacheable: ExpiringSet::default(),
                failing: Failing::default(),
                contradicted: ExpiringSet::default(),
                partial: ExpiringSet::default(),
                queue: Queue::default(),
                background: Background::default(),
                complaints: Complaints::default(),
            }),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        self.config.clock.now()
    }

    pub(crate) fn count(&self, event: Event) {
        self.core.counters.count(event);
    }

    /// Counts and tells why a response is not stored. That answers to HEAD are not is no event.
    pub(crate) fn refused(&self, refusal: Refusal) {
        if refusal == Refusal::Method {
            return;
        }
        self.count(Event::Refusal(refusal));
        tracing::debug!(reason = refusal.as_str(), "not stored");
    }

    /// Counts and tells what became of a response that was to be stored.
    pub(crate) fn put(&self, put: &Result<Put, BackendError>) {
        match put {
            Ok(Put::Stored) => {
                self.count(Event::Store);
                tracing::debug!("stored");
            }
            Ok(Put::Superseded) => self.refused(Refusal::Superseded),
            Ok(Put::TooLarge) => self.refused(Refusal::TooLarge),
            Err(error) => {
                self.refused(Refusal::BackendFailed);
                self.backend_failed(Failed::Store, error);
            }
        }
    }

    /// Ends what goes on in the background, then lets the backend deliver what it owes in the time that is left, or a second.
    pub(crate) async fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        let began = self.now();
        let done = self.core.background.shutdown(deadline).await;
        let left = deadline.saturating_sub(self.now().since(began));
        // Whatever the tasks took of it: what they owe since is told in a moment, or not at all.
        let left = left.max(LAST_MOMENT);
        if with_timeout(left, self.core.backend.drain())
            .await
            .is_none()
        {
            tracing::error!("stopped before the backend has delivered what it owes");
        }
        done
    }

    /// Invalidates everything.
    pub(crate) async fn clear(&self) -> Result<(), BackendError> {
        let done = self.core.backend.clear().await;
        match &done {
            Ok(()) => tracing::info!("cleared"),
            Err(error) => {
                self.count(Event::InvalidationFailed);
                self.backend_failed(Failed::Clear, error);
            }
        }
        done
    }

    /// Invalidates; whether the backend acknowledged it.
    pub(crate) async fn invalidate(&self, target: Target) -> Result<(), BackendError> {
        let done = self.core.backend.invalidate(&target).await;
        match &done {
            Ok(()) => {
                self.count(Event::Invalidation);
                tracing::debug!(?target, "invalidated");
            }
            Err(error) => {
                self.count(Event::InvalidationFailed);
                self.backend_failed(Failed::Invalidation, error);
                tracing::debug!(?target, "not invalidated");
            }
        }
        done
    }
}
