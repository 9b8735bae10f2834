//! The pool: a fixed number of connections, opened on demand and replaced when they are broken.
//!
//! Start with [`Pool::send`]. A [`PoolSlot`] is empty, connecting, or open.

mod connecting;
mod slot;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use redis::{Client, Cmd, Value};
use tokio::runtime::Handle;

pub(crate) use self::connecting::Connecting;
use self::slot::{PoolSlot, SlotStatus};
use super::command_error::CommandError;
use super::health_check::PendingCheck;
use super::multiplexed::{Connection, ConnectionOptions};
use super::script::LuaScript;
use crate::backend::reply_count::record_reply;
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

/// An open connection, and the health check that has to pass for its replies to count, if any.
type Open = (Arc<Connection>, Option<PendingCheck>);

/// The reason why [`Pool::send_if_open`] has no result.
#[derive(Clone, Debug)]
pub(crate) enum SendError {
    /// No connection is open. Nothing was sent.
    Connecting(Connecting),
    Failed(CommandError),
}

impl From<CommandError> for SendError {
    fn from(error: CommandError) -> Self {
        Self::Failed(error)
    }
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

    /// Sends a command as [`send`](Self::send) does, but waits for no connection to open.
    pub(crate) async fn send_if_open(
        &self,
        command: impl Fn() -> Cmd,
    ) -> Result<(Value, Arc<Connection>), SendError> {
        let mut retries = 0;
        loop {
            let open = self.open_connection()?.map_err(SendError::Connecting)?;
            match self.attempt(open, None, &command).await {
                Err(error) if self.may_retry(&error, &mut retries) => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    async fn send_with(
        &self,
        transfer_time: Option<Duration>,
        command: impl Fn() -> Cmd,
    ) -> Result<(Value, Arc<Connection>), CommandError> {
        let mut retries = 0;
        loop {
            let open = self.unchecked_connection().await?;
            match self.attempt(open, transfer_time, &command).await {
                Err(error) if self.may_retry(&error, &mut retries) => {}
                outcome => return outcome,
            }
        }
    }

    /// Sends a command once.
    async fn attempt(
        &self,
        (connection, check): Open,
        transfer_time: Option<Duration>,
        command: impl Fn() -> Cmd,
    ) -> Result<(Value, Arc<Connection>), CommandError> {
        let command = command();
        let reply = match transfer_time {
            None => connection.send(&command).await,
            Some(time) => Box::pin(connection.send_patiently(time, &command)).await,
        };
        let reply = match (reply, check) {
            (Ok(value), Some(check)) => match check.wait_until_passed(&connection).await {
                true => Ok(value),
                false => Err(CommandError::failed_check()),
            },
            (reply, _) => reply,
        };
        // Also an error: the text of a script that is not known takes a further round trip.
        if let Ok(_) | Err(CommandError::ErrorReply(_)) = &reply {
            record_reply();
        }
        Ok((reply?, connection))
    }

    fn may_retry(&self, error: &CommandError, retries: &mut usize) -> bool {
        let may_retry = error.can_retry_elsewhere() && *retries < self.slots.len();
        *retries += usize::from(may_retry);
        may_retry
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

    /// Returns an open connection that has passed its health check, or waits for one to open.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, CommandError> {
        loop {
            let (connection, check) = self.unchecked_connection().await?;
            let has_passed = match check {
                Some(check) => check.wait_until_passed(&connection).await,
                None => true,
            };
            // One that has failed is broken, and not returned again.
            if has_passed {
                return Ok(connection);
            }
        }
    }

    /// Returns an open connection, or waits for one to open. What it replies counts only if the
    /// check passes, if one was due.
    async fn unchecked_connection(&self) -> Result<Open, CommandError> {
        match self.open_connection()? {
            Ok(open) => Ok(open),
            Err(connecting) => Ok((connecting.wait().await?, None)),
        }
    }

    /// Returns an open connection, or the attempt to open one.
    ///
    /// Without any, one attempt to connect runs at a time; all callers share its outcome. With one,
    /// a vacant slot is filled in the background.
    fn open_connection(&self) -> Result<Result<Open, Connecting>, CommandError> {
        let runtime = Handle::try_current().map_err(|_| CommandError::NO_RUNTIME)?;
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let (mut connecting, mut vacant) = (None, None);
        for offset in 0..self.slots.len() {
            let slot = &self.slots[first.wrapping_add(offset) % self.slots.len()];
            match slot.status(&runtime) {
                SlotStatus::Open(connection, check) => {
                    if let (Some((vacant, true)), None) = (vacant, connecting) {
                        self.connect(vacant, &runtime);
                    }
                    return Ok(Ok((connection, check)));
                }
                SlotStatus::Connecting(attempt) => connecting = Some(attempt),
                SlotStatus::Vacant { is_due } => vacant = vacant.or(Some((slot, is_due))),
            }
        }
        Ok(Err(match (connecting, vacant) {
            (Some(attempt), _) => attempt,
            (None, Some((slot, _))) => self.connect(slot, &runtime),
            (None, None) => unreachable!("a pool has at least one slot"),
        }))
    }

    fn connect(&self, slot: &Arc<PoolSlot>, runtime: &Handle) -> Connecting {
        let jitter = || uniform(&self.random);
        slot.connect(&self.client, &self.options, jitter, runtime)
    }
}
