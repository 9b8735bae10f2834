//! Large bodies: stored and read apart from their entries, on connections of their own, so that
//! they delay no small reply.
//!
//! A body is read in pieces. Each has the whole response timeout: a slow transfer goes on as long
//! as it makes progress. Concurrent reads of a whole body share one transfer. It is stored under a
//! temporary name, and gets that of its entry in the step that stores the entry; otherwise it
//! expires soon. After a write-through, which must not wait for it, it follows its entry. Whatever
//! is under its key, bytes count only if they match the checksums in the entry.
//!
//! Start with [`Transfers::read`].

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::ops::Range;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::backend::codec::matches_body;
use crate::backend::redis::connection::{CommandError, LuaScript, Pool, ScriptCall};
use crate::backend::redis::protocol::ttl::ttl_millis;
use crate::semantics::stored::DetachedBody;
use crate::timeout::max_transfer_time;

/// The size of a piece to aim at, in bytes.
const PIECE: u64 = 128 * 1024;
/// The most pieces in flight. The network has to hold so many, and small replies wait behind them.
const MAX_PIECES: usize = 4;
/// The most bodies that are read at the same time.
const MAX_READS: usize = 32;
/// The most bodies that are being sent. The rest of those that are stored waits for them.
const MAX_SENDS: usize = 4;
/// The most bodies that are stored at the same time.
const MAX_STORES: usize = 32;
/// How long a body is kept whose entry is not stored.
const UNLISTED_TTL: Duration = Duration::from_secs(60);

/// The bytes of a body; `None` if it is gone.
type ReadResult = Result<Option<Bytes>, CommandError>;
/// Receives the result of a transfer, for all that wait for it.
type SharedRead = watch::Receiver<Option<ReadResult>>;

/// Reads and stores large bodies. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Transfers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    /// The longest body that is read.
    max_length: u64,
    pieces: Semaphore,
    stores: Arc<Semaphore>,
    sends: Arc<Semaphore>,
    /// The whole bodies that are being read, by location and seed.
    reads: Mutex<HashMap<(Box<str>, u64), SharedRead>>,
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

impl Transfers {
    /// Creates one that reads no body of more than `max_length` bytes.
    pub(crate) fn new(pool: Pool, max_length: u64) -> Self {
        Self(Arc::new(Inner {
            pool,
            max_length,
            pieces: Semaphore::new(MAX_PIECES),
            stores: Arc::new(Semaphore::new(MAX_STORES)),
            sends: Arc::new(Semaphore::new(MAX_SENDS)),
            reads: Mutex::default(),
        }))
    }

    /// Reads a range of a body; `None` if it is gone. A long one is cut from the whole, which
    /// requests at the same time share, and which is read in pieces.
    ///
    /// # Errors
    /// Also if too many whole bodies are being read.
    pub(crate) async fn read(&self, body: &DetachedBody, range: Range<u64>) -> ReadResult {
        let whole = 0..body.length;
        if whole.end > self.0.max_length {
            // Of an instance that stores longer ones.
            return Ok(None);
        }
        if range == whole {
            return self.read_whole(body).await;
        }
        if range.end > whole.end || range.end.saturating_sub(range.start) <= PIECE {
            return self.0.read_range(body, &range).await;
        }
        let content = self.read_whole(body).await?;
        Ok(content.map(|content| content.slice(range.start as usize..range.end as usize)))
    }

