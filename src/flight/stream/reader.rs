//! The reading end of a body stream.

use std::error::Error;
use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;

use crate::error::SharedError;

use super::buffer::{BodyEnd, SharedBuffer, wake};

/// The error of a reader that was dropped because it had stopped while memory ran short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReaderTooSlow;

impl fmt::Display for ReaderTooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response was read too slowly, and memory for such responses ran short")
    }
}

impl Error for ReaderTooSlow {}

/// One reader's position in a [`BodyStream`](super::BodyStream). Dropping it leaves the stream:
/// chunks are not kept for it any more, and the source does not wait for it.
#[derive(Debug)]
pub(crate) struct BodyReader {
    buffer: SharedBuffer,
    id: u64,
    /// The number of the chunk to read next.
    next: u64,
    /// The last stall that it was not there for, or has read in.
    lost: u32,
    /// Whether the trailers or the error have been returned.
    has_end: bool,
    /// Whether all content had arrived when this reader joined.
    joined_whole: bool,
}

/// The next piece of a body.
#[derive(Debug)]
pub(crate) enum BodyEvent {
    /// A chunk; never empty.
    Data(Bytes),
    /// The trailers, after the last chunk.
    Trailers(HeaderMap),
    /// The end. Returned again at each further poll.
    End,
    /// The body broke off with this error. Returned once, then [`End`](Self::End).
    Failed(SharedError),
}

impl BodyReader {
    /// A reader at the first chunk; `None` if that has been freed, or if the body has failed.
    pub(super) fn new(buffer: SharedBuffer) -> Option<Self> {
        let mut state = buffer.lock();
        if !state.retains_all || matches!(state.end, Some(BodyEnd::Failed(_))) {
            return None;
        }
        let id = state.next_reader_id;
        state.next_reader_id += 1;
        state.readers += 1;
        *state.readers_at(0)? += 1;
        let joined_whole = state.is_whole();
        let lost = state.stall.number();
        drop(state);
        Some(Self {
            buffer,
            id,
            next: 0,
            lost,
            has_end: false,
            joined_whole,
        })
    }

    /// Waits for the next chunk or the end. Only the task that polled last is woken.
    ///
    /// # Errors
    ///
    /// If the reader was dropped from the stream, see
    /// [`drop_stalled_readers`](super::BodyStream::drop_stalled_readers).
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyEvent, ReaderTooSlow>> {
        let mut buffer = self.buffer.lock();
        if buffer.has_dropped(self.next, self.lost) {
            return Poll::Ready(Err(ReaderTooSlow));
        }
        let index = (self.next - buffer.first) as usize;
        if let Some(chunk) = buffer.chunks.get(index) {
            let chunk = chunk.clone();
            buffer.readers_at[index] -= 1;
            buffer.readers_at[index + 1] += 1;
            self.next += 1;
            buffer.note_moved(index, &mut self.lost);
            let source = buffer.trim();
            drop(buffer);
            wake(source);
            return Poll::Ready(Ok(BodyEvent::Data(chunk)));
        }
        if let Some(end) = &buffer.end {
            let had_end = std::mem::replace(&mut self.has_end, true);
            return Poll::Ready(Ok(match end {
                BodyEnd::Complete(Some(trailers)) if !had_end => {
                    BodyEvent::Trailers(trailers.clone())
                }
                BodyEnd::Failed(error) if !had_end => BodyEvent::Failed(error.clone()),
                BodyEnd::Complete(_) | BodyEnd::Failed(_) => BodyEvent::End,
            }));
        }
        let replaced = buffer.reader_wakers.insert(self.id, cx.waker().clone());
        drop(buffer);
        // Wakers run foreign code when they are dropped: never under the lock.
        drop(replaced);
        Poll::Pending
    }

    /// Whether all bytes have been read and no trailers or error follow.
    pub(crate) fn is_at_end(&self) -> bool {
        let buffer = self.buffer.lock();
        self.next == buffer.next_chunk() && matches!(buffer.end, Some(BodyEnd::Complete(None)))
    }

    /// Whether all content had arrived when this reader joined: it never waits for the source.
    pub(crate) fn has_joined_whole(&self) -> bool {
        self.joined_whole
    }

    /// Whether the body has failed before the first chunk was read.
    pub(crate) fn is_broken(&self) -> bool {
        self.next == 0 && matches!(self.buffer.lock().end, Some(BodyEnd::Failed(_)))
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        let mut buffer = self.buffer.lock();
        // One that was too slow was subtracted then.
        if !buffer.has_dropped(self.next, self.lost) {
            let index = (self.next - buffer.first) as usize;
            buffer.readers_at[index] -= 1;
            buffer.readers -= 1;
            buffer.note_moved(index, &mut self.lost);
        }
        let own = buffer.reader_wakers.remove(&self.id);
        let source = buffer.trim();
        drop(buffer);
        drop(own);
        wake(source);
    }
}
