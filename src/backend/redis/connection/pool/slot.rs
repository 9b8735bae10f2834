//! Place for one connection of a pool.
//!
//! Start with [`PoolSlot::connect`].

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::Client;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::super::health_check::{PendingCheck, Usability};
use super::super::multiplexed::{Connection, ConnectionOptions};
use super::connecting::{ConnectStage, Connecting};

/// The backoff after the first failed attempt to connect; doubled with each further one.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Place for one connection, which is replaced when it is broken.
#[derive(Debug, Default)]
pub(crate) struct PoolSlot(Mutex<State>);

#[derive(Debug)]
enum State {
    Empty(Backoff),
    /// In its own task, which no request's deadline cancels.
    Connecting(Connecting),
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
    /// A connection that can be used, with its health check if one has to pass.
    Open(Arc<Connection>, Option<PendingCheck>),
    /// An attempt to connect is in progress.
    Connecting(Connecting),
    /// No usable connection; `is_due` after the backoff.
    Vacant { is_due: bool },
}

impl PoolSlot {
    /// Returns the slot's content, and starts the health check that is due, if any.
    pub(crate) fn status(&self, runtime: &Handle) -> SlotStatus {
        let connection = match &*self.state() {
            State::Open(connection) => connection.clone(),
            State::Connecting(connecting) if !connecting.is_abandoned() => {
                return SlotStatus::Connecting(connecting.clone());
            }
            State::Connecting(_) => return SlotStatus::Vacant { is_due: true },
            State::Empty(backoff) => {
                let is_due = backoff.retry_at.is_none_or(|at| Instant::now() >= at);
                return SlotStatus::Vacant { is_due };
            }
        };
        match connection.usability(runtime) {
            Usability::Usable => SlotStatus::Open(connection, None),
            Usability::IfCheckPasses(check) => SlotStatus::Open(connection, Some(check)),
            Usability::Broken => SlotStatus::Vacant { is_due: true },
        }
    }

    /// Starts to connect in a task of its own and returns the attempt.
    ///
    /// Joins an attempt in progress, and returns a connection that has been opened meanwhile.
    /// `jitter` between 0 and 1 spreads the retries of several instances.
    pub(crate) fn connect(
        self: &Arc<Self>,
        client: &Client,
        options: &ConnectionOptions,
        jitter: impl FnOnce() -> f64,
        runtime: &Handle,
    ) -> Connecting {
        let mut state = self.state();
        let is_first = matches!(&*state, State::Empty(backoff) if backoff.retry_at.is_none());
        let backoff = match &*state {
            State::Connecting(connecting) if !connecting.is_abandoned() => {
                return connecting.clone();
            }
            State::Open(connection) if !connection.is_broken() => {
                return Connecting::done(connection.clone());
            }
            State::Empty(backoff) => backoff.next,
            State::Connecting(_) | State::Open(_) => MIN_BACKOFF,
        };
        let (progress, connecting) = Connecting::begin(client);
        *state = State::Connecting(connecting.clone());
        drop(state);
        let wait = backoff.mul_f64(0.5 + jitter());
        let next = (backoff * 2).min(MAX_BACKOFF);
        let (slot, client, options) = (self.clone(), client.clone(), options.clone());
        runtime.spawn(async move {
            let on_login = || drop(progress.send(ConnectStage::Checking));
            let connected = Connection::connect(&client, &options, on_login).await;
            let connected = connected.map(Arc::new);
            if connected.is_ok() && !is_first {
                options.reconnects.fetch_add(1, Ordering::Relaxed);
            }
            *slot.state() = match &connected {
                Ok(connection) => State::Open(connection.clone()),
                Err(_) => State::Empty(Backoff {
                    retry_at: Instant::now().checked_add(wait),
                    next,
                }),
            };
            let _ = progress.send(ConnectStage::Done(connected));
        });
        connecting
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No panic can leave the state half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
