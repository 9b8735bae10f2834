//! The pool: a fixed number of connections, opened on demand and replaced when they are broken.
//!
//! Start with [`Pool::send`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use redis::{Client, Cmd, Value};
use tokio::runtime::Handle;

use super::command_error::CommandError;
use super::multiplexed::{Connection, ConnectionOptions};
use super::pool_slot::{ConnectOutcome, PoolSlot, SlotStatus};
use super::script::LuaScript;
use crate::random::{SeededRandom, uniform};

/// Connections to one server, used in turn.
#[derive(Debug)]
pub(crate) struct Pool {
    slots: Box<[Arc<PoolSlot>]>,
    next: AtomicUsize,
    client: Client,
    options: ConnectionOptions,
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
    pub(crate) fn new(client: Client, size: usize, options: ConnectionOptions) -> Self {
        Self {
            slots: (0..size.max(1)).map(|_| Arc::default()).collect(),
            next: AtomicUsize::new(0),
            client,
            options,
            random: SeededRandom::default(),
        }
    }

    /// Sends a command, and again on other connections if its connection turns out to be closed.
    ///
    /// `command` makes one attempt. Each attempt may be executed, also one that seems to have
    /// failed.
    pub(crate) async fn send(
        &self,
        command: impl Fn() -> Cmd,
    ) -> Result<(Value, Arc<Connection>), CommandError> {
        let mut retries = 0;
        loop {
            let connection = self.connection().await?;
            match connection.send(&command()).await {
                Ok(value) => return Ok((value, connection)),
                Err(error) if error.can_retry_elsewhere() && retries < self.slots.len() => {
                    retries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs a script by its hash, and by its text if the server does not know it.
    pub(crate) async fn run<A>(
        &self,
        call: ScriptCall<'_, A>,
    ) -> Result<(Value, Arc<Connection>), CommandError>
    where
        A: Fn() -> Vec<Bytes>,
    {
        let evalsha = || call.script.evalsha(call.keys, &(call.arguments)());
        match self.send(evalsha).await {
            Err(error) if error.is_unknown_script() => {
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
        let runtime = Handle::try_current().map_err(|_| CommandError::NoRuntime)?;
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
            Ok(None) | Err(_) => Err(CommandError::NoRuntime),
        }
    }

    fn connect(&self, slot: &Arc<PoolSlot>, runtime: &Handle) -> ConnectOutcome {
        let jitter = || uniform(&self.random);
        slot.connect(&self.client, &self.options, jitter, runtime)
    }
}