    async fn read_whole(&self, body: &DetachedBody) -> ReadResult {
        let runtime = Handle::try_current().map_err(|_| CommandError::NO_RUNTIME)?;
        let Some(mut read) = self.join_or_start(body, &runtime) else {
            return Err(CommandError::TooManyTransfers);
        };
        match read.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(result)) => result.clone(),
            // The task ended with its runtime.
            Ok(None) | Err(_) => Err(CommandError::NO_RUNTIME),
        }
    }

    /// Joins the transfer of a body, or starts it in a task that no request cancels.
    fn join_or_start(&self, body: &DetachedBody, runtime: &Handle) -> Option<SharedRead> {
        let key = (body.location.clone(), body.seed);
        let mut reads = self.0.reads();
        if let Some(read) = reads.get(&key).filter(|read| read.has_changed().is_ok()) {
            return Some(read.clone());
        }
        if reads.len() >= MAX_READS {
            // Those of a runtime that was shut down.
            reads.retain(|_, read| read.has_changed().is_ok());
        }
        if reads.len() >= MAX_READS {
            return None;
        }
        let (sender, read) = watch::channel(None);
        reads.insert(key.clone(), read.clone());
        let (inner, body) = (self.0.clone(), body.clone());
        drop(runtime.spawn(async move {
            let result = inner.read_whole(&body).await;
            inner.reads().remove(&key);
            let _ = sender.send(Some(result));
        }));
        Some(read)
    }

    /// Stores a body under the temporary name that it has until its entry is stored.
    ///
    /// # Errors
    /// Also if too many bodies are being stored.
    pub(crate) async fn store(&self, name: String, bytes: &Bytes) -> Result<(), CommandError> {
        let runtime = Handle::try_current().map_err(|_| CommandError::NO_RUNTIME)?;
        let inner = self.0.clone();
        let Ok(store_permit) = inner.stores.clone().try_acquire_owned() else {
            return Err(CommandError::TooManyTransfers);
        };
        let send_permit = inner.sends.clone().acquire_owned().await;
        let bytes = bytes.clone();
        // In a task: the bytes of a cancelled command take their time on the network nevertheless.
        let stored = runtime.spawn(async move {
            let result = inner.store(&name, &bytes).await;
            drop((store_permit, send_permit));
            result
        });
        stored.await.unwrap_or(Err(CommandError::NO_RUNTIME))
    }

    /// Starts to store the body of an entry that has been stored. The result is ready when the task
    /// has ended.
    pub(crate) fn attach_in_background(&self, body: LateBody) -> impl Future<Output = ()> + use<> {
        let transfers = self.clone();
        let attach = async move {
            if let Err(error) = transfers.attach(&body).await {
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

    async fn attach(&self, body: &LateBody) -> Result<(), CommandError> {
        self.store(body.name.clone(), &body.bytes).await?;
        let call = ScriptCall {
            script: &body.script,
            keys: slice::from_ref(&body.entry),
            arguments: || body.arguments.clone(),
        };
        self.0.pool.run(call).await.map(drop)
    }
}

impl Inner {
    fn reads(&self) -> MutexGuard<'_, HashMap<(Box<str>, u64), SharedRead>> {
        // No panic can leave the map half changed.
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn store(&self, name: &str, bytes: &Bytes) -> Result<(), CommandError> {
        let ttl = ttl_millis(UNLISTED_TTL);
        let command = || {
            let mut set = redis::cmd("SET");
            set.arg(name).arg(&bytes[..]).arg("PX").arg(&ttl[..]);
            set
        };
        let more = max_transfer_time(bytes.len());
        match self.pool.send_with_more_time(more, command).await {
            Ok((Value::Okay, _)) => Ok(()),
            Ok((_, connection)) => Err(connection.reject_reply()),
            Err(CommandError::ResponseTimeout) => Err(CommandError::SlowTransfer),
            Err(error) => Err(error),
        }
    }

    /// Reads all pieces of a body.
    async fn read_whole(self: &Arc<Self>, body: &DetachedBody) -> ReadResult {
        let chunk = DetachedBody::chunk_length(body.length);
        let step = (PIECE / chunk).max(1) * chunk;
        let mut pieces = JoinSet::new();
        for start in (0..body.length).step_by(step as usize) {
            let (inner, body) = (self.clone(), body.clone());
            let range = start..start.saturating_add(step).min(body.length);
            pieces.spawn(async move { (start, inner.read_chunks(&body, &range).await) });
        }
        let mut whole = vec![0; body.length as usize];
        while let Some(piece) = pieces.join_next().await {
            let Ok((start, piece)) = piece else {
                return Err(CommandError::NO_RUNTIME);
            };
            let Some(piece) = piece? else {
                return Ok(None);
            };
            let start = start as usize;
            whole[start..start + piece.len()].copy_from_slice(&piece);
        }
        Ok(Some(whole.into()))
    }

    /// Reads the bytes of a range, and no more than the chunks that it touches.
    async fn read_range(&self, body: &DetachedBody, range: &Range<u64>) -> ReadResult {
        let Some(chunks) = body.whole_chunks(range) else {
            return Ok(None);
        };
        let read = self.read_chunks(body, &chunks).await?;
        let offset = (range.start - chunks.start) as usize;
        let length = (range.end - range.start) as usize;
        Ok(read.map(|bytes| Bytes::from(bytes).slice(offset..offset + length)))
    }

    /// Reads whole chunks; `None` if they are gone.
    async fn read_chunks(
        &self,
        body: &DetachedBody,
        range: &Range<u64>,
    ) -> Result<Option<Vec<u8>>, CommandError> {
        let permit = self.pieces.acquire().await;
        let command = || {
            let mut getrange = redis::cmd("GETRANGE");
            getrange.arg(&*body.location);
            getrange.arg(range.start).arg(range.end - 1);
            getrange
        };
        let reply = self.pool.send(command).await;
        drop(permit);
        let bytes = match reply {
            Ok((Value::BulkString(bytes), _)) => bytes,
            Ok((_, connection)) => return Err(connection.reject_reply()),
            // Another program has stored a value of another type there.
            Err(error) if error.is_wrong_type() => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_complete = bytes.len() as u64 == range.end - range.start;
        let is_body = is_complete && matches_body(body, range.start, &bytes);
        if !is_body {
            tracing::debug!(
                "redis body is gone, or does not match its entry; looking up once more"
            );
        }
        Ok(is_body.then_some(bytes))
    }
}
