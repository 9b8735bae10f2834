//! The client that all operations share: pool, scripts, key names, and sending with them.

use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::transfers::Transfers;
use crate::backend::redis::batching::LookupBatcher;
use crate::backend::redis::connection::{CommandError, Connection, Pool, ScriptCall};
use crate::backend::redis::protocol::keys::Namespace;
use crate::backend::redis::protocol::replies::bulk_strings;
use crate::backend::redis::protocol::scripts::Scripts;

/// Carries out the protocol's operations on one server, in one namespace.
pub(crate) struct ProtocolClient {
    pub(super) pool: Arc<Pool>,
    pub(super) batcher: LookupBatcher,
    pub(super) transfers: Transfers,
    pub(super) scripts: Scripts,
    pub(super) namespace: Namespace,
    pub(super) max_variants: usize,
    /// How long a lease is kept without a response, and beyond one.
    pub(super) lease_ttl: Duration,
    /// Whether a key of another program has been logged.
    has_told_foreign_key: AtomicBool,
}

impl ProtocolClient {
    /// Creates a client whose pool has so many connections.
    pub(crate) fn new(
        (pool, transfers): (Pool, Transfers),
        namespace: Namespace,
        (max_variants, lease_ttl): (usize, Duration),
        connections: usize,
    ) -> Self {
        let pool = Arc::new(pool);
        Self {
            batcher: LookupBatcher::new(pool.clone(), namespace.clone(), connections),
            scripts: Scripts::default(),
            pool,
            transfers,
            namespace,
            max_variants,
            lease_ttl,
            has_told_foreign_key: AtomicBool::new(false),
        }
    }

    /// Opens a connection, if none is open, and tries the commands that read.
    pub(crate) async fn connect(&self) -> Result<(), CommandError> {
        let key = self.namespace.probe();
        let getrange = || {
            let mut getrange = redis::cmd("GETRANGE");
            getrange.arg(&key).arg(0).arg(0);
            getrange
        };
        let read = self.mget(slice::from_ref(&key)).await;
        read.map_err(|error| error.of_trying("MGET"))?;
        match self.pool.send(getrange).await {
            // The command is permitted, and the key is another program's.
            Err(error) if error.is_wrong_type() => Ok(()),
            read => read.map(drop).map_err(|error| error.of_trying("GETRANGE")),
        }
    }

    /// Returns the bytes of responses that were transferred so far.
    pub(crate) fn transferred_bytes(&self) -> u64 {
        self.pool.transferred_bytes()
    }

    /// Waits until no large body is being stored.
    pub(crate) async fn drain(&self) {
        self.transfers.stores.drain().await;
    }

    /// Reads keys in one atomic step.
    ///
    /// `MGET` instead of `GET` also for a single key: `GET` fails if another program has stored a
    /// value of another type there, and `MGET` reports it as absent.
    pub(super) async fn mget(
        &self,
        keys: &[String],
    ) -> Result<(Vec<Option<Vec<u8>>>, Arc<Connection>), CommandError> {
        let command = || {
            let mut mget = redis::cmd("MGET");
            mget.arg(keys);
            mget
        };
        let (reply, connection) = self.pool.send(command).await?;
        let values = bulk_strings(reply, keys.len()).ok_or_else(|| connection.reject_reply())?;
        Ok((values, connection))
    }

    /// Runs a script and parses its reply; `None` from `parse` is an unexpected reply.
    pub(super) async fn run<A, T>(
        &self,
        call: ScriptCall<'_, A>,
        parse: impl FnOnce(redis::Value) -> Option<T>,
    ) -> Result<T, CommandError>
    where
        A: Fn() -> Vec<Bytes>,
    {
        let run = self.pool.run(call).await;
        let (reply, connection) = run.map_err(|error| self.tell_foreign_key(error))?;
        parse(reply).ok_or_else(|| connection.reject_reply())
    }

    /// Logs the first key of another program that a script did not overwrite.
    fn tell_foreign_key(&self, error: CommandError) -> CommandError {
        let Some(key) = error.foreign_key() else {
            return error;
        };
        if !self.has_told_foreign_key.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                key,
                "redis key of the cache's namespace holds a value of another type; left as it is, \
                 nothing is cached under it: remove it, or use another namespace"
            );
        }
        CommandError::ForeignKey(key.into())
    }
}
