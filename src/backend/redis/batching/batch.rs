//! The queue of lookups that have not been sent yet.
//!
//! Knows no connection. Start with [`LookupQueue::add`].

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::reply::LookupReply;
use crate::backend::redis::connection::CommandError;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;

/// The most keys in one batch.
const MAX_KEYS: usize = 32;
/// The size of a batch's reply to aim at: no lookup gets its part before all of it has arrived.
const MAX_REPLY_BYTES: usize = 128 * 1024;
/// How far apart the moments of two lookups may be for them to share a reply. The age of a response
/// may be wrong by as much.
const MAX_MOMENT_DISTANCE: Duration = Duration::from_millis(100);
/// How long a batch waits for those in flight. Over a slow network it would wait for nearly a round
/// trip more, with nothing gained.
const MAX_WAIT: Duration = Duration::from_millis(1);
/// How many times the usual number of batches may be in flight for that reason.
const MAX_OVERLAP: usize = 4;

pub(crate) type BatchLookupResult = Result<LookupReply, CommandError>;

/// Lookups that are sent in one command.
pub(crate) type LookupBatch = Vec<PendingLookup>;

/// A key to look up, and the callers that wait for it.
#[derive(Debug)]
pub(crate) struct PendingLookup {
    pub(crate) key: CacheKey,
    /// A variant of the key, to be looked up in the same step.
    pub(crate) variant: Option<CacheKey>,
    pub(crate) now: Moment,
    waiters: Vec<oneshot::Sender<BatchLookupResult>>,
}

impl PendingLookup {
    /// The number of values that a reply has for it: lease, entry, the variant's entry.
    pub(crate) fn values(&self) -> usize {
        2 + usize::from(self.variant.is_some())
    }

    /// Sends the result to all callers.
    pub(crate) fn complete(self, result: &BatchLookupResult) {
        for waiter in self.waiters {
            let _ = waiter.send(result.clone());
        }
    }
}

/// The batches that wait, and how many are in flight.
#[derive(Debug)]
pub(crate) struct LookupQueue {
    state: Mutex<State>,
    max_in_flight: usize,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<LookupBatch>,
    in_flight: usize,
    /// Moving average of the bytes that a key's reply has.
    bytes_per_key: usize,
}

impl LookupQueue {
    pub(crate) fn new(max_in_flight: usize) -> Self {
        Self {
            state: Mutex::default(),
            max_in_flight,
        }
    }

    /// Adds a lookup. Returns where its result arrives and, if a batch may be sent now, that batch.
    pub(crate) fn add(
        self: &Arc<Self>,
        key: &CacheKey,
        variant: Option<&CacheKey>,
        now: Moment,
    ) -> (
        oneshot::Receiver<BatchLookupResult>,
        Option<(LookupBatch, BatchPermit)>,
    ) {
        let mut state = self.state();
        let result = state.add(key, variant, now);
        if state.in_flight >= self.max_in_flight && !state.is_overdue(now, self.max_in_flight) {
            return (result, None);
        }
        let Some(batch) = state.next_batch() else {
            return (result, None);
        };
        state.in_flight += 1;
        drop(state);
        let permit = BatchPermit {
            queue: self.clone(),
            is_released: false,
        };
        (result, Some((batch, permit)))
    }

