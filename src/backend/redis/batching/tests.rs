//! What is sent when, with which others.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::{Instant, advance};

use super::batch::{LookupBatch, LookupQueue, MAX_REPLY_BYTES, MAX_WAIT};
use super::pending::BatchLookupResult;
use super::permit::{AfterAdding, BatchPermit, QueueWatch};
use super::promises::SenderThread;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;

fn key(number: usize) -> CacheKey {
    CacheKey::for_path(&format!("/{number}"))
}

fn at(millis: u64) -> Moment {
    Moment::new(Duration::from_millis(millis), SystemTime::UNIX_EPOCH)
}

/// A queue that expects so many bytes of each key.
fn queue(max_in_flight: usize, bytes_per_key: usize) -> Arc<LookupQueue> {
    let queue = Arc::new(LookupQueue::new(max_in_flight));
    for number in 0..400 {
        queue.record_stored(&key(number), bytes_per_key);
    }
    queue
}

type Added = (oneshot::Receiver<BatchLookupResult>, Next);

/// What an added lookup has led to.
enum Next {
    /// A batch that is being sent.
    Sent(LookupBatch, BatchPermit),
    Watch(QueueWatch),
    Wait,
}

/// Adds a lookup from a runtime with several threads. The task that it needs runs at once.
fn add(queue: &Arc<LookupQueue>, number: usize, millis: u64) -> Added {
    let thread = SenderThread::unknown();
    let (result, next) = queue.add(&key(number), None, at(millis), thread);
    let next = match next {
        AfterAdding::Send(mut permit) => {
            let batch = permit.next_batch(false).expect("a batch");
            Next::Sent(batch, permit)
        }
        AfterAdding::Watch(watch) => Next::Watch(watch),
        AfterAdding::Wait => Next::Wait,
    };
    (result, next)
}

/// Promise: lookups of one key share a reply, also where replies are too large to be batched.
#[test]
fn lookups_of_one_key_share_a_reply_of_any_size() {
    for (bytes_per_key, batches) in [(1000, 1), (60_000, 2)] {
        let queue = queue(1, bytes_per_key);
        let mut state = queue.state();
        let results: Vec<_> = (0..30)
            .map(|number| state.add(&key(number % 3), None, at(0)))
            .collect();
        assert_eq!(state.batches.len(), batches, "{bytes_per_key} bytes a key");
        let pending: Vec<_> = state
            .batches
            .iter()
            .flat_map(|batch| &batch.lookups)
            .collect();
        assert!(pending.len() == 3 && pending.iter().all(|lookup| lookup.callers() == 10));
        drop(results);
        assert!(state.start_batch(None).is_none(), "all were cancelled");
        assert_eq!(state.window.in_flight(), (0, 0));
    }
}

/// Promise: the reply to a batch has about 128 KiB at most, whatever came before.
#[test]
fn a_batch_is_bounded_by_the_bytes_that_are_to_come() {
    let queue = queue(1, 1000);
    for number in 0..32 {
        queue.record_stored(&key(number), 30_000);
    }
    let mut state = queue.state();
    let mut results = Vec::new();
    for number in 0..64 {
        results.push(state.add(&key(number), None, at(0)));
    }
    let batches: Vec<_> = state
        .batches
        .iter()
        .map(|batch| batch.lookups.len())
        .collect();
    assert_eq!(batches, [4, 4, 4, 4, 4, 4, 4, 4 + 10, 22]);
    assert!(
        state
            .batches
            .iter()
            .all(|batch| batch.size.most <= MAX_REPLY_BYTES)
    );
}

/// Promise: a slow network delays a lookup by one round trip, not by two.
#[tokio::test(start_paused = true)]
async fn a_batch_that_has_waited_is_sent_beside_those_in_flight() {
    let queue = queue(1, 1000);
    let mut results = Vec::new();
    let mut added = |number: usize| {
        let (result, next) = add(&queue, number, 0);
        results.push(result);
        next
    };
    let Next::Sent(batch, mut usual) = added(0) else {
        panic!("none is in flight");
    };
    assert_eq!(batch.len(), 1);
    let Next::Watch(mut watch) = added(1) else {
        panic!("it is the first to wait");
    };
    assert!(matches!(added(2), Next::Wait), "one watch is enough");
    assert_eq!(watch.next().and_then(Result::err), Some(MAX_WAIT));
    advance(MAX_WAIT).await;
    let Some(Ok(mut more)) = watch.next() else {
        panic!("it has waited for long enough");
    };
    assert_eq!(more.next_batch(false).map(|batch| batch.len()), Some(2));
    assert!(watch.next().is_none(), "no lookup waits");
    let Next::Watch(_watch) = added(3) else {
        panic!("the watch has ended");
    };
    // The usual one goes on with what waits; one more does not stay.
    assert!(more.next_batch(true).is_none());
    assert_eq!(usual.next_batch(true).map(|batch| batch.len()), Some(1));
    assert!(usual.next_batch(true).is_none());
    assert_eq!(queue.state().window.in_flight(), (0, 0));
}

