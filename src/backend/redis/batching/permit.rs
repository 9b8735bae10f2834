//! Who takes batches off the queue, and when.
//!
//! A [`BatchPermit`] is for one batch in flight after the other, a [`QueueWatch`] for those that
//! have waited for too long. Knows no connection. Start with [`LookupQueue::add`].

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::batch::{LookupBatch, LookupQueue, MAX_WAIT, QueueState};
use super::pending::BatchLookupResult;
use super::promises::{Promise, SenderThread};
use super::window::SentBatch;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;

/// What the caller of [`LookupQueue::add`] has to do.
pub(crate) enum AfterAdding {
    /// Send batches, from a task that starts with the next one.
    Send(BatchPermit),
    /// Watch the queue, see [`QueueWatch::next`].
    Watch(QueueWatch),
    Wait,
}

impl LookupQueue {
    /// Adds a lookup. Returns where its result arrives, and what to do for that. `thread` is the
    /// one that a new task of the caller will run on.
    pub(crate) fn add(
        self: &Arc<Self>,
        key: &CacheKey,
        variant: Option<&CacheKey>,
        now: Moment,
        thread: SenderThread,
    ) -> (oneshot::Receiver<BatchLookupResult>, AfterAdding) {
        let mut state = self.state();
        let result = state.add(key, variant, now);
        (result, state.next_step(self, thread, now))
    }
}

impl QueueState {
    /// Returns what the caller that has added a lookup has to do.
    fn next_step(
        &mut self,
        queue: &Arc<LookupQueue>,
        thread: SenderThread,
        now: Moment,
    ) -> AfterAdding {
        if self.is_promised(thread, now) {
            return AfterAdding::Wait;
        }
        // No clock is read for one that is sent at once.
        if self.window.has_idle_connection() {
            return AfterAdding::Send(BatchPermit::promised(queue, self, thread, now));
        }
        let time = Instant::now();
        self.note_waiting(time);
        match self.start_batch(Some(time)) {
            Some(started) => AfterAdding::Send(BatchPermit::taken(queue, thread, started)),
            None if mem::replace(&mut self.is_watched, true) => AfterAdding::Wait,
            None => AfterAdding::Watch(QueueWatch::new(queue)),
        }
    }

    /// Whether a task takes each of the batches that is about to run on this thread. One that does
    /// not run soon is none.
    fn is_promised(&self, thread: SenderThread, now: Moment) -> bool {
        let is_near = |promise: &&Promise| {
            promise.thread.is_same(thread) && now.monotonic_since(promise.at) < MAX_WAIT
        };
        self.batches.len() <= self.promises.iter().filter(is_near).count()
    }
}

/// The permission to have one batch in flight.
pub(crate) struct BatchPermit {
    queue: Arc<LookupQueue>,
    thread: SenderThread,
    phase: PermitPhase,
}

enum PermitPhase {
    /// The first batch is taken when its task runs, so that lookups can join it until then.
    Promised(SentBatch),
    /// The first batch has waited for long enough.
    Taken(LookupBatch, SentBatch),
    InFlight(SentBatch),
    Released,
}

impl BatchPermit {
    /// Creates one whose first batch is still to be taken.
    pub(super) fn promised(
        queue: &Arc<LookupQueue>,
        state: &mut QueueState,
        thread: SenderThread,
        at: Moment,
    ) -> Self {
        state.promises.push(Promise { thread, at });
        let flight = state.window.reserve(state.first_bytes());
        Self::new(queue, thread, PermitPhase::Promised(flight))
    }

    /// Creates one for a batch that was taken.
    pub(super) fn taken(
        queue: &Arc<LookupQueue>,
        thread: SenderThread,
        (batch, flight): (LookupBatch, SentBatch),
    ) -> Self {
        Self::new(queue, thread, PermitPhase::Taken(batch, flight))
    }

    fn new(queue: &Arc<LookupQueue>, thread: SenderThread, phase: PermitPhase) -> Self {
        Self {
            queue: queue.clone(),
            thread,
            phase,
        }
    }

