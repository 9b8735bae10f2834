//! A bounded number of waits: one more ends the one that began first.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// The waits of one kind. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct BoundedWaits(Arc<Mutex<Waits>>);

/// The waits in the order of their beginning. The end of its sender ends a wait.
#[derive(Debug, Default)]
struct Waits {
    senders: BTreeMap<u64, oneshot::Sender<()>>,
    next: u64,
}

impl BoundedWaits {
    /// Begins a wait, which ends those beyond `max` that began first.
    pub(super) fn begin(&self, max: usize) -> BoundedWait {
        let (sender, ended) = oneshot::channel();
        let mut waits = self.lock();
        let number = waits.next;
        waits.next += 1;
        waits.senders.insert(number, sender);
        let too_many = waits.senders.len().saturating_sub(max);
        let oldest: Vec<_> = (0..too_many)
            .filter_map(|_| waits.senders.pop_first())
            .collect();
        drop(waits);
        // They wake tasks.
        drop(oldest);
        BoundedWait {
            waits: self.clone(),
            number,
            ended,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        // No critical section panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the waits: a future that resolves when later ones have ended it.
#[derive(Debug)]
pub(super) struct BoundedWait {
    waits: BoundedWaits,
    number: u64,
    ended: oneshot::Receiver<()>,
}

impl Future for BoundedWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.ended).poll(cx).map(|_| ())
    }
}

impl Drop for BoundedWait {
    fn drop(&mut self) {
        let ended = self.waits.lock().senders.remove(&self.number);
        drop(ended);
    }
}