/// Promise: neither the number of batches in flight nor the size of their replies grows for it.
#[tokio::test(start_paused = true)]
async fn batches_beside_those_in_flight_are_bounded() {
    for (bytes_per_key, most) in [(500, 128), (65_000, 3)] {
        let queue = queue(2, bytes_per_key);
        let mut kept = Vec::new();
        for number in 0..400 {
            kept.push(add(&queue, number, number as u64));
            advance(MAX_WAIT).await;
        }
        let is_sent = |next: &Next| matches!(next, Next::Sent(..));
        let sent = kept.iter().filter(|(_, next)| is_sent(next)).count();
        assert_eq!(sent, most, "{bytes_per_key} bytes a key");
        let (batches, bytes) = queue.state().window.in_flight();
        assert!(batches == most && bytes <= 2 * MAX_REPLY_BYTES, "{bytes}");
        drop(kept);
        assert_eq!(queue.state().window.in_flight(), (0, 0));
    }
}

/// Promise: keys that are absent leave the network to others.
#[tokio::test(start_paused = true)]
async fn many_keys_of_unknown_size_are_in_flight_at_the_same_time() {
    for (absent, most) in [(0, 2 + 31), (100, 2 + 99)] {
        let queue = Arc::new(LookupQueue::new(2));
        for number in 0..absent {
            queue.state().sizes.record(&key(number), 0);
        }
        let mut kept = Vec::new();
        // Two at once, and then two in a batch.
        for number in 0..200 {
            kept.push(add(&queue, number, 0));
            advance(MAX_WAIT).await;
        }
        assert_eq!(queue.state().window.in_flight().0, most);
    }
}

/// A watch that ended with its runtime is followed by another one.
#[test]
fn a_watch_that_is_dropped_gives_its_place_to_another() {
    let queue = queue(1, 1000);
    let (_first, _sent) = add(&queue, 1, 0);
    for number in 2..4 {
        let (_waits, next) = add(&queue, number, 0);
        assert!(matches!(next, Next::Watch(_)));
    }
}

/// Promise: a shared reply is read at nearly the moment each lookup gave.
#[test]
fn lookups_at_distant_moments_share_no_reply() {
    let queue = queue(1, 1000);
    let mut state = queue.state();
    let results = [0, 100, 201, 0].map(|millis| state.add(&key(1), None, at(millis)));
    let pending = state.batches.iter().flat_map(|batch| &batch.lookups);
    let waiters: Vec<_> = pending.map(|lookup| lookup.callers()).collect();
    assert_eq!(waiters, [3, 1]);
    drop(results);
}

/// Promise: on a single thread, lookups that are made before a task runs are all in its batch, and
/// need no further task.
#[tokio::test]
async fn lookups_join_the_batch_of_a_task_that_is_about_to_run() {
    let queue = queue(2, 1000);
    let thread = SenderThread::of(&Handle::current());
    let mut kept = Vec::new();
    let mut permits = Vec::new();
    for number in 0..40 {
        let (result, next) = queue.add(&key(number), None, at(0), thread);
        kept.push(result);
        match next {
            AfterAdding::Send(permit) => permits.push((number, permit)),
            AfterAdding::Wait => {}
            AfterAdding::Watch(_) => panic!("{number} does not wait for a reply"),
        }
    }
    let tasks: Vec<_> = permits.iter().map(|(number, _)| *number).collect();
    assert_eq!(tasks, [0, 32], "one for each full batch");
    let sizes = permits
        .iter_mut()
        .map(|(_, permit)| permit.next_batch(false).map(|batch| batch.len()));
    assert_eq!(sizes.collect::<Vec<_>>(), [Some(32), Some(8)]);
    assert!(queue.state().promises.is_empty());
    let (_waits, next) = queue.add(&key(50), None, at(0), thread);
    assert!(matches!(next, AfterAdding::Watch(_)), "both are sent");
}

