//! A body that its client reads while it arrives, and others once it is whole, each at its own
//! pace.
//!
//! Knows bytes and the budget, not requests or responses. `mod` is the source's end, `reader` the
//! readers', `buffer` what lies between. Start at [`BodyStream`].

mod buffer;
mod marks;
mod reader;

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

pub(crate) use self::buffer::BodyEnd;
use self::buffer::{SharedBuffer, wake};
pub(crate) use self::reader::{BodyEvent, BodyReader};
use super::budget::BudgetShare;

/// Whether the source may push the next chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capacity {
    /// It may.
    Available,
    /// There is no reader left and the body is not kept: the rest of it is of no use.
    NoReaders,
}

/// The source's end of a body: each chunk that is pushed reaches all readers.
///
/// A stream starts out keeping the body whole: readers may join, and the source waits for none.
/// After [`stop_retaining`](Self::stop_retaining) only the chunks that the slowest reader has yet
/// to read are kept, and the source waits for that reader. Clones are handles of the same stream.
#[derive(Clone, Debug)]
pub(crate) struct BodyStream(SharedBuffer);

impl BodyStream {
    /// An empty stream. The cost of its chunks is charged to the share.
    pub(crate) fn new(share: BudgetShare) -> Self {
        Self(SharedBuffer::new(share))
    }

    /// The share that the chunks are charged to.
    pub(crate) fn share(&self) -> Arc<BudgetShare> {
        self.0.lock().share.clone()
    }

    /// A reader at the first byte; `None` once the body is not kept whole, or has failed.
    pub(crate) fn reader(&self) -> Option<BodyReader> {
        BodyReader::new(self.0.clone())
    }

    /// Notes the announced length of the body, in bytes.
    pub(crate) fn announce_length(&self, length: Option<u64>) {
        self.0.lock().announced = length;
    }

    /// Adds a chunk for all readers. Returns whether the budget had room for it; readers get it in
    /// any case.
    pub(crate) fn push(&self, chunk: Bytes) -> bool {
        let mut buffer = self.0.lock();
        let is_charged = buffer.push(chunk);
        let readers = std::mem::take(&mut buffer.reader_wakers);
        drop(buffer);
        wake(readers.into_values());
        is_charged
    }

    /// Whether all bytes have arrived.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.lock().is_whole()
    }

    /// Whether as many bytes have arrived as were announced, if any were.
    pub(crate) fn has_announced_length(&self) -> bool {
        let buffer = self.0.lock();
        buffer
            .announced
            .is_none_or(|length| length == buffer.received)
    }

    /// Whether any of the body, or its end, has arrived.
    pub(crate) fn has_begun(&self) -> bool {
        let buffer = self.0.lock();
        buffer.received > 0 || buffer.is_whole()
    }

    /// Replaces the chunks by slices of `whole`, which holds the same bytes in one buffer: slow
    /// readers then share the memory of the stored response.
    pub(crate) fn replace_chunks(&self, whole: &Bytes) {
        let mut buffer = self.0.lock();
        if !buffer.retains_all {
            return;
        }
        let mut rest = whole.clone();
        let slices = buffer.chunks.iter().map(|chunk| {
            let length = chunk.len().min(rest.len());
            rest.split_to(length)
        });
        let slices = slices.collect();
        let replaced = std::mem::replace(&mut buffer.chunks, slices);
        drop(buffer);
        drop(replaced);
    }

    /// Stops charging the chunks to the budget, since the backend has stored the same bytes and
    /// counts them.
    ///
    /// Called before [`stop_retaining`](Self::stop_retaining).
    pub(crate) fn mark_stored(&self) {
        let mut buffer = self.0.lock();
        buffer.share.release(buffer.cost - buffer.uncharged);
        buffer.uncharged = buffer.cost;
        buffer.is_stored = true;
    }

    /// Ends the body for all readers. Only the first end counts.
    pub(crate) fn end(&self, end: BodyEnd) {
        let mut buffer = self.0.lock();
        buffer.end.get_or_insert(end);
        let readers = std::mem::take(&mut buffer.reader_wakers);
        drop(buffer);
        wake(readers.into_values());
    }

    /// Stops keeping the body whole: no reader can join any more, and what all have read is freed.
    ///
    /// Called once the body is stored, or will not be.
    pub(crate) fn stop_retaining(&self) {
        let mut buffer = self.0.lock();
        buffer.stop_retaining();
        let source = buffer.trim();
        drop(buffer);
        wake(source);
    }

    /// Waits until the source may push the next chunk. One task at a time can wait.
    pub(crate) fn poll_capacity(&self, cx: &mut Context<'_>) -> Poll<Capacity> {
        let mut buffer = self.0.lock();
        if buffer.retains_all {
            return Poll::Ready(Capacity::Available);
        }
        if buffer.readers == 0 {
            return Poll::Ready(Capacity::NoReaders);
        }
        if buffer.has_room() {
            return Poll::Ready(Capacity::Available);
        }
        let replaced = buffer.source_waker.replace(cx.waker().clone());
        drop(buffer);
        drop(replaced);
        Poll::Pending
    }

    /// Waits until the body is not kept whole and has no reader left. One task at a time can wait.
    pub(crate) fn poll_abandoned(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut buffer = self.0.lock();
        if !buffer.retains_all && buffer.readers == 0 {
            return Poll::Ready(());
        }
        let replaced = buffer.source_waker.replace(cx.waker().clone());
        drop(buffer);
        drop(replaced);
        Poll::Pending
    }

    /// Whether readers have yet to read bytes that are not stored, and these crowd out those of
    /// others. Bytes left from before fit into their half of the limit.
    pub(crate) fn is_crowding(&self) -> bool {
        let buffer = self.0.lock();
        let is_unread = !buffer.retains_all && !buffer.is_stored && buffer.readers > 0;
        is_unread && !buffer.chunks.is_empty() && buffer.share.is_crowded()
    }

    /// Waits until all readers have read everything so far, or have left. One task at a time can
    /// wait.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut buffer = self.0.lock();
        if buffer.readers == 0 || buffer.chunks.is_empty() {
            return Poll::Ready(());
        }
        let replaced = buffer.source_waker.replace(cx.waker().clone());
        drop(buffer);
        drop(replaced);
        Poll::Pending
    }

    /// Notes which readers have bytes to read, because the source waits for them: they stall until
    /// they have read one chunk.
    pub(crate) fn begin_stall(&self) {
        self.0.lock().begin_stall();
    }

    /// Drops the readers that have not moved since the stall began, wherever they are, if the bytes
    /// for readers alone crowd out those of others. The dropped ones get an error at their next poll.
    ///
    /// Called when the source has waited for readers for too long.
    pub(crate) fn drop_stalled_readers(&self) {
        let mut buffer = self.0.lock();
        if buffer.retains_all || !buffer.share.is_crowded() {
            return;
        }
        buffer.drop_stalled();
        let source = buffer.trim();
        let readers = std::mem::take(&mut buffer.reader_wakers);
        drop(buffer);
        wake(readers.into_values().chain(source));
    }
}
