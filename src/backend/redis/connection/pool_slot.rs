//! One slot of the pool: empty, connecting, or open.
//!
//! Start with [`PoolSlot::status`] and [`PoolSlot::connect`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::Client;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::command_error::CommandError;
use super::multiplexed::{Connection, ConnectionOptions};

/// The backoff after the first failed attempt to connect; doubled with each further one.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Receives the outcome of an attempt to connect, for all callers that wait for it.
pub(crate) type ConnectOutcome = watch::Receiver<Option<Result<Arc<Connection>, CommandError>>>;

/// Place for one connection, which is replaced when it is broken.
#[derive(Debug, Default)]
pub(crate) struct PoolSlot(Mutex<State>);

#[derive(Debug)]
enum State {
    Empty(Backoff),
    /// In its own task, which no request's deadline cancels.
    Connecting(ConnectOutcome),
    Open(Arc<Connection>),
}

/// When to connect again while another slot has a usable connection.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    /// `None` before the first attempt.
    retry_at: Option<Instant>,
    next: Duration,
}

impl Default for State {
    fn default() -> Self {
        Self::Empty(Backoff {
            retry_at: None,
            next: MIN_BACKOFF,
        })
    }
}

/// The content of a slot as a caller sees it.
pub(crate) enum SlotStatus {
    /// A connection that can be used.
    Open(Arc<Connection>),
    /// An attempt to connect is in progress.
    Connecting(ConnectOutcome),
    /// No usable connection; `is_due` after the backoff.
    Vacant { is_due: bool },
}

impl PoolSlot {
    /// Returns the slot's content, after the health check that is due, if any.
    pub(crate) async fn status(&self, runtime: &Handle) -> SlotStatus {
        let connection = match &*self.state() {
            State::Open(connection) => connection.clone(),
            // An outcome without a sender belongs to a runtime that was shut down.
            State::Connecting(outcome) if outcome.has_changed().is_ok() => {
                return SlotStatus::Connecting(outcome.clone());
            }
            State::Connecting(_) => return SlotStatus::Vacant { is_due: true },
            State::Empty(backoff) => {
                let is_due = backoff.retry_at.is_none_or(|at| Instant::now() >= at);
                return SlotStatus::Vacant { is_due };
            }
        };
        match connection.ensure_usable(runtime).await {
            true => SlotStatus::Open(connection),
            false => SlotStatus::Vacant { is_due: true },
        }
    }

    /// Starts to connect in a task of its own and returns where its outcome arrives.
    ///
    /// Joins an attempt in progress, and returns a connection that has been opened meanwhile.
    /// `jitter` between 0 and 1 spreads the retries of several instances.
    pub(crate) fn connect(
        self: &Arc<Self>,
        client: &Client,
        options: &ConnectionOptions,
        jitter: impl FnOnce() -> f64,
        runtime: &Handle,
    ) -> ConnectOutcome {
        let mut state = self.state();
        let backoff = match &*state {
            State::Connecting(outcome) if outcome.has_changed().is_ok() => return outcome.clone(),
            State::Open(connection) if !connection.is_broken() => {
                return watch::channel(Some(Ok(connection.clone()))).1;
            }
            State::Empty(backoff) => backoff.next,
            State::Connecting(_) | State::Open(_) => MIN_BACKOFF,
        };
        let (sender, outcome) = watch::channel(None);
        *state = State::Connecting(outcome.clone());
        drop(state);
        let wait = backoff.mul_f64(0.5 + jitter());
        let next = (backoff * 2).min(MAX_BACKOFF);
        let (slot, client, options) = (self.clone(), client.clone(), options.clone());
        runtime.spawn(async move {
            let connected = Connection::connect(&client, &options).await.map(Arc::new);
            *slot.state() = match &connected {
                Ok(connection) => State::Open(connection.clone()),
                Err(_) => State::Empty(Backoff {
                    retry_at: Instant::now().checked_add(wait),
                    next,
                }),
            };
            let _ = sender.send(Some(connected));
        });
        outcome
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No panic can leave the state half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