/// Promise: no lookup relies on a task that may not run soon.
#[tokio::test]
async fn lookups_rely_on_no_task_of_another_thread() {
    let here = SenderThread::of(&Handle::current());
    let on_another = || {
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async { SenderThread::of(&Handle::current()) })
    };
    let elsewhere = std::thread::spawn(on_another).join().expect("a thread");
    let several = SenderThread::unknown();
    for (first, second, millis) in [
        (elsewhere, here, 0),
        (several, several, 0),
        // It should have run by then.
        (here, here, 1),
    ] {
        let queue = queue(3, 1000);
        let (_first, next) = queue.add(&key(0), None, at(0), first);
        assert!(matches!(next, AfterAdding::Send(_)));
        let (_second, second_next) = queue.add(&key(1), None, at(millis), second);
        let AfterAdding::Send(mut permit) = second_next else {
            panic!("{second:?} at {millis} ms has a task of its own");
        };
        // Whichever runs first takes both.
        assert_eq!(permit.next_batch(false).map(|batch| batch.len()), Some(2));
        let AfterAdding::Send(mut late) = next else {
            unreachable!()
        };
        assert!(late.next_batch(false).is_none());
        drop(late);
        drop(permit);
        assert_eq!(queue.state().window.in_flight(), (0, 0));
    }
}

/// The two tasks of two threads, of which one runs on a thread that is busy.
#[tokio::test]
async fn a_reply_leaves_no_batch_to_a_task_of_another_thread() {
    let here = SenderThread::of(&Handle::current());
    for (thread, taken) in [(here, None), (SenderThread::unknown(), Some(1))] {
        let queue = queue(2, 1000);
        let (_first, next) = queue.add(&key(0), None, at(0), here);
        let AfterAdding::Send(mut permit) = next else {
            panic!("none is in flight");
        };
        assert!(permit.next_batch(false).is_some());
        let (_second, about_to_run) = queue.add(&key(1), None, at(0), thread);
        assert!(matches!(about_to_run, AfterAdding::Send(_)));
        let next = permit.next_batch(true);
        assert_eq!(next.map(|batch| batch.len()), taken, "{thread:?}");
    }
}

/// Promise: no lookup waits for a task that never runs.
#[tokio::test]
async fn lookups_fail_with_the_runtime_of_their_task() {
    let queue = queue(1, 1000);
    let thread = SenderThread::of(&Handle::current());
    let (first, next) = queue.add(&key(0), None, at(0), thread);
    let (second, _wait) = queue.add(&key(1), None, at(0), thread);
    drop(next);
    assert!(first.await.is_err() && second.await.is_err());
    let state = queue.state();
    assert_eq!(state.window.in_flight(), (0, 0));
    assert!(state.promises.is_empty() && state.batches.is_empty());
}

/// Promise: a batch whose callers have all left gives its place to none that has no room.
#[tokio::test(start_paused = true)]
async fn a_cancelled_batch_makes_no_room_for_a_larger_one() {
    for (bytes_of_second, is_sent) in [(60_000, false), (20_000, true)] {
        let queue = queue(1, 1000);
        queue.record_stored(&key(0), 60_000);
        queue.record_stored(&key(1), bytes_of_second);
        let (_first, _in_flight) = add(&queue, 0, 0);
        let _second = {
            let mut state = queue.state();
            let _beside = state.window.begin(30_000, None);
            // A full batch, of 32 KiB.
            let cancelled: Vec<_> = (100..132)
                .map(|number| state.add(&key(number), None, at(0)))
                .collect();
            drop(cancelled);
            let second = state.add(&key(1), None, at(0));
            let now = Instant::now();
            state.first_wait(now);
            state.note_waiting(now);
            second
        };
        advance(MAX_WAIT).await;
        let mut state = queue.state();
        let sent = state.start_batch(Some(Instant::now()));
        assert_eq!(sent.is_some(), is_sent, "{bytes_of_second}");
        let (_, bytes) = state.window.in_flight();
        assert!(bytes <= MAX_REPLY_BYTES, "{bytes}");
    }
}
