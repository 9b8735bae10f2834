//! Reading a [`Stream`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;

use super::stream::{Ended, Stream, wake};

/// The error of a reader that held up all others for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("read too slowly a response that others were waiting for")
    }
}

impl Error for Stalled {}

/// One reader's place in a [`Stream`]. Dropping it is leaving.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(super) stream: Stream,
    pub(super) id: u64,
    /// The number of the chunk to read next.
    pub(super) next: u64,
    /// Whether trailers or error have been told.
    pub(super) told: bool,
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) enum Read {
    /// A chunk.
    Data(Bytes),
    /// The trailers, behind the last chunk.
    Trailers(HeaderMap),
    /// Nothing more.
    End,
    /// Nothing more, for this reason.
    Failed(Arc<dyn Error + Send + Sync>),
}

impl Reader {
    /// The next chunk, or the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Read, Stalled>> {
        let mut state = self.stream.state();
        let Some(place) = self.next.checked_sub(state.first) else {
            return Poll::Ready(Err(Stalled));
        };
        let place = place as usize;
        if let Some(chunk) = state.chunks.get(place) {
            let chunk = chunk.clone();
            state.wanted[place] -= 1;
            state.wanted[place + 1] += 1;
            self.next += 1;
            let source = state.trim();
            drop(state);
            wake(source);
            return Poll::Ready(Ok(Read::Data(chunk)));
        }
        if let Some(ended) = &state.ended {
            let is_told = std::mem::replace(&mut self.told, true);
            return Poll::Ready(Ok(match ended {
                Ended::Cleanly(Some(trailers)) if !is_told => Read::Trailers(trailers.clone()),
                Ended::Failed(error) if !is_told => Read::Failed(error.clone()),
                Ended::Cleanly(_) | Ended::Failed(_) => Read::End,
            }));
        }
        let replaced = state.waiting.insert(self.id, cx.waker().clone());
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// Whether there is nothing left to read.
    pub(crate) fn is_at_end(&self) -> bool {
        let state = self.stream.state();
        self.next == state.last() && matches!(state.ended, Some(Ended::Cleanly(None)))
    }

    /// Whether the body failed before anything of it was read.
    pub(crate) fn is_broken(&self) -> bool {
        self.next == 0 && matches!(self.stream.state().ended, Some(Ended::Failed(_)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.stream.state();
        if let Some(readers) = state.readers_at(self.next) {
            *readers -= 1;
            state.readers -= 1;
        }
        let waker = state.waiting.remove(&self.id);
        let source = state.trim();
        drop(state);
        drop(waker);
        wake(source);
    }
}
