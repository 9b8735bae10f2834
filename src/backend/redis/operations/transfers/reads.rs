//! Reading large bodies in pieces.
//!
//! A read moves the chunks of its range and no more. Reads of the same chunks at the same time
//! share one transfer, and so do a short body and ranges of it. A transfer ends when no read waits
//! for it any more. Bodies take turns: each has one piece in the queue. A piece that was asked for
//! is waited for until it has arrived, or its connection is dead, because until then it takes its
//! time of the network.
//!
//! Start with [`BodyReads::read`].

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;

use bytes::Bytes;
use redis::Value;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::backend::codec::matches_body;
use crate::backend::redis::connection::{CommandError, Pool};
use crate::semantics::stored::DetachedBody;
use crate::timeout::max_transfer_time;

/// The size of a piece to aim at, in bytes.
const PIECE: u64 = 128 * 1024;
/// The most pieces in flight. The network has to hold so many, and small replies wait behind them.
const MAX_PIECES: usize = 4;
/// The most bytes in the queue. Each read has one piece there, and waits for those before it: a
/// request that would wait for longer is better answered by the inner service.
const MAX_QUEUED: u64 = 16 * 1024 * 1024;
/// The most bytes that are being read of ranges of more than one piece, for which memory is taken
/// when their first piece is asked for.
const MAX_BUFFERED: u64 = 64 * 1024 * 1024;

/// The bytes that are read; `None` if they are gone.
type ReadResult = Result<Option<Bytes>, CommandError>;
type PieceResult = Result<Option<Vec<u8>>, CommandError>;
/// Sends the result of a read to all that wait for it.
type Readers = watch::Sender<Option<ReadResult>>;
/// Location and seed of a body, and the first and last byte of the chunks that are read.
type ReadKey = (Box<str>, u64, u64, u64);

/// Reads large bodies. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct BodyReads(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    /// The length of the longest body that may be read.
    max_length: u64,
    pieces: Arc<Semaphore>,
    /// Has a permit for each of [`MAX_QUEUED`].
    queued: Arc<Semaphore>,
    /// Has a permit for each of [`MAX_BUFFERED`].
    buffered: Arc<Semaphore>,
    /// The reads in progress. Their tasks own the senders: a sender is gone with its runtime.
    reads: Mutex<HashMap<ReadKey, Weak<Readers>>>,
}

/// A read in progress, until its task ends.
struct Reading {
    inner: Arc<Inner>,
    key: ReadKey,
    readers: Arc<Readers>,
    _places: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

impl BodyReads {
    /// Creates one for bodies of at most `max_length` bytes.
    pub(crate) fn new(pool: Pool, max_length: u64) -> Self {
        Self(Arc::new(Inner {
            pool,
            max_length,
            pieces: Arc::new(Semaphore::new(MAX_PIECES)),
            queued: Arc::new(Semaphore::new(MAX_QUEUED as usize)),
            buffered: Arc::new(Semaphore::new(MAX_BUFFERED as usize)),
            reads: Mutex::default(),
        }))
    }

    /// Returns the length of the longest body that may be read.
    pub(crate) fn max_length(&self) -> u64 {
        self.0.max_length
    }

    /// Reads whole chunks of a body; `None` if they are gone.
    ///
    /// # Errors
    /// Also if too much is being read.
    pub(super) async fn read(&self, body: &DetachedBody, chunks: &Range<u64>) -> ReadResult {
        let runtime = Handle::try_current().map_err(|_| CommandError::NO_RUNTIME)?;
        let (mut read, start) = self.join_or_start(body, chunks, &runtime)?;
        match read.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(result)) => {
                let length = (chunks.end - chunks.start) as usize;
                let range = |bytes: Bytes| bytes.slice(start..start + length);
                result.clone().map(|read| read.map(range))
            }
            // The task ended with its runtime.
            Ok(None) | Err(_) => Err(CommandError::NO_RUNTIME),
        }
    }

    /// Joins a read of these chunks, or starts it in a task of its own. Returns where they begin in
    /// what is read.
    fn join_or_start(
        &self,
        body: &DetachedBody,
        chunks: &Range<u64>,
        runtime: &Handle,
    ) -> Result<(watch::Receiver<Option<ReadResult>>, usize), CommandError> {
        let key = |chunks: &Range<u64>| {
            let location = body.location.clone();
            (location, body.seed, chunks.start, chunks.end)
        };
        let mut reads = self.0.reads();
        let join = |chunks| reads.get(&key(chunks)).and_then(Weak::upgrade);
        if let Some(readers) = join(chunks) {
            return Ok((readers.subscribe(), 0));
        }
        // A longer one would take longer than the range.
        if body.length <= PIECE
            && let Some(readers) = join(&(0..body.length))
        {
            return Ok((readers.subscribe(), chunks.start as usize));
        }
        let places = self.0.take_places(chunks.end - chunks.start)?;
        let (readers, read) = watch::channel(None);
        let reading = Reading {
            inner: self.0.clone(),
            key: key(chunks),
            readers: Arc::new(readers),
            _places: places,
        };
        reads.insert(reading.key.clone(), Arc::downgrade(&reading.readers));
        // A runtime that was shut down drops the task, which forgets its read, at once.
        drop(reads);
        let (body, chunks, handle) = (Arc::new(body.clone()), chunks.clone(), runtime.clone());
        drop(runtime.spawn(async move { reading.run(&body, &chunks, &handle).await }));
        Ok((read, 0))
    }
}

