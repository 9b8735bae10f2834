//! A body that many read while it arrives, each at its own pace.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;

/// How many bytes lie between the source and the slowest reader, once the body is not kept whole.
const WINDOW: usize = 256 * 1024;

/// How a body ended.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// As it should, with these trailers.
    Cleanly(Option<HeaderMap>),
    /// With an error, which every reader is told.
    Failed(Arc<dyn Error + Send + Sync>),
}

/// The error of a reader that held up all others for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("read too slowly a response that others were waiting for")
    }
}

impl Error for Stalled {}

/// Whether the source may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It may.
    Free,
    /// Nobody reads, and nothing is kept.
    Nobody,
}

/// The source's end: what it pushes, all readers get.
///
/// While the body is kept whole, readers may join and none holds the source up. Afterwards only what the slowest reader
/// has not had yet is held, and the source waits for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Bytes>,
    /// The number of the first chunk that is held.
    first: u64,
    /// Bytes in `chunks`.
    held: usize,
    ended: Option<Ended>,
    dropping: bool,
    readers: HashMap<u64, Place>,
    next_reader: u64,
    source: Option<Waker>,
}

#[derive(Debug, Default)]
struct Place {
    /// The number of the chunk to read next.
    next: u64,
    waker: Option<Waker>,
    stalled: bool,
    /// Whether trailers or error have been told.
    told: bool,
}

impl State {
    fn last(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    fn slowest(&self) -> Option<u64> {
        let places = self.readers.values().filter(|place| !place.stalled);
        places.map(|place| place.next).min()
    }

    /// Frees what everybody has had, and tells the source if that made room.
    fn trim(&mut self) -> Option<Waker> {
        if !self.dropping {
            return None;
        }
        let keep_from = self.slowest().unwrap_or(self.last());
        while self.first < keep_from
            && let Some(chunk) = self.chunks.pop_front()
        {
            self.first += 1;
            self.held -= chunk.len();
        }
        self.source.take()
    }

    fn wake_readers(&mut self) -> Vec<Waker> {
        let places = self.readers.values_mut();
        places.filter_map(|place| place.waker.take()).collect()
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl Stream {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every step leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reader from the first byte on; `None` once these are gone.
    pub(crate) fn reader(&self) -> Option<Reader> {
        let mut state = self.state();
        if state.dropping {
            return None;
        }
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, Place::default());
        drop(state);
        Some(Reader {
            stream: self.clone(),
            id,
        })
    }

    /// Gives all readers a chunk.
    pub(crate) fn push(&self, chunk: Bytes) {
        let mut state = self.state();
        state.held += chunk.len();
        state.chunks.push_back(chunk);
        let wakers = state.wake_readers();
        drop(state);
        wake(wakers);
    }

    /// Tells all readers that this was all. The first end counts.
    pub(crate) fn end(&self, ended: Ended) {
        let mut state = self.state();
        state.ended.get_or_insert(ended);
        let wakers = state.wake_readers();
        drop(state);
        wake(wakers);
    }

    /// The body is no longer kept whole: nobody can join any more, and what everybody has had is freed.
    pub(crate) fn drop_what_was_read(&self) {
        let mut state = self.state();
        state.dropping = true;
        let source = state.trim();
        drop(state);
        wake(source);
    }

    /// Waits until the source may go on.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Room> {
        let mut state = self.state();
        if !state.dropping {
            return Poll::Ready(Room::Free);
        }
        if state.readers.values().all(|place| place.stalled) {
            return Poll::Ready(Room::Nobody);
        }
        if state.held < WINDOW {
            return Poll::Ready(Room::Free);
        }
        state.source = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until nobody reads any more what is not kept either.
    pub(crate) fn poll_abandoned(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.dropping && state.readers.values().all(|place| place.stalled) {
            return Poll::Ready(());
        }
        state.source = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Gives up the readers that hold up the source: they are told an error.
    pub(crate) fn give_up_slowest(&self) {
        let mut state = self.state();
        let Some(slowest) = state.slowest() else {
            return;
        };
        for place in state.readers.values_mut() {
            place.stalled |= place.next == slowest;
        }
        let source = state.trim();
        let wakers = state.wake_readers();
        drop(state);
        wake(wakers.into_iter().chain(source));
    }
}

/// One reader's place in a [`Stream`]. Dropping it is leaving.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: Stream,
    id: u64,
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
        let mut guard = self.stream.state();
        let state = &mut *guard;
        let Some(place) = state.readers.get_mut(&self.id) else {
            unreachable!("a reader has a place until it is dropped");
        };
        if place.stalled {
            return Poll::Ready(Err(Stalled));
        }
        if let Some(chunk) = state.chunks.get((place.next - state.first) as usize) {
            let chunk = chunk.clone();
            place.next += 1;
            let source = state.trim();
            drop(guard);
            wake(source);
            return Poll::Ready(Ok(Read::Data(chunk)));
        }
        if let Some(ended) = &state.ended {
            let is_told = std::mem::replace(&mut place.told, true);
            return Poll::Ready(Ok(match ended {
                Ended::Cleanly(Some(trailers)) if !is_told => Read::Trailers(trailers.clone()),
                Ended::Failed(error) if !is_told => Read::Failed(error.clone()),
                Ended::Cleanly(_) | Ended::Failed(_) => Read::End,
            }));
        }
        place.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether there is nothing left to read.
    pub(crate) fn is_at_end(&self) -> bool {
        let state = self.stream.state();
        let at_last = state
            .readers
            .get(&self.id)
            .is_some_and(|place| !place.stalled && place.next == state.last());
        at_last && matches!(state.ended, Some(Ended::Cleanly(None)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.stream.state();
        let left = state.readers.remove(&self.id);
        let source = state.trim();
        drop(state);
        drop(left);
        wake(source);
    }
}
