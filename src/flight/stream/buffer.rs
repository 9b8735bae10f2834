//! The bytes of a body under way, their readers' positions and the bytes charged to the budget.
//!
//! Start at [`BodyBuffer::trim`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use http::HeaderMap;

use crate::error::SharedError;
use crate::flight::budget::BudgetShare;

use super::marks::Marks;

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
    /// Whether the backend has stored the same bytes and counts them.
    pub(super) is_stored: bool,
    /// Whether the body is kept whole. Afterwards a chunk is freed once all readers have read it.
    pub(super) retains_all: bool,
    pub(super) readers: usize,
    /// The readers that have not moved since the source noted that it waits for them.
    pub(super) stall: Marks,
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
            is_stored: false,
            retains_all: true,
            readers: 0,
            stall: Marks::default(),
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
        let is_charged = match self.retains_all {
            true => self.share.try_take(cost),
            false => self.share.try_take_unread(cost),
        };
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
            self.stall.trim();
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
        self.share.release_unread(cost - uncharged);
    }

    /// Keeps from now on only what readers have yet to read.
    pub(super) fn stop_retaining(&mut self) {
        if std::mem::replace(&mut self.retains_all, false) {
            self.share.leave_unread(self.cost - self.uncharged);
        }
    }

    /// Notes which readers are about to read a chunk: they stall until they have.
    pub(super) fn begin_stall(&mut self) {
        let chunks = self.chunks.len();
        let behind = self.readers_at.iter().take(chunks).copied().collect();
        self.stall.begin(behind);
    }

    /// Takes the mark off a reader before the chunk at `index`, which has read it, or leaves. `lost`
    /// is the last marking whose mark it has lost.
    pub(super) fn note_moved(&mut self, index: usize, lost: &mut u32) {
        if self.stall.has(index, *lost) {
            self.stall.remove(index);
        }
        *lost = self.stall.number();
    }

    /// Whether the reader before this chunk was dropped. `lost` is the last marking whose mark it
    /// has lost.
    pub(super) fn has_dropped(&self, next: u64, lost: u32) -> bool {
        next < self.first || self.stall.has_dropped(next, lost)
    }

    /// Drops the readers that have not moved since the stall began.
    pub(super) fn drop_stalled(&mut self) {
        let stalled = self.stall.drop_all(self.first);
        for (at, dropped) in self.readers_at.iter_mut().zip(&stalled) {
            *at -= dropped;
        }
        self.readers -= stalled.iter().sum::<usize>();
    }

    /// Whether the source may push another chunk. Without room in the budget that is one at a time.
    pub(super) fn has_room(&self) -> bool {
        self.chunks.is_empty() || (self.cost < WINDOW && self.uncharged == 0)
    }
}

fn cost_of(chunk: &Bytes) -> u64 {
    chunk.len() as u64 + CHUNK_OVERHEAD
}

/// Wakes tasks. Callers have released the lock before.
pub(super) fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}
