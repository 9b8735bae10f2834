//! Storing large bodies, apart from their entries.
//!
//! A body is stored under a temporary name, and gets that of its entry in the step that stores the
//! entry; otherwise it expires soon. After a write-through, which must not wait for it, it follows
//! its entry.
//!
//! Bodies are sent one after the other, small ones a few at a time: two that share a slow network
//! take longer than either may, and then neither is stored. A body that is being sent keeps its
//! place until Redis has acknowledged it, or its connection is dead, whether a fill still waits for
//! it or not. So a network that is too slow is given no bytes that are of no use.
//!
//! Start with [`BodyStores::store`].

use std::error::Error;
use std::future::Future;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::backend::redis::connection::{CommandError, LuaScript, Pool, ScriptCall};
use crate::backend::redis::protocol::ttl::ttl_millis;
use crate::timeout::{max_transfer_time, with_timeout};

/// The most bytes that are being sent. A body of more is sent alone.
const MAX_BYTES: usize = 256 * 1024;
/// The most bodies that are stored at the same time, most of which wait for their turn.
const MAX_STORES: usize = 32;
/// How many times slower than the slowest transfer a connection may be before it counts as dead.
const PATIENCE: u32 = 4;
/// How long a body is kept whose entry is not stored.
const UNLISTED_TTL: Duration = Duration::from_secs(60);

/// Stores large bodies. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct BodyStores(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    /// How long a body may wait for its turn, and for the first byte of its acknowledgement.
    max_wait: Duration,
    stores: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// A body that is stored after its entry.
#[derive(Debug)]
pub(crate) struct LateBody {
    /// The script `ATTACH_BODY`, with its key and its arguments.
    pub(crate) script: LuaScript,
    pub(crate) entry: String,
    pub(crate) arguments: Vec<Bytes>,
    /// The temporary name.
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
}

/// The place of a body among those that are stored.
type Place = Arc<OwnedSemaphorePermit>;
/// Receives the outcome of a transfer.
type Acknowledgement = oneshot::Receiver<Result<(), CommandError>>;

impl BodyStores {
    /// Creates one whose bodies wait for their turn for at most `max_wait`.
    pub(crate) fn new(pool: Pool, max_wait: Duration) -> Self {
        Self(Arc::new(Inner {
            pool,
            max_wait,
            stores: Arc::new(Semaphore::new(MAX_STORES)),
            bytes: Arc::new(Semaphore::new(MAX_BYTES)),
        }))
    }

    /// Stores a body under the temporary name that it has until its entry is stored.
    ///
    /// # Errors
    /// Also if too many bodies are being stored, or the network is too slow.
    pub(crate) async fn store(&self, name: String, bytes: &Bytes) -> Result<(), CommandError> {
        let place = self.take_place()?;
        let max_wait = self.0.max_wait;
        let acknowledgement = self.send(name, bytes, place, max_wait).await?;
        let limit = max_wait.saturating_add(max_transfer_time(bytes.len()));
        match with_timeout(limit, acknowledgement).await {
            Some(Ok(outcome)) => outcome,
            // The task ended with its runtime.
            Some(Err(_)) => Err(CommandError::NO_RUNTIME),
            None => Err(CommandError::SlowTransfer),
        }
    }

    fn take_place(&self) -> Result<Place, CommandError> {
        let place = self.0.stores.clone().try_acquire_owned();
        place
            .map(Arc::new)
            .map_err(|_| CommandError::TooManyTransfers)
    }

    /// Sends a body when it is its turn, in a task that ends with its acknowledgement. One for
    /// which no caller waits by then is removed again.
    async fn send(
        &self,
        name: String,
        bytes: &Bytes,
        place: Place,
        max_wait: Duration,
    ) -> Result<Acknowledgement, CommandError> {
        let runtime = Handle::try_current().map_err(|_| CommandError::NO_RUNTIME)?;
        let count = bytes.len().min(MAX_BYTES) as u32;
        let turn = self.0.bytes.clone().acquire_many_owned(count);
        let Some(Ok(turn)) = with_timeout(max_wait, turn).await else {
            return Err(CommandError::TooManyTransfers);
        };
        let (report, acknowledgement) = oneshot::channel();
        let (inner, bytes) = (self.0.clone(), bytes.clone());
        drop(runtime.spawn(async move {
            let outcome = inner.set(&name, &bytes).await;
            if let Err(Ok(())) = report.send(outcome) {
                inner.discard(&name).await;
            }
            drop((place, turn));
        }));
        Ok(acknowledgement)
    }

    /// Starts to store the body of an entry that has been stored. The result is ready when the task
    /// has ended. `scripts` has the connections for scripts.
    pub(crate) fn attach_in_background(
        &self,
        body: LateBody,
        scripts: Arc<Pool>,
    ) -> impl Future<Output = ()> + use<> {
        let (stores, place) = (self.clone(), self.take_place());
        let attach = async move {
            if let Err(error) = stores.attach(&body, place, &scripts).await {
                tracing::debug!(
                    error = &error as &dyn Error,
                    "redis body not stored; its entry is a miss"
                );
            }
        };
        let task = Handle::try_current().map(|runtime| runtime.spawn(attach));
        async move {
            if let Ok(task) = task {
                let _ = task.await;
            }
        }
    }

    async fn attach(
        &self,
        body: &LateBody,
        place: Result<Place, CommandError>,
        scripts: &Pool,
    ) -> Result<(), CommandError> {
        let (place, name) = (place?, body.name.clone());
        // No fill waits for it, and its entry is of no use without it.
        let sent = self.send(name, &body.bytes, place.clone(), UNLISTED_TTL);
        let acknowledgement = sent.await?.await;
        acknowledgement.unwrap_or(Err(CommandError::NO_RUNTIME))?;
        let call = ScriptCall {
            script: &body.script,
            keys: slice::from_ref(&body.entry),
            arguments: || body.arguments.clone(),
        };
        let attached = scripts.run(call).await;
        drop(place);
        attached.map(drop)
    }

    /// Waits until no body is being stored.
    pub(crate) async fn drain(&self) {
        let _ = self.0.stores.acquire_many(MAX_STORES as u32).await;
    }
}

impl Inner {
    async fn set(&self, name: &str, bytes: &Bytes) -> Result<(), CommandError> {
        let ttl = ttl_millis(UNLISTED_TTL);
        let command = || {
            let mut set = redis::cmd("SET");
            set.arg(name).arg(&bytes[..]).arg("PX").arg(&ttl[..]);
            set
        };
        let patience = max_transfer_time(bytes.len()).saturating_mul(PATIENCE);
        match self.pool.send_patiently(patience, command).await {
            Ok((Value::Okay, _)) => Ok(()),
            Ok((_, connection)) => Err(connection.reject_reply()),
            Err(CommandError::ResponseTimeout) => Err(CommandError::SlowTransfer),
            Err(error) => Err(error),
        }
    }

    async fn discard(&self, name: &str) {
        let command = || {
            let mut unlink = redis::cmd("UNLINK");
            unlink.arg(name);
            unlink
        };
        // Otherwise it expires.
        let _ = self.pool.send(command).await;
    }
}