    /// Ends the batch in flight, if there is one, and takes the next one; or releases the permit if
    /// there is none, or if all connections are in use without it.
    ///
    /// Both happen under one lock: a lookup that is added after it finds the permit free.
    pub(crate) fn next_batch(&mut self, is_answered: bool) -> Option<LookupBatch> {
        let mut state = self.queue.state();
        let next = match mem::replace(&mut self.phase, PermitPhase::Released) {
            PermitPhase::Taken(batch, flight) => Some((batch, flight)),
            PermitPhase::Promised(flight) => {
                state.end_promise(self.thread, &flight);
                state.start_batch(None)
            }
            PermitPhase::InFlight(flight) => {
                state.window.end(&flight, is_answered);
                state.start_next(self.thread)
            }
            PermitPhase::Released => None,
        };
        drop(state);
        let (batch, flight) = next?;
        self.phase = PermitPhase::InFlight(flight);
        Some(batch)
    }
}

impl QueueState {
    fn end_promise(&mut self, thread: SenderThread, flight: &SentBatch) {
        let mut promises = self.promises.iter();
        let is_equal = |promise: &Promise| promise.thread == thread;
        if let Some(index) = promises.position(is_equal) {
            self.promises.remove(index);
        }
        self.window.end(flight, false);
    }

    /// Takes the batch that follows one in flight. Those that tasks of this thread are about to
    /// take are left to them: more lookups may join these until then.
    fn start_next(&mut self, thread: SenderThread) -> Option<(LookupBatch, SentBatch)> {
        let is_own = |promise: &Promise| promise.thread.is_same(thread);
        if self.batches.len() <= self.promises.iter().filter(|it| is_own(it)).count() {
            return None;
        }
        let now = (!self.window.has_idle_connection()).then(Instant::now);
        self.start_batch(now)
    }
}

impl Drop for BatchPermit {
    fn drop(&mut self) {
        let phase = mem::replace(&mut self.phase, PermitPhase::Released);
        if let PermitPhase::Released = phase {
            return;
        }
        // The sending task panicked, or its runtime was shut down. The lookups that wait behind it
        // fail instead of waiting for ever.
        let mut state = self.queue.state();
        match &phase {
            PermitPhase::Promised(flight) => state.end_promise(self.thread, flight),
            PermitPhase::Taken(_, flight) | PermitPhase::InFlight(flight) => {
                state.window.end(flight, false)
            }
            PermitPhase::Released => {}
        }
        let abandoned = mem::take(&mut state.batches);
        drop(state);
        drop((phase, abandoned));
    }
}

/// The task of a queue to send batches that have waited, until none waits.
pub(crate) struct QueueWatch(Option<Arc<LookupQueue>>);

impl QueueWatch {
    pub(super) fn new(queue: &Arc<LookupQueue>) -> Self {
        Self(Some(queue.clone()))
    }

    /// Returns the permission to send a batch that has waited for long enough, or how long to wait
    /// for one; `None` at the end of the watch.
    pub(crate) fn next(&mut self) -> Option<Result<BatchPermit, Duration>> {
        let queue = self.0.as_ref()?;
        let (mut state, now) = (queue.state(), Instant::now());
        if let Some(started) = state.start_batch(Some(now)) {
            let thread = SenderThread::unknown();
            return Some(Ok(BatchPermit::taken(queue, thread, started)));
        }
        if let Some(waited) = state.first_wait(now) {
            // Where too much is in flight, one that is answered goes on with it.
            let wait = MAX_WAIT.saturating_sub(waited);
            return Some(Err(if wait.is_zero() { MAX_WAIT } else { wait }));
        }
        // Under one lock: a lookup that is added after it finds that nothing is watched.
        state.is_watched = false;
        drop(state);
        self.0 = None;
        None
    }
}

impl Drop for QueueWatch {
    fn drop(&mut self) {
        // Its runtime was shut down.
        if let Some(queue) = &self.0 {
            queue.state().is_watched = false;
        }
    }
}
