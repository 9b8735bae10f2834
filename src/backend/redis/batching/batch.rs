//! The queue of lookups that have not been sent yet.
//!
//! Knows no connection, and not who takes batches off it: see `permit.rs`. Start with
//! [`QueueState::add`].

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::pending::{BatchLookupResult, PendingLookup};
use super::promises::Promise;
use super::sizes::{ReplySize, ReplySizes};
use super::window::{ReplyWindow, SentBatch};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;

/// The most keys in one batch.
const MAX_KEYS: usize = 32;
/// The size of a batch's reply to aim at: no lookup gets its part before all of it has arrived.
pub(super) const MAX_REPLY_BYTES: usize = 128 * 1024;
/// How far apart the moments of two lookups may be for them to share a reply. The age of a response
/// may be wrong by as much.
const MAX_MOMENT_DISTANCE: Duration = Duration::from_millis(100);
/// How long a batch waits for those in flight. Over a slow network it would wait for nearly a round
/// trip more, with nothing gained.
pub(super) const MAX_WAIT: Duration = Duration::from_millis(1);

/// Lookups that are sent in one command.
pub(crate) type LookupBatch = Vec<PendingLookup>;

/// The batches that wait, and those in flight.
#[derive(Debug)]
pub(crate) struct LookupQueue(Mutex<QueueState>);

#[derive(Debug)]
pub(super) struct QueueState {
    pub(super) batches: VecDeque<WaitingBatch>,
    pub(super) window: ReplyWindow,
    /// The tasks that are about to take a batch. There are no more than connections.
    pub(super) promises: Vec<Promise>,
    /// Whether a task watches that no batch waits for too long.
    pub(super) is_watched: bool,
    pub(super) sizes: ReplySizes,
}

#[derive(Debug)]
pub(super) struct WaitingBatch {
    pub(super) lookups: LookupBatch,
    pub(super) size: ReplySize,
    /// Since when it waits; `None` if a task takes it at once.
    since: Option<Instant>,
}

impl LookupQueue {
    /// Creates a queue for so many connections.
    pub(crate) fn new(connections: usize) -> Self {
        Self(Mutex::new(QueueState {
            batches: VecDeque::new(),
            window: ReplyWindow::new(connections),
            promises: Vec::new(),
            is_watched: false,
            sizes: ReplySizes::new(),
        }))
    }

    /// Records the sizes of the values in the reply to a batch: lease, entry and perhaps variant of
    /// each.
    pub(crate) fn record_sizes(&self, batch: &LookupBatch, values: &[Option<Vec<u8>>]) {
        let mut state = self.state();
        let mut sizes = values
            .iter()
            .map(|value| value.as_ref().map_or(0, Vec::len));
        for pending in batch {
            let entry = sizes.nth(1).unwrap_or_default();
            state.sizes.record(&pending.key, entry);
            if let Some(variant) = &pending.variant {
                state
                    .sizes
                    .record(variant, sizes.next().unwrap_or_default());
            }
        }
    }

    /// Records the size of an entry that was stored.
    pub(crate) fn record_stored(&self, key: &CacheKey, bytes: usize) {
        self.state().sizes.record(key, bytes);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, QueueState> {
        // No panic can leave the state half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    /// Adds a lookup to a batch that waits. Returns where its result arrives.
    pub(super) fn add(
        &mut self,
        key: &CacheKey,
        variant: Option<&CacheKey>,
        now: Moment,
    ) -> oneshot::Receiver<BatchLookupResult> {
        let is_near = |other: Moment| other.since(now).max(now.since(other)) <= MAX_MOMENT_DISTANCE;
        // None of these has been sent. A long queue is not searched to its end.
        let last = self.batches.iter_mut().rev().take(MAX_KEYS);
        let mut pending = last.flat_map(|batch| &mut batch.lookups);
        let equal = |pending: &&mut PendingLookup| {
            pending.key == *key && pending.variant.as_ref() == variant && is_near(pending.now)
        };
        if let Some(pending) = pending.find(equal) {
            return pending.add_caller();
        }
        let keys = [Some(key), variant].into_iter().flatten();
        let size = keys.map(|key| self.sizes.expected(key)).sum::<ReplySize>();
        let (pending, result) = PendingLookup::new(key, variant, now);
        match self.batches.back_mut() {
            Some(batch)
                if batch.lookups.len() < MAX_KEYS
                    && batch.size.most + size.most <= MAX_REPLY_BYTES =>
            {
                batch.lookups.push(pending);
                batch.size = batch.size + size;
            }
            _ => self.batches.push_back(WaitingBatch {
                lookups: vec![pending],
                size,
                since: None,
            }),
        }
        result
    }

    /// Notes that the last batch waits.
    pub(super) fn note_waiting(&mut self, now: Instant) {
        if let Some(last) = self.batches.back_mut() {
            last.since.get_or_insert(now);
        }
    }

    /// Returns how long the first batch has waited; `None` if there is none.
    pub(super) fn first_wait(&mut self, now: Instant) -> Option<Duration> {
        let since = self.batches.front_mut()?.since.get_or_insert(now);
        Some(now.saturating_duration_since(*since))
    }

    /// Whether the next batch has waited long enough to be sent beside those in flight.
    pub(super) fn may_overlap(&mut self, now: Instant) -> bool {
        let has_waited = self.first_wait(now).is_some_and(|wait| wait >= MAX_WAIT);
        let first = self.batches.front();
        has_waited && first.is_some_and(|batch| self.window.has_room(batch.size.mean))
    }

    /// Takes the next batch to be in flight, without lookups that were cancelled. With a time, only
    /// one that may be sent beside those in flight.
    pub(super) fn start_batch(&mut self, now: Option<Instant>) -> Option<(LookupBatch, SentBatch)> {
        loop {
            // Of each anew: one that was cancelled may have been the only one that has room.
            if now.is_some_and(|now| !self.may_overlap(now)) {
                return None;
            }
            let mut batch = self.batches.pop_front()?;
            batch.lookups.retain(PendingLookup::is_wanted);
            if !batch.lookups.is_empty() {
                return Some((batch.lookups, self.window.begin(batch.size.mean, now)));
            }
        }
    }

    /// Returns the bytes that are expected in reply to the first batch.
    pub(super) fn first_bytes(&self) -> usize {
        self.batches.front().map_or(0, |batch| batch.size.mean)
    }
}