impl Reading {
    /// Reads whole chunks, for as long as anything waits for them.
    async fn run(&self, body: &Arc<DetachedBody>, chunks: &Range<u64>, runtime: &Handle) {
        let mut pieces = pin!(self.inner.read_pieces(body, chunks, runtime));
        let mut departure = pin!(self.wait_for_departure());
        let result = poll_fn(|cx| match pieces.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => departure.as_mut().poll(cx).map(|()| None),
        });
        if let Some(result) = result.await {
            self.inner.reads().remove(&self.key);
            let _ = self.readers.send(Some(result));
        }
    }

    /// Waits until nothing waits for the read, and forgets it.
    async fn wait_for_departure(&self) {
        loop {
            self.readers.closed().await;
            let mut reads = self.inner.reads();
            // Under the lock, under which others join.
            if self.readers.receiver_count() == 0 {
                reads.remove(&self.key);
                return;
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut reads = self.inner.reads();
        let is_own = |readers: &Weak<Readers>| readers.as_ptr() == Arc::as_ptr(&self.readers);
        if reads.get(&self.key).is_some_and(is_own) {
            reads.remove(&self.key);
        }
    }
}

impl Inner {
    fn reads(&self) -> MutexGuard<'_, HashMap<ReadKey, Weak<Readers>>> {
        // No panic can leave the map half changed.
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the places of a read of so many bytes.
    fn take_places(
        &self,
        bytes: u64,
    ) -> Result<(OwnedSemaphorePermit, Option<OwnedSemaphorePermit>), CommandError> {
        let take = |places: &Arc<Semaphore>, bytes: u64| {
            let taken = places.clone().try_acquire_many_owned(bytes as u32);
            taken.map_err(|_| CommandError::TooManyTransfers)
        };
        let buffered = match bytes > PIECE {
            true => Some(take(&self.buffered, bytes.min(MAX_BUFFERED))?),
            false => None,
        };
        Ok((take(&self.queued, bytes.min(PIECE))?, buffered))
    }

    /// Reads whole chunks, piece by piece.
    async fn read_pieces(
        self: &Arc<Self>,
        body: &Arc<DetachedBody>,
        chunks: &Range<u64>,
        runtime: &Handle,
    ) -> ReadResult {
        let chunk = DetachedBody::chunk_length(body.length);
        let step = (PIECE / chunk).max(1) * chunk;
        if chunks.end - chunks.start <= step {
            let piece = join(self.start_piece(body, chunks.clone(), runtime).await).await?;
            return Ok(piece.map(Bytes::from));
        }
        let mut read = vec![0; (chunks.end - chunks.start) as usize];
        let mut in_flight = VecDeque::with_capacity(MAX_PIECES);
        let mut starts = (chunks.start..chunks.end).step_by(step as usize);
        loop {
            let next = match in_flight.len() < MAX_PIECES {
                true => starts.next(),
                false => None,
            };
            if let Some(start) = next {
                let range = start..start.saturating_add(step).min(chunks.end);
                let piece = self.start_piece(body, range, runtime).await;
                in_flight.push_back((start, piece));
                continue;
            }
            let Some((start, piece)) = in_flight.pop_front() else {
                return Ok(Some(read.into()));
            };
            let Some(piece) = join(piece).await? else {
                return Ok(None);
            };
            let start = (start - chunks.start) as usize;
            read[start..start + piece.len()].copy_from_slice(&piece);
        }
    }

    /// Waits for its turn and starts to read a piece, in a task that is not cancelled with the
    /// read: a piece on its way gives its place to no other.
    async fn start_piece(
        self: &Arc<Self>,
        body: &Arc<DetachedBody>,
        range: Range<u64>,
        runtime: &Handle,
    ) -> JoinHandle<PieceResult> {
        let permit = self.pieces.clone().acquire_owned().await;
        let (inner, body) = (self.clone(), body.clone());
        runtime.spawn(async move {
            let piece = inner.read_piece(&body, &range).await;
            drop(permit);
            piece
        })
    }

    /// Reads whole chunks with one command; `None` if they are gone.
    async fn read_piece(&self, body: &DetachedBody, range: &Range<u64>) -> PieceResult {
        let command = || {
            let mut getrange = redis::cmd("GETRANGE");
            getrange.arg(&*body.location);
            getrange.arg(range.start).arg(range.end - 1);
            getrange
        };
        let length = range.end - range.start;
        let patience = max_transfer_time(length as usize);
        let bytes = match self.pool.send_patiently(patience, command).await {
            Ok((Value::BulkString(bytes), _)) => bytes,
            Ok((_, connection)) => return Err(connection.reject_reply()),
            // Another program has stored a value of another type there.
            Err(error) if error.is_wrong_type() => return Ok(None),
            Err(error) => return Err(error),
        };
        self.pool.count_transferred(bytes.len());
        let is_complete = bytes.len() as u64 == length;
        let is_body = is_complete && matches_body(body, range.start, &bytes);
        if !is_body {
            tracing::debug!(
                "redis body is gone, or does not match its entry; looking up once more"
            );
        }
        Ok(is_body.then_some(bytes))
    }
}

/// Waits for a piece. Without its runtime there is none.
async fn join(piece: JoinHandle<PieceResult>) -> PieceResult {
    piece.await.unwrap_or(Err(CommandError::NO_RUNTIME))
}
