//! The bytes of a body under way, their readers' positions and the bytes charged to the budget.
//!
//! Start at [`BodyBuffer::trim`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use bytes::Bytes;
use http::HeaderMap;

use crate::error::SharedError;
use crate::flight::buffer_budget::BudgetShare;
use crate::semantics::stored::DropObserver;

/// The most bytes between the source and the slowest reader, once the body is not kept whole.
const WINDOW: u64 = 256 * 1024;
/// The memory that a chunk takes beside its bytes: its place in the queue, the reference count of
/// its buffer, the allocator's header.
const CHUNK_OVERHEAD: u64 = 96;

/// The end of a body.
#[derive(Clone, Debug)]
pub(crate) enum BodyEnd {
    /// The whole body has arrived, with these trailers.
    Complete(Option<HeaderMap>),
    /// The body broke off. Every reader gets this error.
    Failed(SharedError),
}

/// A buffer that a source and its readers share.
#[derive(Clone, Debug)]
pub(super) struct SharedBuffer(Arc<Mutex<BodyBuffer>>);

impl SharedBuffer {
    pub(super) fn new(share: BudgetShare) -> Self {
        Self(Arc::new(Mutex::new(BodyBuffer::new(share))))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, BodyBuffer> {
        // Every critical section leaves the buffer consistent, so a poisoned lock can be used.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A notice for the stored response that will share the bytes of this buffer.
    pub(super) fn drop_notice(&self) -> Arc<DropNotice> {
        let buffer = Mutex::new(Arc::downgrade(&self.0));
        let notice = Arc::new(DropNotice(buffer));
        self.lock().drop_notice = Some(notice.clone());
        notice
    }
}

#[derive(Debug)]
pub(super) struct BodyBuffer {
    pub(super) chunks: VecDeque<Bytes>,
    /// The number of the first chunk in `chunks`. A reader that is before it was dropped for being
    /// too slow.
    pub(super) first: u64,
    /// For each chunk the number of readers that read it next, and in the last place the number
    /// of those that have read them all.
    pub(super) readers_at: VecDeque<usize>,
    /// The cost of `chunks`.
    pub(super) cost: u64,
    /// The bytes that have arrived.
    pub(super) received: u64,
    /// The announced length of the body, once its head is here.
    pub(super) announced: Option<u64>,
    pub(super) share: Arc<BudgetShare>,
    /// The part of `cost` that is not charged to the share: the budget had no room for it, or the
    /// backend counts it.
    pub(super) uncharged: u64,
    pub(super) end: Option<BodyEnd>,
    drop_notice: Option<Arc<DropNotice>>,
    pub(super) is_stored_response_gone: bool,
    /// Whether the body is kept whole. Afterwards a chunk is freed once all readers have read it.
    pub(super) retains_all: bool,
    pub(super) readers: usize,
    pub(super) next_reader_id: u64,
    pub(super) reader_wakers: BTreeMap<u64, Waker>,
    pub(super) source_waker: Option<Waker>,
}

impl BodyBuffer {
    fn new(share: BudgetShare) -> Self {
        Self {
            chunks: VecDeque::new(),
            first: 0,
            readers_at: VecDeque::from([0]),
            cost: 0,
            received: 0,
            announced: None,
            share: Arc::new(share),
            uncharged: 0,
            end: None,
            drop_notice: None,
            is_stored_response_gone: false,
            retains_all: true,
            readers: 0,
            next_reader_id: 0,
            reader_wakers: BTreeMap::new(),
            source_waker: None,
        }
    }

    /// The number of the chunk that comes next.
    pub(super) fn next_chunk(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    /// The count of the readers that read a chunk next; `None` if it has been freed.
    pub(super) fn readers_at(&mut self, chunk: u64) -> Option<&mut usize> {
        let index = chunk.checked_sub(self.first)?;
        self.readers_at.get_mut(index as usize)
    }

    /// Whether all content has arrived. A client that counts bytes knows that before the end.
    pub(super) fn is_whole(&self) -> bool {
        match &self.end {
            Some(end) => matches!(end, BodyEnd::Complete(_)),
            None => self.announced == Some(self.received),
        }
    }

    /// Adds a chunk. Returns whether the budget had room for it; the chunk is kept in any case.
    pub(super) fn push(&mut self, chunk: Bytes) -> bool {
        let cost = cost_of(&chunk);
        self.received += chunk.len() as u64;
        let is_charged = self.share.try_take(cost);
        if !is_charged {
            self.uncharged += cost;
        }
        self.cost += cost;
        self.chunks.push_back(chunk);
        self.readers_at.push_back(0);
        is_charged
    }

    /// Frees the chunks that all readers have read. Returns the source's waker if it may go on.
    pub(super) fn trim(&mut self) -> Option<Waker> {
        if self.retains_all {
            return None;
        }
        while self.readers_at.front() == Some(&0)
            && let Some(chunk) = self.chunks.pop_front()
        {
            self.readers_at.pop_front();
            self.first += 1;
            self.release(cost_of(&chunk));
        }
        let is_wanted = self.has_room() || self.readers == 0;
        if is_wanted {
            self.source_waker.take()
        } else {
            None
        }
    }

    fn release(&mut self, cost: u64) {
        let uncharged = cost.min(self.uncharged);
        self.uncharged -= uncharged;
        self.cost -= cost;
        self.share.release(cost - uncharged);
    }

    /// Whether the source may push another chunk. Without room in the budget that is one at a time.
    pub(super) fn has_room(&self) -> bool {
        self.chunks.is_empty() || (self.cost < WINDOW && self.uncharged == 0)
    }
}

impl Drop for BodyBuffer {
    fn drop(&mut self) {
        // A weak reference keeps the allocation, which the stored response may outlive by far.
        if let Some(notice) = &self.drop_notice {
            drop(notice.take());
        }
    }
}

fn cost_of(chunk: &Bytes) -> u64 {
    chunk.len() as u64 + CHUNK_OVERHEAD
}

/// Wakes tasks. Callers have released the lock before.
pub(super) fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// Tells a body's buffer that the stored response which shares its bytes is gone.
///
/// While the response is stored, the backend counts the bytes. Afterwards only slow readers keep
/// them, and they are charged to the budget again. Neither side keeps the other alive.
#[derive(Debug)]
pub(crate) struct DropNotice(Mutex<Weak<Mutex<BodyBuffer>>>);

impl DropNotice {
    fn take(&self) -> Weak<Mutex<BodyBuffer>> {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *buffer)
    }
}

impl DropObserver for DropNotice {
    fn on_drop(&self) {
        let Some(buffer) = self.take().upgrade() else {
            return;
        };
        let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
        buffer.is_stored_response_gone = true;
        let uncharged = std::mem::take(&mut buffer.uncharged);
        buffer.share.force_take(uncharged);
    }
}