    /// Records the size of the reply to a batch, by which later batches are limited.
    pub(crate) fn record_reply_size(&self, bytes: usize, keys: usize) {
        self.state().record_reply_size(bytes, keys);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No panic can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(
        &mut self,
        key: &CacheKey,
        variant: Option<&CacheKey>,
        now: Moment,
    ) -> oneshot::Receiver<BatchLookupResult> {
        let (waiter, result) = oneshot::channel();
        let is_near = |other: Moment| other.since(now).max(now.since(other)) <= MAX_MOMENT_DISTANCE;
        // None of these has been sent. A long queue is not searched to its end.
        let last = self.batches.iter_mut().rev().take(MAX_KEYS);
        let mut pending = last.flatten();
        let equal = |pending: &&mut PendingLookup| {
            pending.key == *key && pending.variant.as_ref() == variant && is_near(pending.now)
        };
        if let Some(pending) = pending.find(equal) {
            pending.waiters.push(waiter);
            return result;
        }
        let pending = PendingLookup {
            key: *key,
            variant: variant.copied(),
            now,
            waiters: vec![waiter],
        };
        let max_keys = (MAX_REPLY_BYTES / self.bytes_per_key.max(1)).clamp(1, MAX_KEYS);
        match self.batches.back_mut() {
            Some(batch) if batch.len() < max_keys => batch.push(pending),
            _ => self.batches.push_back(vec![pending]),
        }
        result
    }

    /// Whether the next batch has waited long enough to be sent beside those in flight. All of
    /// their replies together are no larger for that.
    fn is_overdue(&self, now: Moment, max_in_flight: usize) -> bool {
        let Some(batch) = self.batches.front() else {
            return false;
        };
        let (overlap, replies) = (self.in_flight + 1, batch.len() * self.bytes_per_key);
        overlap <= max_in_flight * MAX_OVERLAP
            && overlap * replies <= max_in_flight * MAX_REPLY_BYTES
            && now.monotonic_since(batch[0].now) >= MAX_WAIT
    }

    fn record_reply_size(&mut self, bytes: usize, keys: usize) {
        self.bytes_per_key = (3 * self.bytes_per_key + bytes / keys.max(1)) / 4;
    }

    /// Takes the next batch, without lookups that were cancelled.
    fn next_batch(&mut self) -> Option<LookupBatch> {
        loop {
            let mut batch = self.batches.pop_front()?;
            batch.retain(|pending| pending.waiters.iter().any(|waiter| !waiter.is_closed()));
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }
}

/// The permission to have one batch in flight.
pub(crate) struct BatchPermit {
    queue: Arc<LookupQueue>,
    is_released: bool,
}

impl BatchPermit {
    /// Takes the next batch, or releases the permit if there is none, or if more batches than
    /// usual are in flight.
    ///
    /// Both happen under one lock: a lookup that is added after it finds the permit free.
    pub(crate) fn next_batch(&mut self) -> Option<LookupBatch> {
        let mut state = self.queue.state();
        let next = match state.in_flight > self.queue.max_in_flight {
            true => None,
            false => state.next_batch(),
        };
        if next.is_none() {
            state.in_flight -= 1;
            self.is_released = true;
        }
        next
    }
}

impl Drop for BatchPermit {
    fn drop(&mut self) {
        if self.is_released {
            return;
        }
        // The sending task panicked, or its runtime was shut down. The lookups that wait behind it
        // fail instead of waiting for ever.
        let mut state = self.queue.state();
        state.in_flight -= 1;
        let abandoned = mem::take(&mut state.batches);
        drop(state);
        drop(abandoned);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn key(number: usize) -> CacheKey {
        CacheKey::for_path(&format!("/{number}"))
    }

    fn at(millis: u64) -> Moment {
        Moment::new(Duration::from_millis(millis), SystemTime::UNIX_EPOCH)
    }

    /// Promise: lookups of one key share a reply, also where replies are too large to be batched.
    #[test]
    fn lookups_of_one_key_share_a_reply_of_any_size() {
        for (bytes_per_key, batches) in [
            (1000, 1),
            (MAX_REPLY_BYTES / 2, 2),
            (10 * MAX_REPLY_BYTES, 3),
        ] {
            let mut state = State {
                bytes_per_key,
                ..State::default()
            };
            let results: Vec<_> = (0..30)
                .map(|number| state.add(&key(number % 3), None, at(0)))
                .collect();
            assert_eq!(state.batches.len(), batches, "{bytes_per_key} bytes a key");
            let pending: Vec<_> = state.batches.iter().flatten().collect();
            assert!(pending.len() == 3 && pending.iter().all(|lookup| lookup.waiters.len() == 10));
            drop(results);
            assert!(state.next_batch().is_none(), "all lookups were cancelled");
        }
    }

    /// Promise: a slow network delays a lookup by one round trip, not by two.
    #[test]
    fn a_batch_that_has_waited_is_sent_beside_those_in_flight() {
        let queue = Arc::new(LookupQueue::new(1));
        let mut results = Vec::new();
        let mut sent = |number: usize, millis| {
            let (result, batch) = queue.add(&key(number), None, at(millis));
            results.push(result);
            batch.map(|(batch, permit)| (batch.len(), permit))
        };
        let (keys, mut usual) = sent(0, 0).expect("none is in flight");
        assert_eq!(keys, 1);
        assert!(sent(1, 10).is_none() && sent(2, 10).is_none());
        let (keys, mut more) = sent(3, 11).expect("the first one has waited for a millisecond");
        assert_eq!(keys, 3);
        assert!(sent(4, 11).is_none());
        // The usual one goes on with what waits; one more does not stay.
        assert!(more.next_batch().is_none());
        assert_eq!(usual.next_batch().map(|batch| batch.len()), Some(1));
        assert!(usual.next_batch().is_none());
        assert_eq!(queue.state().in_flight, 0);
    }

    /// Promise: neither the number of batches in flight nor the size of their replies grows for it.
    #[test]
    fn batches_beside_those_in_flight_are_bounded() {
        for (bytes_per_key, most) in [(1000, 2 * MAX_OVERLAP), (MAX_REPLY_BYTES, 2)] {
            let queue = Arc::new(LookupQueue::new(2));
            queue.state().bytes_per_key = bytes_per_key;
            let mut kept = Vec::new();
            for number in 0..100 {
                kept.push(queue.add(&key(number), None, at(number as u64)));
            }
            let sent = kept.iter().filter(|(_, sent)| sent.is_some()).count();
            assert_eq!(sent, most, "{bytes_per_key} bytes a key");
            assert_eq!(queue.state().in_flight, most);
            drop(kept);
            assert_eq!(queue.state().in_flight, 0);
        }
    }

    /// Promise: a shared reply is read at nearly the moment each lookup gave.
    #[test]
    fn lookups_at_distant_moments_share_no_reply() {
        let mut state = State::default();
        let results = [0, 100, 201, 0].map(|millis| state.add(&key(1), None, at(millis)));
        let pending = state.batches.iter().flatten();
        let waiters: Vec<_> = pending.map(|lookup| lookup.waiters.len()).collect();
        assert_eq!(waiters, [3, 1]);
        drop(results);
    }

    /// Promise: the limit of a batch follows the size of recent replies.
    #[test]
    fn the_expected_reply_size_follows_recent_replies() {
        let mut state = State::default();
        for _ in 0..20 {
            state.record_reply_size(4 * MAX_REPLY_BYTES, 2);
        }
        assert!(state.bytes_per_key > MAX_REPLY_BYTES);
        for _ in 0..60 {
            state.record_reply_size(1000, 1);
        }
        assert!(state.bytes_per_key <= 1000);
    }
}
