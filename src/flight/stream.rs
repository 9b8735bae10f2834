//! A body that many read while it arrives, each at its own pace.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;

use super::budget::Share;
use super::reader::Reader;
use crate::semantics::stored::Companion;

/// How many bytes lie between the source and the slowest reader, once the body is not kept whole.
const WINDOW: u64 = 256 * 1024;
/// What a chunk costs beyond its bytes: its place, its buffer's reference count, the allocator's header.
const PER_CHUNK: u64 = 96;

/// How a body ended.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    /// As it should, with these trailers.
    Cleanly(Option<HeaderMap>),
    /// With an error, which every reader is told.
    Failed(Arc<dyn Error + Send + Sync>),
}

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
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) chunks: VecDeque<Bytes>,
    /// The number of the first chunk that is held. A reader whose next one is before it was given up.
    pub(super) first: u64,
    /// How many readers want each of the chunks held next, and how many the one that is to come.
    pub(super) wanted: VecDeque<usize>,
    /// What `chunks` costs.
    held: u64,
    share: Arc<Share>,
    /// What of `held` the budget had no room for.
    uncounted: u64,
    pub(super) ended: Option<Ended>,
    /// Told of the stored response that shares the bytes, and whether that is gone.
    as_companion: Option<Arc<Readers>>,
    is_copy_gone: bool,
    dropping: bool,
    pub(super) readers: usize,
    next_reader: u64,
    pub(super) waiting: BTreeMap<u64, Waker>,
    source: Option<Waker>,
}

fn cost(chunk: &Bytes) -> u64 {
    chunk.len() as u64 + PER_CHUNK
}

impl State {
    pub(super) fn last(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    pub(super) fn readers_at(&mut self, number: u64) -> Option<&mut usize> {
        let place = number.checked_sub(self.first)?;
        self.wanted.get_mut(place as usize)
    }

    /// Frees what everybody has had. Whom to wake if that made room.
    pub(super) fn trim(&mut self) -> Option<Waker> {
        if !self.dropping {
            return None;
        }
        while self.wanted.front() == Some(&0)
            && let Some(chunk) = self.chunks.pop_front()
        {
            self.wanted.pop_front();
            self.first += 1;
            self.release(cost(&chunk));
        }
        let has_room = self.has_room() || self.readers == 0;
        if has_room { self.source.take() } else { None }
    }

    fn release(&mut self, cost: u64) {
        let uncounted = cost.min(self.uncounted);
        self.uncounted -= uncounted;
        self.held -= cost;
        self.share.give_back(cost - uncounted);
    }

    /// One chunk at a time where the budget is used up.
    fn has_room(&self) -> bool {
        self.chunks.is_empty() || (self.held < WINDOW && self.uncounted == 0)
    }
}

pub(super) fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

impl Stream {
    /// A body of which nothing has arrived; what it holds is taken from a share.
    pub(crate) fn new(share: Share) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                chunks: VecDeque::new(),
                first: 0,
                wanted: VecDeque::from([0]),
                held: 0,
                share: Arc::new(share),
                uncounted: 0,
                ended: None,
                as_companion: None,
                is_copy_gone: false,
                dropping: false,
                readers: 0,
                next_reader: 0,
                waiting: BTreeMap::new(),
                source: None,
            })),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Every step leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The share that counts what is held.
    pub(crate) fn share(&self) -> Arc<Share> {
        self.state().share.clone()
    }

    /// A reader from the first byte on; `None` once these are gone, or the body has failed.
    pub(crate) fn reader(&self) -> Option<Reader> {
        let mut state = self.state();
        if state.dropping || matches!(state.ended, Some(Ended::Failed(_))) {
            return None;
        }
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers += 1;
        *state.readers_at(0)? += 1;
        drop(state);
        Some(Reader {
            stream: self.clone(),
            id,
            next: 0,
            told: false,
        })
    }

    /// Gives all readers a chunk; whether the budget had room for it.
    pub(crate) fn push(&self, chunk: Bytes) -> bool {
        let mut state = self.state();
        let cost = cost(&chunk);
        let has_room = state.share.take(cost);
        if !has_room {
            state.uncounted += cost;
        }
        state.held += cost;
        state.chunks.push_back(chunk);
        state.wanted.push_back(0);
        let wakers = std::mem::take(&mut state.waiting);
        drop(state);
        wake(wakers.into_values());
        has_room
    }

    /// Lets all readers read on in `whole`, which is all that was pushed, in one piece.
    pub(crate) fn read_from(&self, whole: &Bytes) {
        let mut state = self.state();
        if state.dropping {
            return;
        }
        let mut rest = whole.clone();
        let slices = state.chunks.iter().map(|chunk| {
            let length = chunk.len().min(rest.len());
            rest.split_to(length)
        });
        let slices = slices.collect();
        let replaced = std::mem::replace(&mut state.chunks, slices);
        drop(state);
        drop(replaced);
    }

    /// Who is to be told when a stored response that shares the bytes is gone.
    pub(crate) fn companion(&self) -> Arc<Readers> {
        let stream = Mutex::new(Arc::downgrade(&self.state));
        let companion = Arc::new(Readers(stream));
        self.state().as_companion = Some(companion.clone());
        companion
    }

    /// A backend keeps the same bytes, and counts them: readers cost nothing more, like those of a hit.
    pub(crate) fn is_stored(&self) {
        let mut state = self.state();
        if !state.is_copy_gone {
            state.share.give_back(state.held - state.uncounted);
            state.uncounted = state.held;
        }
    }

    /// Tells all readers that this was all. The first end counts.
    pub(crate) fn end(&self, ended: Ended) {
        let mut state = self.state();
        state.ended.get_or_insert(ended);
        let wakers = std::mem::take(&mut state.waiting);
        drop(state);
        wake(wakers.into_values());
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
        if state.readers == 0 {
            return Poll::Ready(Room::Nobody);
        }
        if state.has_room() {
            return Poll::Ready(Room::Free);
        }
        let replaced = state.source.replace(cx.waker().clone());
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// Waits until nobody reads any more what is not kept either.
    pub(crate) fn poll_abandoned(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.dropping && state.readers == 0 {
            return Poll::Ready(());
        }
        let replaced = state.source.replace(cx.waker().clone());
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// Gives up the readers that hold up the source, if others have read everything and wait: they are told an error.
    pub(crate) fn give_up_slowest(&self) {
        let mut state = self.state();
        let someone_waits = state.wanted.back().is_some_and(|readers| *readers > 0);
        if !state.dropping || !someone_waits || state.chunks.is_empty() {
            return;
        }
        let slowest = std::mem::take(&mut state.wanted[0]);
        state.readers -= slowest;
        let source = state.trim();
        let wakers = std::mem::take(&mut state.waiting);
        drop(state);
        wake(wakers.into_values().chain(source));
    }
}

/// Between a stored response and those who still read the same bytes; neither keeps the other.
#[derive(Debug)]
pub(crate) struct Readers(Mutex<Weak<Mutex<State>>>);

impl Readers {
    fn take(&self) -> Weak<Mutex<State>> {
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *stream)
    }
}

impl Companion for Readers {
    /// From now on what they have yet to read is theirs alone, and counts again.
    fn is_left(&self) {
        let Some(state) = self.take().upgrade() else {
            return;
        };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_copy_gone = true;
        let uncounted = std::mem::take(&mut state.uncounted);
        state.share.take_anyway(uncounted);
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(readers) = &self.as_companion {
            drop(readers.take());
        }
    }
}
