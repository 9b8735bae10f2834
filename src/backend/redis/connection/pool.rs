//! The pool: a fixed number of connections, opened on demand and replaced when they are broken.
//!
//! Start with [`Pool::send`]. A [`PoolSlot`] is empty, connecting, or open.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::{Client, Cmd, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::command_error::CommandError;
use super::multiplexed::{Connection, ConnectionOptions};
use super::script::LuaScript;
use crate::random::{SeededRandom, uniform};

/// Connections to one server, used in turn.
#[derive(Debug)]
pub(crate) struct Pool {
    slots: Box<[Arc<PoolSlot>]>,
    next: AtomicUsize,
    client: Client,
    options: ConnectionOptions,
    /// The bytes of responses that all pools of a backend have transferred.
    transferred: Arc<AtomicU64>,
    random: SeededRandom,
}

/// A script with the keys and arguments of one call.
pub(crate) struct ScriptCall<'c, A> {
    pub(crate) script: &'c LuaScript,
    pub(crate) keys: &'c [String],
    /// Makes the arguments of one attempt.
    ///
    /// An attempt that seems to have failed may have stored its token, and an invalidation may have
    /// removed it since. A retry must not bring that token back, so each attempt makes its own.
    pub(crate) arguments: A,
}

impl Pool {
    /// Creates a pool of `size` slots. Opens no connection.
    pub(crate) fn new(
        client: Client,
        size: usize,
        options: ConnectionOptions,
        transferred: Arc<AtomicU64>,
    ) -> Self {
        Self {
            slots: (0..size.max(1)).map(|_| Arc::default()).collect(),
            next: AtomicUsize::new(0),
            client,
            options,
            transferred,
            random: SeededRandom::default(),
        }
    }

    /// Counts the bytes of responses that a command has transferred, in either direction.
    pub(crate) fn count_transferred(&self, bytes: usize) {
        self.transferred.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns the bytes that all pools of the backend have transferred.
    pub(crate) fn transferred_bytes(&self) -> u64 {
        self.transferred.load(Ordering::Relaxed)
    }

    /// Sends a command, and again on other connections if its connection turns out to be closed.
    ///
    /// `command` makes one attempt. Each attempt may be executed, also one that seems to have
    /// failed.
    pub(crate) async fn send(
        &self,
        command: impl Fn() -> Cmd,
    ) -> Result<(Value, Arc<Connection>), CommandError> {
        self.send_with(None, command).await
    }

    /// Sends a command that transfers a lot as [`send`](Self::send) does: its connection may be
    /// silent for longer by `transfer_time`.
    pub(crate) async fn send_patiently(
        &self,
        transfer_time: Duration,
        command: impl Fn() -> Cmd,
    ) -> Result<(Value, Arc<Connection>), CommandError> {
        self.send_with(Some(transfer_time), command).await
    }

    async fn send_with(
        &self,
        transfer_time: Option<Duration>,
        command: impl Fn() -> Cmd,
    ) -> Result<(Value, Arc<Connection>), CommandError> {
        let mut retries = 0;
        loop {
            let connection = self.connection().await?;
            let command = command();
            let reply = match transfer_time {
                None => connection.send(&command).await,
                Some(time) => Box::pin(connection.send_patiently(time, &command)).await,
            };
            match reply {
                Ok(value) => return Ok((value, connection)),
                Err(error) if error.can_retry_elsewhere() && retries < self.slots.len() => {
                    retries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs a script by its hash, and by its text if that is not possible.
    pub(crate) async fn run<A>(
        &self,
        call: ScriptCall<'_, A>,
    ) -> Result<(Value, Arc<Connection>), CommandError>
    where
        A: Fn() -> Vec<Bytes>,
    {
        let evalsha = || call.script.evalsha(call.keys, &(call.arguments)());
        match self.send(evalsha).await {
            Err(error) if error.asks_for_script_text() => {
                self.send(|| call.script.eval(call.keys, &(call.arguments)()))
                    .await
            }
            outcome => outcome,
        }
    }

    /// Returns an open connection, or waits for one to open.
    ///
    /// Without any, one attempt to connect runs at a time; all callers share its outcome. With one,
    /// a vacant slot is filled in the background.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, CommandError> {
        let runtime = Handle::try_current().map_err(|_| CommandError::NO_RUNTIME)?;
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let (mut connecting, mut vacant) = (None, None);
        for offset in 0..self.slots.len() {
            let slot = &self.slots[first.wrapping_add(offset) % self.slots.len()];
            match slot.status(&runtime).await {
                SlotStatus::Open(connection) => {
                    if let (Some((vacant, true)), None) = (vacant, connecting) {
                        self.connect(vacant, &runtime);
                    }
                    return Ok(connection);
                }
                SlotStatus::Connecting(outcome) => connecting = Some(outcome),
                SlotStatus::Vacant { is_due } => vacant = vacant.or(Some((slot, is_due))),
            }
        }
        let mut outcome = match (connecting, vacant) {
            (Some(outcome), _) => outcome,
            (None, Some((slot, _))) => self.connect(slot, &runtime),
            (None, None) => unreachable!("a pool has at least one slot"),
        };
        match outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(connected)) => connected.clone(),
            // The connecting task ended with its runtime.
            Ok(None) | Err(_) => Err(CommandError::NO_RUNTIME),
        }
    }

    fn connect(&self, slot: &Arc<PoolSlot>, runtime: &Handle) -> ConnectOutcome {
        let jitter = || uniform(&self.random);
        slot.connect(&self.client, &self.options, jitter, runtime)
    }
}

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
        let is_first = matches!(&*state, State::Empty(backoff) if backoff.retry_at.is_none());
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
            let _ = sender.send(Some(connected));
        });
        outcome
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No panic can leave the state half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
