//! Storing large bodies, apart from their entries.
//!
//! A body is stored under a temporary name, and gets that of its entry in the step that stores the
//! entry; otherwise it expires soon. After a write-through, which does not wait for it, it follows
//! its entry: see `late.rs`.
//!
//! Bodies are sent one after the other, small ones a few at a time: two that share a slow network
//! take longer than either may, and then neither is stored. A body that is being sent keeps its
//! place until Redis has acknowledged it, or its connection is dead, whether a fill still waits for
//! it or not. So a network that is too slow is given no bytes that are of no use.
//!
//! Start with [`BodyStores::store`].

use std::ops::Range;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::late::{Late, LateBodies, LateBody};
use crate::backend::redis::connection::{CommandError, Pool, ScriptCall};
use crate::backend::redis::protocol::entry::StoredEntry;
use crate::backend::redis::protocol::ttl::ttl_millis;
use crate::error::causes::WithCauses;
use crate::semantics::stored::DetachedBody;
use crate::timeout::{max_transfer_time, with_timeout};

/// The most bytes that are being sent. A body of more is sent alone.
const MAX_BYTES: usize = 256 * 1024;
/// The most bytes of bodies that fills store at the same time, most of which wait for their turn.
const MAX_WAITING: usize = 16 * 1024 * 1024;
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
    /// Has a permit for each of [`MAX_WAITING`].
    waiting: Arc<Semaphore>,
    /// Has a permit for each of [`MAX_BYTES`].
    bytes: Arc<Semaphore>,
    late: LateBodies,
}

/// The place of a body among those that are stored, or that are being sent.
type Place = OwnedSemaphorePermit;
/// Receives the outcome of a transfer.
type Acknowledgement = oneshot::Receiver<Result<(), CommandError>>;

impl BodyStores {
    /// Creates one whose bodies wait for their turn for at most `max_wait`.
    pub(crate) fn new(pool: Pool, max_wait: Duration) -> Self {
        Self(Arc::new(Inner {
            pool,
            max_wait,
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            bytes: Arc::new(Semaphore::new(MAX_BYTES)),
            late: LateBodies::new(),
        }))
    }

    /// Stores a body under the temporary name that it has until its entry is stored.
    ///
    /// # Errors
    /// Also if too many bodies are being stored, or the network is too slow.
    pub(crate) async fn store(&self, name: String, bytes: &Bytes) -> Result<(), CommandError> {
        let inner = &self.0;
        let place = inner.waiting.clone();
        let place = place.try_acquire_many_owned(permits(bytes, MAX_WAITING));
        let place = place.map_err(|_| CommandError::TooManyTransfers)?;
        let turn = inner.bytes.clone();
        let turn = turn.acquire_many_owned(permits(bytes, MAX_BYTES));
        let Some(Ok(turn)) = with_timeout(inner.max_wait, turn).await else {
            return Err(CommandError::TooManyTransfers);
        };
        let acknowledgement = self.send(name, bytes, (place, turn))?;
        let limit = max_transfer_time(bytes.len()).saturating_add(inner.max_wait);
        match with_timeout(limit, acknowledgement).await {
            Some(Ok(outcome)) => outcome,
            // The task ended with its runtime.
            Some(Err(_)) => Err(CommandError::NO_RUNTIME),
            None => Err(CommandError::SlowTransfer),
        }
    }

    /// Sends a body whose turn it is, in a task that ends with its acknowledgement. One for which
    /// no caller waits by then is removed again.
    fn send(
        &self,
        name: String,
        bytes: &Bytes,
        places: (Place, Place),
    ) -> Result<Acknowledgement, CommandError> {
        let runtime = Handle::try_current().map_err(|_| CommandError::NO_RUNTIME)?;
        let (report, acknowledgement) = oneshot::channel();
        let (inner, bytes) = (self.0.clone(), bytes.clone());
        drop(runtime.spawn(async move {
            let outcome = inner.set(&name, &bytes).await;
            if let Err(Ok(())) = report.send(outcome) {
                inner.discard(&name).await;
            }
            drop(places);
        }));
        Ok(acknowledgement)
    }

    /// Starts to store the body of an entry that has been stored. `pool` has the connections for
    /// small replies.
    pub(crate) fn attach_in_background(&self, body: LateBody, pool: Arc<Pool>) {
        let (stores, runtime) = (self.clone(), Handle::try_current());
        let (Ok(runtime), Some(late)) = (runtime, self.0.late.add(&body)) else {
            tracing::debug!("too many redis bodies are late; the entry of one is a miss");
            return;
        };
        drop(runtime.spawn(async move {
            if let Err(error) = stores.attach(&body, late, &pool).await {
                tracing::debug!(
                    error = %WithCauses(&error),
                    "redis body not stored; its entry is a miss"
                );
            }
        }));
    }

    async fn attach(
        &self,
        body: &LateBody,
        mut late: Late,
        pool: &Pool,
    ) -> Result<(), CommandError> {
        let turn = late.unless_replaced(self.late_turn(body, pool));
        let turn = with_timeout(UNLISTED_TTL, turn).await;
        let Some(turn) = turn
            .ok_or(CommandError::SlowTransfer)?
            .transpose()?
            .flatten()
        else {
            return Ok(());
        };
        self.0.set(&body.temporary, &body.bytes).await?;
        drop(turn);
        let call = ScriptCall {
            script: &body.script,
            keys: slice::from_ref(&body.entry.key),
            arguments: || body.arguments.clone(),
        };
        pool.run(call).await.map(drop)
    }

    /// Waits for the turn of a late body; `None` if its entry is gone by then.
    async fn late_turn(&self, body: &LateBody, pool: &Pool) -> Result<Option<Place>, CommandError> {
        let Inner { bytes, late, .. } = &*self.0;
        let count = permits(&body.bytes, MAX_BYTES);
        if let Some(_next) = late.try_next()
            && let Ok(turn) = bytes.clone().try_acquire_many_owned(count)
        {
            return Ok(Some(turn));
        }
        let _next = late.next().await;
        match is_stored(&body.entry, pool).await? {
            true => Ok(bytes.clone().acquire_many_owned(count).await.ok()),
            false => Ok(None),
        }
    }

    /// Returns whole chunks of a body that is late.
    pub(super) fn late_chunks(&self, body: &DetachedBody, chunks: &Range<u64>) -> Option<Bytes> {
        self.0.late.chunks_of(body, chunks)
    }

    /// Waits until no body is being stored.
    pub(crate) async fn drain(&self) {
        self.0.late.drain().await;
        let _ = self.0.waiting.acquire_many(MAX_WAITING as u32).await;
    }
}

/// Returns the permits of a body, of at most `all` there are.
fn permits(bytes: &Bytes, all: usize) -> u32 {
    bytes.len().min(all) as u32
}

/// Returns whether an entry is still the one that was stored.
async fn is_stored(entry: &StoredEntry, pool: &Pool) -> Result<bool, CommandError> {
    let command = || {
        let mut getrange = redis::cmd("GETRANGE");
        getrange
            .arg(&entry.key)
            .arg(0)
            .arg(entry.telling_length() - 1);
        getrange
    };
    match pool.send(command).await {
        Ok((Value::BulkString(value), _)) => Ok(entry.is_beginning(&value)),
        Ok((_, connection)) => Err(connection.reject_reply()),
        // Another program has stored a value of another type there.
        Err(error) if error.is_wrong_type() => Ok(false),
        Err(error) => Err(error),
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
            Ok((Value::Okay, _)) => {
                self.pool.count_transferred(bytes.len());
                Ok(())
            }
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
