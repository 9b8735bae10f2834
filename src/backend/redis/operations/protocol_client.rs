//! The client that all operations share: pool, scripts, key names, and sending with them.

use std::slice;
use std::sync::Arc;
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
}

impl ProtocolClient {
    /// Creates a client whose lookups have at most `max_batches` commands in flight.
    pub(crate) fn new(
        (pool, transfers): (Pool, Transfers),
        namespace: Namespace,
        (max_variants, lease_ttl): (usize, Duration),
        max_batches: usize,
    ) -> Self {
        let pool = Arc::new(pool);
        Self {
            batcher: LookupBatcher::new(pool.clone(), namespace.clone(), max_batches),
            scripts: Scripts::default(),
            pool,
            transfers,
            namespace,
            max_variants,
            lease_ttl,
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
        let read = self.pool.send(getrange).await;
        read.map_err(|error| error.of_trying("GETRANGE"))?;
        Ok(())
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
        let (reply, connection) = self.pool.run(call).await?;
        parse(reply).ok_or_else(|| connection.reject_reply())
    }
}
