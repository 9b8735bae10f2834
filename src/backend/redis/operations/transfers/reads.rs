//! Reading large bodies in pieces.
//!
//! A read moves the chunks of its range and no more. Reads of the same chunks at the same time
//! share one transfer, which ends when none of them waits for it any more. Bodies take turns: each
//! has one piece in the queue. A piece that was asked for is waited for until it has arrived, or
//! its connection is dead, because until then it takes its time of the network.
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
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::backend::codec::matches_body;
use crate::backend::redis::connection::{CommandError, Pool};
use crate::semantics::stored::DetachedBody;
use crate::timeout::max_transfer_time;

/// The size of a piece to aim at, in bytes.
const PIECE: u64 = 128 * 1024;
/// The most pieces in flight. The network has to hold so many, and small replies wait behind them.
const MAX_PIECES: usize = 4;
/// The most reads of more than one piece, or of a whole body, at the same time.
const MAX_READS: usize = 32;

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
    /// The reads in progress. Their tasks own the senders: a sender is gone with its runtime.
    reads: Mutex<HashMap<ReadKey, Weak<Readers>>>,
}

impl BodyReads {
    /// Creates one for bodies of at most `max_length` bytes.
    pub(crate) fn new(pool: Pool, max_length: u64) -> Self {
        Self(Arc::new(Inner {
            pool,
            max_length,
            pieces: Arc::new(Semaphore::new(MAX_PIECES)),
            reads: Mutex::default(),
        }))
    }

    /// Returns the length of the longest body that may be read.
    pub(crate) fn max_length(&self) -> u64 {
        self.0.max_length
    }

    /// Reads a range of a body; `None` if it is gone.
    ///
    /// # Errors
    /// Also if too many bodies are being read.
    pub(crate) async fn read(&self, body: &DetachedBody, range: Range<u64>) -> ReadResult {
        let runtime = Handle::try_current().map_err(|_| CommandError::NO_RUNTIME)?;
        let Some(chunks) = body.whole_chunks(&range) else {
            return Ok(None);
        };
        let is_whole = chunks == (0..body.length);
        let read = match is_whole || chunks.end - chunks.start > PIECE {
            true => self.read_shared(body, &chunks, &runtime).await?,
            false => {
                let body = Arc::new(body.clone());
                self.0.read_pieces(&body, &chunks, &runtime).await?
            }
        };
        let offset = (range.start - chunks.start) as usize;
        let length = (range.end - range.start) as usize;
        Ok(read.map(|bytes| bytes.slice(offset..offset + length)))
    }

    async fn read_shared(
        &self,
        body: &DetachedBody,
        chunks: &Range<u64>,
        runtime: &Handle,
    ) -> ReadResult {
        let Some(mut read) = self.join_or_start(body, chunks, runtime) else {
            return Err(CommandError::TooManyTransfers);
        };
        match read.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(result)) => result.clone(),
            // The task ended with its runtime.
            Ok(None) | Err(_) => Err(CommandError::NO_RUNTIME),
        }
    }

    /// Joins the read of these chunks, or starts it in a task of its own.
    fn join_or_start(
        &self,
        body: &DetachedBody,
        chunks: &Range<u64>,
        runtime: &Handle,
    ) -> Option<watch::Receiver<Option<ReadResult>>> {
        let key = (body.location.clone(), body.seed, chunks.start, chunks.end);
        let mut reads = self.0.reads();
        if let Some(readers) = reads.get(&key).and_then(Weak::upgrade) {
            return Some(readers.subscribe());
        }
        if reads.len() >= MAX_READS {
            // Those of a runtime that was shut down.
            reads.retain(|_, readers| readers.strong_count() > 0);
        }
        if reads.len() >= MAX_READS {
            return None;
        }
        let (readers, read) = watch::channel(None);
        let readers = Arc::new(readers);
        reads.insert(key.clone(), Arc::downgrade(&readers));
        let (inner, body, chunks) = (self.0.clone(), Arc::new(body.clone()), chunks.clone());
        let handle = runtime.clone();
        drop(runtime.spawn(async move {
            let mut pieces = pin!(inner.read_pieces(&body, &chunks, &handle));
            let mut departure = pin!(inner.wait_for_departure(&key, &readers));
            let result = poll_fn(|cx| match pieces.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => departure.as_mut().poll(cx).map(|()| None),
            });
            if let Some(result) = result.await {
                inner.reads().remove(&key);
                let _ = readers.send(Some(result));
            }
        }));
        Some(read)
    }
}

impl Inner {
    fn reads(&self) -> MutexGuard<'_, HashMap<ReadKey, Weak<Readers>>> {
        // No panic can leave the map half changed.
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a read has no readers, and forgets it.
    async fn wait_for_departure(&self, key: &ReadKey, readers: &Readers) {
        loop {
            readers.closed().await;
            let mut reads = self.reads();
            // Under the lock, under which others join.
            if readers.receiver_count() == 0 {
                reads.remove(key);
                return;
            }
        }
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
